# A primary that takes its standbys' trails, and what tests of that have in common.
package WardShip;
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Exporter 'import';

our @EXPORT = qw(primary standby query fails awaits see key_of node_of delivered scope copy_of);

my $primary;

# With a watched table person of a hundred people, a role reader, and a backup "base".
sub primary
{
	my ($more) = @_;
	$primary = PostgreSQL::Test::Cluster->new('primary');
	$primary->init(allows_streaming => 1);
	$primary->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
max_worker_processes = 16
autovacuum = off
ward.checkpoint_interval = 1
ward.trail_segment_size = 64
} . ($more // ''));
	$primary->start;
	$primary->safe_psql('postgres', q{
CREATE EXTENSION pg_ward;
CREATE ROLE reader LOGIN;
CREATE ROLE shipper LOGIN IN ROLE ward_shipper;
CREATE TABLE person (id int PRIMARY KEY, name text);
INSERT INTO person SELECT i, 'Name ' || i FROM generate_series(1, 100) i;
GRANT SELECT ON person TO reader;
SELECT ward.watch('person', 'id', 'person');});
	$primary->backup('base');
	return $primary;
}

# Verbose text of the error that a statement ends in.
sub fails { my ($node, $sql, @more) = @_; return ($node->psql('postgres', "\\set VERBOSITY verbose\n$sql", @more))[2]; }
sub query { my ($node, $sql) = @_; return $node->safe_psql('postgres', $sql); }
sub awaits { my ($node, $sql, $what) = @_; ok($node->poll_query_until('postgres', $sql), $what); return; }
sub key_of { return query($_[0], 'SELECT first_key FROM ward.trail_status'); }
sub node_of { return query($_[0], 'SELECT node FROM ward.trail_status'); }

# A standby of the primary, or of another standby, that delivers to the primary; registered,
# unless told otherwise.
sub standby
{
	my ($name, $follows, %more) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($primary, 'base', has_streaming => !$follows);
	$node->enable_streaming($follows) if $follows;
	$node->set_standby_mode if $follows;
	$node->append_conf('postgresql.conf', sprintf "ward.trail_conninfo = 'user=shipper dbname=postgres%s%s'\n", $more{password} ? " password=$more{password}" : '',
		$follows ? ' host=' . $primary->host . ' port=' . $primary->port : '');
	$node->start;
	awaits($node, 'SELECT first_key IS NOT NULL FROM ward.trail_status', "$name signs its trail");
	query($primary, "SELECT ward.add_standby('$name', '" . key_of($node) . "')") unless $more{unknown};
	return $node;
}

sub see
{
	my ($node, @ids) = @_;
	$node->safe_psql('postgres', 'SELECT name FROM person WHERE id = ANY (ARRAY[' . join(',', @ids) . '])', extra_params => [ '-U', 'reader' ]);
	return;
}

# All that is on the standby now is accepted on whoever takes it.
sub delivered
{
	my ($node, $name, $what, $to) = @_;
	my $records = query($node, 'SELECT records FROM ward.trail_status');
	awaits($to // $primary, "SELECT accepted >= $records FROM ward.standby_status WHERE name = '$name'", $what);
	return;
}

sub scope { return query($_[0] // $primary, q{SELECT coalesce(string_agg(subject_id::text, ',' ORDER BY subject_id), '') FROM ward.breach_scope(tstzrange(NULL, NULL), roles => '{reader}')}); }

# The primary's copy of a standby's trail.
sub copy_of { return $primary->data_dir . '/ward_trail/standby/' . $_[0]; }

1;
