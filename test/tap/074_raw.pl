# Paths that show no rows leave a record each, ward.blind_spots lists it, and the scope says
# that it is wider (I7).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('raw');
$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE TABLE person (id int PRIMARY KEY, name text, note text);
	ALTER TABLE person ALTER note SET STORAGE external;
	INSERT INTO person SELECT i, 'n' || i, repeat('x', 5000) FROM generate_series(1, 5) i;
	ANALYZE person;
	SELECT ward.watch('person', 'id');
	CREATE ROLE reader LOGIN;
	CREATE ROLE secret LOGIN PASSWORD 'planted password';
	CREATE DATABASE elsewhere;});

my $last = 0;
# The paths that are new since the last look.
my $spots = sub {
	my $list = $node->safe_psql('postgres', qq{
		SELECT ward.sync() IS NULL;
		SELECT path || CASE WHEN widens THEN '' ELSE ' (narrow)' END || CASE WHEN until IS NULL THEN ' open' ELSE '' END
		FROM ward.blind_spots WHERE position >= $last ORDER BY position});
	$last = $node->safe_psql('postgres', 'SELECT _ward.trail_end()');
	$list =~ s/^f\n?//;
	return $list;
};
my $everybody = sub {
	my ($reason) = @_;
	return $node->safe_psql('postgres', qq{SELECT count(*) FROM ward.disclosures WHERE manner = 'all' AND reason = '$reason'});
};
my $sql = sub { return $node->psql('postgres', $_[0]) };
$spots->();

$sql->("SELECT length(pg_read_file('PG_VERSION')); SELECT count(pg_read_binary_file('PG_VERSION')) FROM generate_series(1, 3)");
is($spots->(), "file\nfile", 'reading files, once a statement');
$node->psql('elsewhere', "SELECT pg_read_file('PG_VERSION')");
is($spots->(), 'file', 'from a database without the extension');
is($node->safe_psql('postgres', "SELECT detail->>'database' FROM ward.blind_spots ORDER BY position DESC LIMIT 1"), 'elsewhere', 'which is named');
$spots->();
$sql->("CREATE FUNCTION other(text) RETURNS text LANGUAGE internal STRICT AS 'pg_read_file_all'; SELECT other('PG_VERSION')");
is($spots->(), 'file', 'under another name');
$sql->("SELECT count(*) FROM pg_ls_dir('.')");
is($spots->(), 'directory (narrow)', 'listing a directory');
$sql->("DO \$\$ BEGIN PERFORM lo_import(current_setting('data_directory') || '/PG_VERSION'); END \$\$");
is($spots->(), 'file', 'importing a large object, in a function');
my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/rows", "9\tnine\tx\n");
$sql->("COPY person FROM '$dir/rows'");
is($spots->(), 'file (narrow)', 'COPY of a file elsewhere is recorded and does not widen');
$sql->("CREATE TEMP TABLE v (x text); COPY v FROM '" . $node->data_dir . "/PG_VERSION'");
is($spots->(), 'file', 'one in the data directory does');
$sql->("COPY v FROM PROGRAM 'true'");
is($spots->(), 'program', 'COPY of a program');
$sql->("LOAD 'plpgsql'");
is($spots->(), 'code', 'LOAD');

$sql->("SELECT count(*) FROM pg_stats WHERE tablename = 'person'");
is($spots->(), 'statistics', 'reading statistics');
is($everybody->('raw.statistics'), 1, 'counts as reading everybody');
my $toast = $node->safe_psql('postgres', "SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'person'");
$sql->("SELECT count(*) FROM $toast");
is($spots->(), 'toast', 'reading a TOAST relation');
is($everybody->('raw.toast'), 1, 'counts as reading everybody in its table');
$sql->("SELECT count(*) FROM pg_toast." . $node->safe_psql('postgres', "SELECT relname FROM pg_class WHERE oid = (SELECT reltoastrelid FROM pg_class WHERE oid = 'pg_proc'::regclass)"));
is($spots->(), '', 'another one does not');
is($node->psql('postgres', "SELECT count(*) FROM pg_statistic", extra_params => [ '-U', 'reader' ]), 3, 'who may not read it');
is($spots->(), '', 'has read nothing');

