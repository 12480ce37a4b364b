# Limits on how many different people are shown: over sessions that start together, in
# parallel workers, by cursors, COPY and the extended protocol, across restarts and
# crashes, and on a standby.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('guard');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_ward'
max_worker_processes = 24
max_connections = 150
autovacuum = off
restart_after_crash = on
ward.trail_segment_size = '128kB'
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE ROLE intruder LOGIN;
	CREATE ROLE worker LOGIN;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'name ' || i FROM generate_series(1, 20000) i;
	GRANT SELECT ON person TO intruder, worker;
	SELECT ward.watch('person', 'id');
	ANALYZE person;
	SELECT ward.limit('hourly', 'person', 1000, '1 hour', applies_to => '{intruder}');});

sub as
{
	my ($role, $query, %more) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $query, extra_params => [ '-U', $role ], %more);
	return ($out, $err);
}
sub used
{
	my ($on, $role) = @_;
	return $on->safe_psql('postgres', "SELECT coalesce((SELECT people || '|' || reserved FROM ward.limit_use WHERE name = 'hourly' AND principal = '$role'), '-')");
}
sub people { my %seen; $seen{$_} = 1 for grep { /^\d+$/ } split /\n/, $_[0]; return scalar keys %seen; }

# How many rows of a result reach a client before it is refused.
my ($out, $err) = as('intruder', 'SELECT id FROM person ORDER BY id LIMIT 100');
is(people($out), 100, 'below the limit everything is shown');
is(used($node, 'intruder'), '100|0', 'and counted');

# A crash between the count and the next read.
$node->stop('immediate');
$node->start;
is(used($node, 'intruder'), '-', 'after a crash memory is empty');
($out, $err) = as('intruder', 'SELECT id FROM person WHERE id = 1');
is($out, '1', 'who was shown before is shown again');
is(used($node, 'intruder'), '100|0', 'and all are counted again, from the trail');

# A server process that is killed in the middle of a read, and with it the server.
my $killed = IPC::Run::start([ 'psql', '-XAtq', '-h', $node->host, '-p', $node->port, '-U', 'intruder', '-d', 'postgres', '-c',
	"\\set FETCH_COUNT 10", '-c', 'SELECT id, pg_sleep(0.01) FROM person WHERE id BETWEEN 101 AND 400' ], '<', \undef, '>', \my $shown, '2>', \my $said);
$node->poll_query_until('postgres', q{SELECT people > 150 FROM ward.limit_use WHERE principal = 'intruder'});
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE usename = 'intruder'});
kill 9, $pid;
$killed->finish;
$node->poll_query_until('postgres', 'SELECT true');
as('intruder', 'SELECT id FROM person WHERE id = 1');
my ($counted) = split /\|/, used($node, 'intruder');
my $left_at_kill = people(join "\n", map { (split /\|/)[0] } split /\n/, $shown);
cmp_ok($counted, '>=', 100 + $left_at_kill, "whoever had left before the crash counts ($left_at_kill)");
cmp_ok($counted, '<', 400, 'and not those that had not');

# In a table that is read in parallel.
my $parallel = q{SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 4;};
like($node->safe_psql('postgres', "$parallel EXPLAIN SELECT id FROM person WHERE name LIKE 'name%'"), qr/Gather/, 'the plan is parallel');
($out, $err) = as('intruder', "$parallel SELECT id FROM person WHERE name LIKE 'name%'");
like($err, qr/ERROR: +limit "hourly" is reached/, 'a parallel plan is stopped');
cmp_ok(people($out), '<=', 1000, 'in time');
($counted) = split /\|/, used($node, 'intruder');
cmp_ok($counted, '<=', 1000, 'workers together do not exceed it');

