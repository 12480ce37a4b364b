# A trail that nears its limit warns long before, then fails closed, and goes on when the
# limit is raised; an index that falls behind says so, and shows how far it is.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('limits');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
autovacuum = off
ward.checkpoint_interval = 1
ward.trail_segment_size = '128kB'
ward.trail_max_size = '1MB'
ward.index_backlog_warning = 200
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'secret' || i FROM generate_series(1, 10) i;
	SELECT ward.watch('person', 'id');});
my $first_key = $node->safe_psql('postgres', 'SELECT first_key FROM ward.trail_status');

sub fill
{
	my ($records) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT count(_ward.record_event('test.fat', '{x}', ARRAY[repeat('x', 1000)])) FROM generate_series(1, $records)");
	return $err;
}
sub used { return $node->safe_psql('postgres', 'SELECT 100 * bytes / bytes_limit FROM ward.trail_status'); }

is(fill(500), '', 'below the limit evidence is taken');
ok(!$node->log_contains(qr/has filled/), 'without a warning');
is(fill(350), '', 'and past four fifths of it');
cmp_ok(used(), '>=', 80, 'the view shows how full it is');
$node->wait_for_log(qr/WARNING: +the trail has filled 8\d percent of ward\.trail_max_size/) and pass('with a warning long before the end');

my $err = fill(1000);
like($err, qr/ERROR:  WD302: could not write or read the trail\nDETAIL: .*it has reached ward\.trail_max_size\.\nHINT:  Raise ward\.trail_max_size/, 'at the limit evidence is refused');
my ($rc, $out, $said) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT repeat('y', 2000), count(*) FROM person");
# Room for a short record may be left.
fill(1) for 1 .. 3;
$node->psql('postgres', q{SELECT count(_ward.record_event('test.short')) FROM generate_series(1, 200)});
($rc, $out, $said) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT name FROM person WHERE id = 7");
like($said, qr/WD302/, 'and so is what would disclose');
is($out, '', 'no row leaves');
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'other work goes on');
my $records = $node->safe_psql('postgres', 'SELECT signed_records FROM ward.trail_status');
ok($node->poll_query_until('postgres', "SELECT signed_records > $records FROM ward.trail_status"), 'a full trail is signed as well');

$node->restart;
($rc, $out, $said) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT name FROM person WHERE id = 7");
like($said, qr/WD302/, 'a restart does not forget how full it is');
$node->append_conf('postgresql.conf', "ward.trail_max_size = '5MB'");
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT name = 'secret7' FROM person WHERE id = 7}), 'with the limit raised it goes on by itself');
is($node->safe_psql('postgres', "SELECT verified, problem FROM ward.verify_trail(ARRAY['$first_key'])"), 't|', 'nothing is lost');

# The index, behind and made anew.
$node->safe_psql('postgres', 'SELECT ward.sync()');
$node->wait_for_log(qr/WARNING: +the index of the trail is \d+ records behind/) and pass('an index that falls behind says so');
# The signer goes on writing.
is($node->safe_psql('postgres', 'SELECT behind < 20, percent > 98 FROM ward.index_status'), 't|t', 'and shows that it has caught up');
sub content
{
	return $node->safe_psql('postgres', q{DO $$BEGIN PERFORM ward.sync(); END$$;
		SELECT md5(string_agg(e::text, ' ' ORDER BY position)) FROM ward.events e WHERE position < } . $records);
}
my $before = content();
$node->safe_psql('postgres', 'SELECT ward.rebuild_index()');
is(content(), $before, 'made anew from the evidence it has the same content');
$node->stop;

done_testing();
