# What the scope takes of memory follows work_mem, and neither the number of people nor how
# many statements named them.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('scope_memory');
$node->init;
# What a process has touched of shared memory counts, too: there is little.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nautovacuum = off\nshared_buffers = '2MB'\nmax_parallel_workers_per_gather = 0\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE TABLE _ward.disclosure_test PARTITION OF _ward.disclosure FOR VALUES FROM ('2021-11-09 00:00+00') TO ('2021-11-20 00:00+00');
	INSERT INTO _ward.context (node, position, at, session, session_role, current_role_name)
	SELECT 'test', i, '2021-11-09 00:00+00', 'session ' || i, 'somebody', 'somebody' FROM generate_series(1, 500) i;
	INSERT INTO _ward.relation_version (relation, relid, schema_name, relation_name, attnums, columns, keys, subject_attnums, classes)
	OVERRIDING SYSTEM VALUE VALUES (-1, 0, 'public', 'person', '{1,2}', '{id,name}', '{"",""}', '{1}', '{person}');});

# So many statements about ten people each, of so many people.
sub put
{
	my ($from, $statements, $people) = @_;
	$node->safe_psql('postgres', qq{
		INSERT INTO _ward.disclosure
		SELECT 'test', 1 + i % 500, i, -1, 1, 'person', m.at, 1, '', '{1,2}', '{}',
			(SELECT _ward.subject_set_agg(abs(hashint8extended(i, g)) % $people) FROM generate_series(1, 10) g),
			_ward.subject_set(ARRAY[i]), 1, 0, m.at, m.at, i, i
		FROM generate_series($from, $from + $statements - 1) i, LATERAL (SELECT '2021-11-09 00:00+00'::timestamptz + i % 10000 * interval '1 minute' AS at) m});
}

# How much a session grew by a question, at most, in kB. The question was asked before, so
# that what it touches of shared memory counts on both sides, and the peak is then forgotten.
sub growth
{
	my ($work_mem) = @_;
	my $most = q{SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s+(\d+) kB'))[1];};
	my $ask = q{SELECT sum(_ward.subject_set_count(subjects)) FROM _ward.scope_groups(tstzrange('2021-11-09', '2021-11-20'), NULL, NULL, NULL, NULL, NULL, NULL, NULL);};
	my ($people, $before, $same, $after) = split /\n/, $node->safe_psql('postgres', qq{
		SET timezone = 'UTC';
		SET work_mem = '64kB';
		$ask
		SELECT pg_backend_pid() AS pid \\gset
		\\setenv BACKEND :pid
		\\! echo 5 > /proc/\$BACKEND/clear_refs
		SET work_mem = '$work_mem';
		$most
		$ask
		$most});
	is($same, $people, "$people people with work_mem of $work_mem");
	return ($people, $after - $before);
}

put(1, 20000, 60000);
my (undef, $roomy) = growth('256MB');
my ($some, $few) = growth('64kB');
cmp_ok($roomy, '>', 8 * 1024, "with room, $roomy kB are used");
cmp_ok($few, '<', 2 * 1024, "without, $few kB");

put(20001, 40000, 60000);
my (undef, $more) = growth('64kB');
cmp_ok($more, '<', $few + 1024, "three times the statements take no more: $more kB");
put(60001, 30000, 1000000);
(my $many, $more) = growth('64kB');
cmp_ok($many, '>', 4 * $some, 'many more people');
cmp_ok($more, '<', $few + 1024, "and these take no more: $more kB");

$node->stop;
done_testing();
