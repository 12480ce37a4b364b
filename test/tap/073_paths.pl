# Paths beside a plain statement that nevertheless show rows to an executor: dumps, foreign
# tables that point back at this server, dblink, maintenance. Each is witnessed exactly where
# it runs, and nothing more is suspected.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('paths');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE EXTENSION postgres_fdw;
	CREATE EXTENSION file_fdw;
	CREATE EXTENSION dblink;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'n' || i FROM generate_series(1, 20) i;
	ANALYZE person;
	SELECT ward.watch('person', 'id');});
my $connection = sprintf("host '%s', port '%s', dbname 'postgres'", $node->host, $node->port);
$node->safe_psql('postgres', qq{
	CREATE SERVER back FOREIGN DATA WRAPPER postgres_fdw OPTIONS ($connection);
	CREATE USER MAPPING FOR CURRENT_USER SERVER back;
	CREATE FOREIGN TABLE f_person (id int, name text) SERVER back OPTIONS (table_name 'person');
	CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
	CREATE FOREIGN TABLE f_file (x text) SERVER files OPTIONS (filename '@{[ $node->data_dir ]}/PG_VERSION');});

my $last = 0;
# What was recorded since the last look, but for the index's own rows of an earlier minute.
my $seen = sub {
	my ($sql) = @_;
	$node->safe_psql('postgres', $sql) if $sql;
	$node->safe_psql('postgres', 'SELECT ward.sync()');
	my $rows = $node->safe_psql('postgres', qq{
		SELECT c.application, _ward.manner_name(d.manner), d.reason, count(*) FILTER (WHERE d.subjects IS NULL),
			(SELECT string_agg(m::text, ',') FROM _ward.subject_set_members(_ward.subject_set_union(d.subjects)) m)
		FROM _ward.disclosure d JOIN _ward.context c ON c.node = d.node AND c.position = d.context
		WHERE d.last_position >= $last GROUP BY 1, 2, 3 ORDER BY 1, 2, 3});
	$last = $node->safe_psql('postgres', 'SELECT _ward.trail_end()');
	$node->safe_psql('postgres', 'DELETE FROM _ward.disclosure');
	return $rows;
};
$seen->();

is($seen->('SELECT name FROM f_person WHERE id = 3'), 'postgres_fdw|row||0|3', 'a foreign table that points back: by the session at the other end');
is($seen->('UPDATE f_person SET name = name WHERE id = 4'), 'postgres_fdw|write||0|4', 'and written');
is($seen->("SELECT * FROM dblink('host=@{[ $node->host ]} port=@{[ $node->port ]} dbname=postgres application_name=link', 'SELECT name FROM person WHERE id = 5') AS d (name text)"),
	'link|row||0|5', 'dblink');
is($seen->('SELECT p.name FROM person p JOIN f_person f USING (id) WHERE p.id = 6 AND f.id = 6'), "073_paths.pl|row||0|6\npostgres_fdw|row||0|6", 'both ends of a join');
like($seen->('ANALYZE f_person'), qr/^postgres_fdw\|/, 'ANALYZE of a foreign table fetches rows');
$node->command_ok([ 'pg_dump', '-f', '/dev/null', '-t', 'person', $node->connstr('postgres') ], 'pg_dump');
is($seen->(), '073_paths.pl|row||0|' . join(',', 1 .. 20), 'a dump');
$node->command_ok([ 'pg_dump', '-f', '/dev/null', '--schema-only', $node->connstr('postgres') ], 'pg_dump of the schema');
is($seen->(), '', 'a dump of the schema names nobody');
is($seen->('VACUUM (ANALYZE, FULL) person'), '', 'VACUUM and ANALYZE tell nobody');
is($seen->('CLUSTER person USING person_pkey'), '', 'nor does CLUSTER');
is($seen->('REINDEX TABLE person'), '', 'nor REINDEX');
is($seen->("CREATE MATERIALIZED VIEW mv AS SELECT name FROM person WHERE id < 3"), '073_paths.pl|row||0|1,2', 'a materialized view');
is($seen->('REFRESH MATERIALIZED VIEW mv'), '073_paths.pl|row||0|1,2', 'refreshed');
$node->safe_psql('postgres', 'SELECT * FROM f_file');
$node->safe_psql('postgres', 'SELECT ward.sync()');
is($node->safe_psql('postgres', "SELECT path FROM ward.blind_spots ORDER BY position DESC LIMIT 1"), 'file', 'file_fdw reads a file of the server');

$node->stop;
done_testing();