SKIP: {
	skip 'no pageinspect', 2 unless $node->psql('postgres', 'CREATE EXTENSION pageinspect') == 0;
	$sql->("SELECT length(get_raw_page('person', 0))");
	is($spots->(), 'page', 'reading pages');
	is($everybody->('raw.page'), 1, 'counts as reading everybody');
}
SKIP: {
	skip 'no test_decoding', 2 unless $node->psql('postgres', "SELECT pg_create_logical_replication_slot('slot', 'test_decoding')") == 0;
	$sql->("INSERT INTO person VALUES (10, 'ten'); SELECT count(*) FROM pg_logical_slot_peek_changes('slot', NULL, NULL)");
	is($spots->(), "slot (narrow)\ndecoding", 'a slot, and decoding');
	$sql->("SELECT pg_drop_replication_slot('slot')");
	is($spots->(), 'slot_dropped (narrow)', 'and its end');
}

$sql->("SELECT pg_backup_start('x', true)");
like($spots->(), qr/^backup/, 'a backup through SQL');
$node->backup('copy');
is($spots->(), "replication\nreplication", 'a base backup, with its WAL');
is($node->safe_psql('postgres', "SELECT DISTINCT role FROM ward.blind_spots WHERE path = 'replication'"),
	$node->safe_psql('postgres', 'SELECT current_user'), 'by whom');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
is($spots->(), 'replication open', 'a standby, as long as it is connected');
$standby->stop;
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_stat_replication');
is($spots->(), '', 'nothing new');
is($node->safe_psql('postgres', "SELECT count(*) FROM ward.blind_spots WHERE path = 'replication' AND until IS NULL"), 0, 'and no longer');

# Capture off, however it was switched, and where nothing watched is read too.
$node->safe_psql('postgres', 'SET ward.capture = off; SELECT count(*) FROM person; SET ward.capture = on; SELECT 1');
is($spots->(), 'capture_off', 'switched by SET');
$node->safe_psql('postgres', "SELECT set_config('ward.capture', 'off', false); SELECT 1");
is($spots->(), 'capture_off', 'by set_config()');
{
	local $ENV{PGOPTIONS} = '-c ward.capture=off';
	$node->safe_psql('postgres', 'SELECT 1');
}
is($spots->(), 'capture_off', 'as the session starts');
is($node->safe_psql('postgres', "SELECT count(*) FROM ward.blind_spots WHERE path = 'capture_off' AND until >= since"), 3, 'each with its end');

# The scope.
like($node->safe_psql('postgres', q{SELECT DISTINCT note FROM ward.breach_summary(tstzrange(NULL, NULL))}),
	qr/\d+ blind spots touch this time: see ward.blind_spots/, 'the summary says so');

# A start is a gap: nobody knows what ran in between.
$node->restart;
like($spots->(), qr/^start$/, 'a restart');
is($node->safe_psql('postgres', "SELECT since < until FROM ward.blind_spots WHERE path = 'start' ORDER BY position DESC LIMIT 1"), 't', 'as a range');

# Where the trail can't be written, the path is closed.
my $trail = $node->data_dir . '/ward_trail';
rename $trail, "$trail.away" or die;
my ($out, $err);
$node->psql('postgres', "SELECT pg_read_file('PG_VERSION')", stderr => \$err);
like($err, qr/trail/, 'no file is read without a record');
isnt(system('pg_basebackup', '-D', "$dir/refused", '-h', $node->host, '-p', $node->port, '--checkpoint=fast', '-Xnone'), 0, 'and no base backup made');
is($node->psql('postgres', 'SELECT 1'), 0, 'other work goes on');
rename "$trail.away", $trail or die;
is($node->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'and the trail is whole');

$node->stop;
done_testing();