# A hundred sessions that start together, each for other people.
$node->safe_psql('postgres', q{SELECT ward.limit('hourly', 'person', 1500, '1 hour', applies_to => '{worker}')});
my @sessions;
for my $n (0 .. 99)
{
	my ($from, $to) = ($n * 200 + 1, $n * 200 + 200);
	my $query = $n % 4 == 0 ? "SELECT id FROM person WHERE id BETWEEN $from AND $to"
		: $n % 4 == 1 ? "COPY (SELECT id FROM person WHERE id BETWEEN $from AND $to) TO STDOUT"
		: $n % 4 == 2 ? "BEGIN; DECLARE c CURSOR FOR SELECT id FROM person WHERE id BETWEEN $from AND $to; FETCH 50 FROM c; FETCH 50 FROM c; FETCH ALL FROM c"
		: join('; ', map { "SELECT id FROM person WHERE id = $_" } $from .. $from + 40);
	my ($result, $errors) = ('', '');
	push @sessions, { out => \$result, err => \$errors,
		run => IPC::Run::start([ 'psql', '-XAtq', '-h', $node->host, '-p', $node->port, '-U', 'worker', '-d', 'postgres', '-c', $query ], '<', \undef, '>', \$result, '2>', \$errors) };
}
my $all = '';
my $refused = 0;
for my $session (@sessions)
{
	$session->{run}->finish;
	$all .= ${ $session->{out} };
	$refused++ if ${ $session->{err} } =~ /limit "hourly" is reached/;
}
cmp_ok($refused, '>', 80, "most of a hundred sessions are refused ($refused)");
cmp_ok(people($all), '<=', 1500, 'together they are shown no more than the limit');
cmp_ok(people($all), '>', 1200, 'and nearly as many: ' . people($all));
is(used($node, 'worker'), '1500|0', 'all of it is counted, nothing stays reserved');

# A prepared statement.
$node->safe_psql('postgres', q{SELECT ward.limit('hourly', 'person', 1600, '1 hour', applies_to => '{worker}')});
is($node->safe_psql('postgres', q{
	SET ROLE worker;
	PREPARE p AS SELECT id FROM person WHERE id = $1;
	EXECUTE p(1);}), '1', 'a prepared statement is limited');
is((split /\|/, used($node, 'worker'))[0], 1500, 'and counts in the same window');

# Roles that are exempt, whoever they act as: what counts is the login, too.
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN;
	GRANT worker TO app;
	SELECT ward.limit('logins', 'person', 5, '1 hour', applies_to => '{app}');});
($out, $err) = as('app', 'SET ROLE worker; SELECT id FROM person WHERE id <= 10 ORDER BY id');
like($err, qr/limit "logins" is reached/, 'SET ROLE does not shake off a limit');

# On a standby, from its own trail.
$node->safe_psql('postgres', q{SELECT ward.limit('hourly', 'person', 30, '1 hour', applies_to => '{intruder}'); SELECT ward.drop_limit('logins');});
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('guard_standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
my ($rc, $sout, $serr) = $standby->psql('postgres', 'SELECT id FROM person WHERE id <= 20', extra_params => [ '-U', 'intruder' ]);
is(people($sout), 20, 'on a standby people are counted apart');
$standby->restart;
($rc, $sout, $serr) = $standby->psql('postgres', 'SELECT id FROM person WHERE id BETWEEN 21 AND 40 ORDER BY id', extra_params => [ '-U', 'intruder' ]);
like($serr, qr/limit "hourly" is reached/, 'limits hold there');
is(used($standby, 'intruder'), '30|0', 'and outlast a restart');
$standby->stop;

# Where the trail can't be read, here for want of a process, nobody who is limited is shown anything.
$node->stop;
$node->append_conf('postgresql.conf', "ward.limit_wait = '1500ms'\nmax_worker_processes = 1");
$node->start;
($out, $err) = as('intruder', "\\set VERBOSITY verbose\nSELECT id FROM person WHERE id = 1");
is($out, '', 'what was shown before can not be counted: nothing is shown');
like($err, qr/ERROR: +WD503: limit "hourly" is not ready yet/, 'and the error says so');
is($node->safe_psql('postgres', 'SELECT id FROM person WHERE id = 1'), '1', 'others are not held up');
$node->stop;

done_testing();
