# What a parallel worker records is its leader's session's doing.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('trail_parallel');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE ROLE clerk;
	GRANT USAGE ON SCHEMA _ward TO clerk;
	-- the same function, but allowed in workers
	CREATE FUNCTION record_anywhere(kind text, names text[], field_values text[]) RETURNS bigint
		LANGUAGE c STRICT VOLATILE PARALLEL SAFE AS 'pg_ward', 'ward_record_event';
	CREATE TABLE many AS SELECT i FROM generate_series(1, 20000) i;
	GRANT SELECT ON many TO clerk;
	ANALYZE many;});

my $output = $node->safe_psql('postgres', q{
	SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SET max_parallel_workers_per_gather = 2; SET parallel_leader_participation = off;
	SET application_name = 'fleet';
	SET ward.actor = 'ana';
	SET ROLE clerk;
	EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT count(record_anywhere('test.parallel', '{}', '{}')) FROM many WHERE i % 100 = 0;
	RESET ROLE;
	SELECT 'session ' || to_hex(extract(epoch FROM date_trunc('second', backend_start))::int8) || '.' || to_hex(pid)
	FROM pg_stat_activity WHERE pid = pg_backend_pid()});
like($output, qr/Gather.*Workers Launched: [12]\n.*Partial Aggregate/s, 'workers, and no one else, call the function');
my ($session) = $output =~ /^session (\S+)$/m;

$node->safe_psql('postgres', 'SELECT ward.sync()');
is($node->safe_psql('postgres', q{SELECT count(*) FROM ward.events WHERE kind = 'test.parallel'}), '200',
	'what workers record is there');
is($node->safe_psql('postgres', q{
	SELECT DISTINCT c.session, c.session_role = 'clerk', c.current_role_name, c.actor, c.application, c.client
	FROM _ward.event e JOIN _ward.context c ON c.node = e.node AND c.position = e.context
	WHERE e.kind = 'test.parallel'}), "$session|f|clerk|ana|fleet|",
	"under the leader's session, role, actor and application");
is($node->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'in a whole trail');

$node->stop;
done_testing();
