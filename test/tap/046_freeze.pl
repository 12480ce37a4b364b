# A freeze, a revoked right, a membership that ends and an expiry stop what is under
# way in other sessions within a second: statements, loops, parallel workers, COPY,
# cursors and prepared statements, and sealing.
use strict;
use warnings;
use IPC::Run qw(start finish);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('freeze');
my $kek = PostgreSQL::Test::Utils::tempdir() . '/kek';
system_or_bail('openssl', 'rand', '-out', $kek, '32');
chmod 0600, $kek;
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
ward.kek_file = '$kek'
max_prepared_transactions = 4
max_parallel_workers = 8
# Nothing interrupts a compilation, and that of the parallel one takes seconds.
jit = off
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE ROLE clerks;
	CREATE ROLE clerk LOGIN IN ROLE clerks;
	SELECT ward.create_key('k');
	CREATE TABLE big (id int PRIMARY KEY, x sealed_text('k'));
	INSERT INTO big SELECT i, 'value ' || i FROM generate_series(1, 20000) i;
	CREATE TABLE sink (x sealed_text('k'));
	GRANT SELECT ON big TO clerk;
	GRANT INSERT ON sink TO clerk;
	ANALYZE big;
});

# Statements that would run for minutes, each opening or sealing one value after another.
my $join = 'SELECT count(*) FROM big b, big c WHERE length(b.x::text) + c.id < 0';
my %work = (
	statement => "SET max_parallel_workers_per_gather = 0; $join",
	loop => q{DO $$DECLARE s text; BEGIN LOOP SELECT x::text INTO s FROM big WHERE id = 7; END LOOP; END$$},
	prepared => "SET max_parallel_workers_per_gather = 0; SET plan_cache_mode = force_generic_plan; PREPARE p AS $join; EXECUTE p",
	parallel => "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off; $join",
	copy => 'COPY (SELECT b.x FROM big b, big c) TO STDOUT',
	sealing => q{INSERT INTO sink SELECT 'value ' || b.id + c.id FROM big b, big c},
);
like($node->safe_psql('postgres', "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; EXPLAIN $join"),
	qr/Gather/, 'the parallel one is');

my $refused = qr/permission denied to open values sealed under key/;
my %ends = (
	'a freeze' => {
		stop => q{SELECT ward.freeze_key('k', 'test')}, error => qr/sealing key "k" is frozen/,
		again => q{SELECT ward.thaw_key('k', 'test')}, work => [qw(statement loop prepared parallel copy sealing)] },
	'a revoked right' => {
		stop => q{SELECT ward.revoke_unseal('k', 'clerks', 'test')}, error => $refused,
		again => '', work => [qw(statement loop prepared parallel)] },
	'a membership that ends' => {
		stop => 'REVOKE clerks FROM clerk', error => $refused,
		again => 'GRANT clerks TO clerk', work => [qw(statement loop prepared parallel)] },
	'an expiry' => {
		stop => '', error => $refused,
		again => '', work => [qw(statement loop parallel)] });

# Starts work in a session of its own and waits until it runs.
sub begin
{
	my ($sql) = @_;
	my $victim = { out => '', err => '' };
	$victim->{run} = start(
		[ 'psql', '-X', '-A', '-t', '-q', '-d', $node->connstr('postgres') . ' user=clerk application_name=victim', '-c', $sql, '-o', '/dev/null' ],
		'<', \undef, '>', \$victim->{out}, '2>', \$victim->{err});
	$node->poll_query_until('postgres', q{
		SELECT count(*) > 0 FROM pg_stat_activity
		 WHERE application_name = 'victim' AND state = 'active' AND query_start < clock_timestamp() - interval '100 ms'})
		or die 'the work did not start';
	return $victim;
}

# Waits at most a second from now until nothing of it runs any more.
my $gone = q{
	DO $$
	DECLARE
		began timestamptz := clock_timestamp();
	BEGIN
		LOOP
			PERFORM pg_stat_clear_snapshot();
			EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity
			                       WHERE state = 'active' AND pid <> pg_backend_pid() AND usename = 'clerk');
			IF clock_timestamp() > began + interval '1 second' THEN
				RAISE EXCEPTION 'still running';
			END IF;
			PERFORM pg_sleep(0.01);
		END LOOP;
	END$$};

