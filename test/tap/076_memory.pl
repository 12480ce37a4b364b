# The memory of a session stays flat, whatever it runs: single look-ups, scans whose sets
# outgrow ward.capture_memory, functions, errors, new statements and changing watches.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{WARD_MEMORY_ROUNDS} // 4000;
my $node = PostgreSQL::Test::Cluster->new('memory');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nautovacuum = off\nward.capture_memory = '64kB'\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i * 4097, 'name ' || i FROM generate_series(1, 20000) i;
	CREATE TABLE note (person_id int, body text);
	SELECT ward.watch('person', 'id');
	CREATE FUNCTION one(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT name FROM person WHERE id = $1';
	CREATE FUNCTION caught(int) RETURNS int LANGUAGE plpgsql AS $$
	BEGIN RETURN (SELECT 1 / (id - id) FROM person WHERE id = $1); EXCEPTION WHEN division_by_zero THEN RETURN 0; END$$;});

# What a statement leaves behind would be in these contexts, or below them.
my $memory = q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts
	WHERE name NOT IN ('CacheMemoryContext', 'index info', 'relation rules', 'CachedPlanSource', 'CachedPlan', 'CachedPlanQuery')};

my %work = (
	'look-ups' => q{PERFORM name FROM person WHERE id = 4097 * (1 + i % 20000)},
	'look-ups by new statements' => q{EXECUTE format('SELECT name AS c%s FROM person WHERE id = %s', i, i * 4097)},
	'functions' => q{PERFORM one(4097 * (1 + i % 20000))},
	'caught errors' => q{PERFORM caught(4097)},
	'writes' => q{UPDATE person SET name = 'new' WHERE id = 4097 * (1 + i % 100)},
	'joins' => q{PERFORM FROM person p JOIN person q USING (id) WHERE p.id = 4097 * (1 + i % 20000)},
	'scans that outgrow the memory' => q{IF i % 400 = 0 THEN PERFORM count(name) FROM person; END IF},
	'changing watches' => q{IF i % 100 = 0 THEN PERFORM ward.watch('note', 'person_id'); PERFORM person_id FROM note; PERFORM ward.unwatch('note'); END IF});

for my $name (sort keys %work)
{
	my $loop = sub { "DO \$\$BEGIN FOR i IN 1..$_[0] LOOP $work{$name}; IF i % 50 = 0 THEN COMMIT; END IF; END LOOP; END\$\$;\n" };
	my $sizes = $node->safe_psql('postgres', "SET client_min_messages = error;\n" . $loop->($rounds / 4) . "$memory;\n" . $loop->($rounds) . "$memory;\n");
	my ($early, $late) = split /\n/, $sizes;
	cmp_ok($late, '<', $early + 256 * 1024, "$name: no growth from " . $rounds / 4 . " to " . $rounds * 5 / 4 . " rounds ($early, $late bytes)");
}

# A session that is told to run simple statements, as a client does.
my $pgbench = $node->basedir . '/look.sql';
append_to_file($pgbench, "\\set id 4097 * random(1, 20000)\nSELECT name FROM person WHERE id = :id;\n");
$node->command_ok([ 'pgbench', '-n', '-M', 'prepared', '-t', $rounds, '-f', $pgbench, 'postgres' ], 'look-ups from a client');

# A set that outgrows its memory is written in parts and loses nobody.
my $start = $node->safe_psql('postgres', 'SELECT _ward.trail_end()');
$node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT * FROM person OFFSET 0) s');
$node->safe_psql('postgres', 'SELECT ward.sync()');
is($node->safe_psql('postgres', qq{
	SELECT count(DISTINCT s.member) FROM ward.disclosures d, LATERAL _ward.subject_set_members(d.subject_set) s(member)
	 WHERE d.last_position >= $start}), '20000', 'a set that outgrew ward.capture_memory is complete');

$node->stop;
done_testing();