for my $end (sort keys %ends)
{
	my %how = %{ $ends{$end} };
	for my $work (@{ $how{work} })
	{
		my $expires = $how{stop} eq '' ? q{, clock_timestamp() + interval '2 seconds'} : '';
		$node->safe_psql('postgres', "SELECT ward.grant_unseal('k', 'clerks', 'test'$expires)");
		my $victim = begin($work{$work});
		$node->safe_psql('postgres', q{SELECT pg_sleep(greatest(0, extract(epoch FROM expires - clock_timestamp())))
			FROM ward.unseal_grants}) if $expires;
		my ($status, $out, $err) = $node->psql('postgres', "$how{stop};\n$gone");
		is($err, '', "$end stops within a second: $work");
		$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'");
		finish($victim->{run});
		like($victim->{err}, $how{error}, "$end says so: $work");
		$node->safe_psql('postgres', $how{again}) if $how{again};
	}
}

# Cursors stop at their next fetch, prepared statements at their next use, also in a
# transaction that goes on, and what reads nothing sealed goes on undisturbed.
for my $end ('a freeze', 'a revoked right', 'a membership that ends', 'an expiry')
{
	my %how = %{ $ends{$end} };
	my $expires = $how{stop} eq '' ? q{, clock_timestamp() + interval '2 seconds'} : '';
	$node->safe_psql('postgres', "SELECT ward.grant_unseal('k', 'clerks', 'test'$expires)");
	my $session = $node->background_psql('postgres', extra_params => [ '-U', 'clerk' ], on_error_stop => 0);
	$session->query_safe('PREPARE p(int) AS SELECT x::text FROM big WHERE id = $1');
	$session->query_safe('BEGIN');
	$session->query_safe('DECLARE c CURSOR FOR SELECT x::text FROM big');
	$session->query_safe('DECLARE h CURSOR WITH HOLD FOR SELECT length(x::text) FROM big WHERE id < 3');
	is($session->query_safe('FETCH 1 FROM c'), 'value 1', "before $end a cursor fetches");
	is($session->query_safe('EXECUTE p(9)'), 'value 9', "before $end a prepared statement runs");
	$node->safe_psql('postgres', $how{stop}) if $how{stop};
	$node->safe_psql('postgres', 'SELECT pg_sleep(2)') if $expires;
	$session->query_safe('SAVEPOINT s');
	is($session->query('FETCH 1 FROM c'), '', "$end: an open cursor gives nothing more");
	like($session->{stderr}, $how{error}, "$end stops an open cursor at its next fetch");
	$session->{stderr} = '';
	$session->query_safe('ROLLBACK TO s');
	is($session->query('EXECUTE p(9)'), '', "$end: a prepared statement gives nothing more");
	like($session->{stderr}, $how{error}, "$end stops a prepared statement");
	$session->{stderr} = '';
	$session->query_safe('ROLLBACK');
	is($session->query_safe('SELECT count(*) FROM big WHERE id < 10'), '9', "$end: the session goes on");
	$session->quit;
	$node->safe_psql('postgres', $how{again}) if $how{again};
}

# A freeze holds from its commit on, for others.
$node->safe_psql('postgres', q{SELECT ward.grant_unseal('k', 'clerks', 'test')});
my $officer = $node->background_psql('postgres');
$officer->query_safe('BEGIN');
$officer->query_safe(q{SELECT ward.freeze_key('k', 'test')});
is($node->safe_psql('postgres', 'SELECT x FROM big WHERE id = 7', extra_params => [ '-U', 'clerk' ]),
	'value 7', 'a freeze that is not committed does not hold for others yet');
$officer->query_safe('COMMIT');
my ($status, $out, $err) = $node->psql('postgres', 'SELECT x FROM big WHERE id = 7', extra_params => [ '-U', 'clerk' ]);
like($err, qr/is frozen/, 'once committed it does');
$officer->quit;
# It holds over a crash, for keys that were in use before.
$node->stop('immediate');
$node->start;
($status, $out, $err) = $node->psql('postgres', 'SELECT x FROM big WHERE id = 7', extra_params => [ '-U', 'clerk' ]);
like($err, qr/is frozen/, 'and over a crash');

$node->stop;
done_testing();
