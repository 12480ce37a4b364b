# Moving values to a new version of their key beside writers and readers, through
# locks, cancels and kill -9, and by several sessions; no old value is left and no
# update is lost.
use strict;
use warnings;
use IPC::Run qw(start finish);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('reseal');
my $kek = PostgreSQL::Test::Utils::tempdir() . '/kek';
system_or_bail('openssl', 'rand', '-out', $kek, '32');
chmod 0600, $kek;
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
ward.kek_file = '$kek'
restart_after_crash = on
autovacuum_naptime = 1s
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE ROLE reader LOGIN;
	CREATE ROLE officer LOGIN IN ROLE ward_officer;
	CREATE ROLE writer LOGIN;
	SELECT ward.create_key('k');
	SELECT ward.grant_unseal('k', 'reader', 'test');
	CREATE TABLE t (id int PRIMARY KEY, x sealed_text('k') UNIQUE, n int NOT NULL DEFAULT 0);
	CREATE TABLE child (id int PRIMARY KEY, x sealed_text('k') REFERENCES t (x));
	CREATE TABLE parts (id int, x sealed_text('k')) PARTITION BY RANGE (id);
	CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (1000);
	CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (1000) TO (100000);
	INSERT INTO t SELECT i, 'value ' || i FROM generate_series(1, 20000) i;
	INSERT INTO child SELECT i, 'value ' || i FROM generate_series(1, 2000) i;
	INSERT INTO parts SELECT i, 'part ' || i FROM generate_series(1, 999) i;
	GRANT SELECT ON t, child, parts TO reader;
	GRANT SELECT, INSERT, UPDATE, DELETE ON t, child, parts TO writer;
});

sub officer
{
	my ($sql) = @_;
	my $run = { out => '', err => '' };
	$run->{h} = start(
		[ 'psql', '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') . ' user=officer application_name=reseal', '-c', $sql ],
		'<', \undef, '>', \$run->{out}, '2>', \$run->{err});
	return $run;
}

sub left
{
	return $node->safe_psql('postgres', q{
		SELECT coalesce(sum(uses), 0) FROM ward.key_versions_in_use('k') WHERE state <> 'active' AND location LIKE 'column%'});
}

sub rotate
{
	$node->safe_psql('postgres', q{SELECT ward.rotate_key('k', 'test')}, extra_params => [ '-U', 'officer' ]);
}

my $intact = q{SELECT count(*) = 20000 AND bool_and(x::text = 'value ' || id) FROM t WHERE id <= 20000};

# Writers who update, insert, delete, refer to and move rows while values move.
rotate();
my @writers = map {
	my $run = { out => '', err => '' };
	$run->{h} = start(
		[ 'psql', '-X', '-A', '-t', '-q', '-d', $node->connstr('postgres') . ' user=writer', '-c', qq{
			DO \$\$
			DECLARE
				began timestamptz := clock_timestamp();
				mine int := 0;
				at int;
			BEGIN
				WHILE clock_timestamp() < began + interval '6 seconds' LOOP
					at := 1 + (random() * 19999)::int;
					UPDATE t SET n = n + 1 WHERE id = at;
					mine := mine + 1;
					INSERT INTO child VALUES (100000 * $_ + mine, 'value ' || at);
					-- Each writer moves rows of its own: two that move one row are an error without
					-- resealing, too.
					UPDATE parts SET id = CASE WHEN id < 1000 THEN id + 1000 ELSE id - 1000 END
					 WHERE id IN (at % 500 * 2 + $_ - 1, at % 500 * 2 + $_ - 1 + 1000);
					COMMIT;
					-- So that one writer does not wait for the other in turn.
					PERFORM pg_sleep(0.001);
				END LOOP;
				RAISE NOTICE 'updated %', mine;
			END\$\$} ],
		'<', \undef, '>', \$run->{out}, '2>', \$run->{err});
	$run
} (1, 2);
my ($status, $out, $err) = $node->psql('postgres', q{CALL ward.reseal('k', 100, '2 milliseconds')}, extra_params => [ '-U', 'officer' ]);
is($err, '', 'values move beside writers');
finish($_->{h}) for @writers;
my $updates = 0;
for my $writer (@writers)
{
	like($writer->{err}, qr/^NOTICE:  updated (\d+)\n?$/, 'a writer is not disturbed');
	$updates += $1 if $writer->{err} =~ /updated (\d+)/;
}
is(left(), '0', 'no old value is left');
is($node->safe_psql('postgres', 'SELECT sum(n) FROM t'), $updates, "none of $updates updates is lost");
is($node->safe_psql('postgres', $intact, extra_params => [ '-U', 'reader' ]), 't', 'every value is what it was');
is($node->safe_psql('postgres', q{SELECT count(*), bool_and(x::text LIKE 'part %') FROM parts}, extra_params => [ '-U', 'reader' ]), '999|t', 'rows that moved between partitions are whole');
is($node->safe_psql('postgres', 'SELECT count(*) FROM child c WHERE NOT EXISTS (SELECT FROM t WHERE t.x = c.x)'), '0', 'foreign keys hold');

# A row that is locked is left out first and waited for then; an insertion from before
# the rotation is waited for. Readers wait for nothing.
my $insertion = $node->background_psql('postgres');
$insertion->query_safe('BEGIN');
$insertion->query_safe(q{INSERT INTO t VALUES (30000, 'before the rotation')});
rotate();
my $lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN');
$lock->query_safe('SELECT FROM t WHERE id = 5 FOR UPDATE');
my $run = officer(q{CALL ward.reseal('k', 500)});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM ward.reseal_progress WHERE rows_locked > 0 OR round > 1 AND relation = 't'::regclass}),
	'progress shows that a row is locked');
is($node->safe_psql('postgres', q{SET statement_timeout = '20s'; SELECT count(*) FROM t WHERE id <= 20000}), '20000', 'readers are not blocked');
$lock->query_safe(q{UPDATE t SET n = -1 WHERE id = 5});
$lock->query_safe('COMMIT');
ok($node->poll_query_until('postgres', q{SELECT bool_or(state = 'waiting for writers') FROM ward.reseal_progress}),
	'progress shows that a writer is waited for');
$insertion->query_safe('COMMIT');
finish($run->{h});
is($run->{err}, '', 'it ends once they have');
is(left(), '0', 'neither is left');
is($node->safe_psql('postgres', 'SELECT n FROM t WHERE id = 5'), '-1', 'the update of the locked row holds');
$lock->quit;
$insertion->quit;
$node->safe_psql('postgres', 'DELETE FROM t WHERE id = 30000');

# A row that is waited for and moves to another partition meanwhile is found there.
rotate();
$lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN');
$lock->query_safe('UPDATE parts SET id = id % 1000 + CASE WHEN id < 1000 THEN 1000 ELSE 0 END WHERE id % 1000 = 7');
$run = officer(q{CALL ward.reseal('k')});
ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'reseal' AND wait_event = 'transactionid'}),
	'a row that is about to move is waited for');
$lock->query_safe('COMMIT');
$lock->quit;
finish($run->{h});
is($run->{err}, '', 'that it has moved to another partition is no error');
is(left(), '0', 'and its value is not left behind');

# Cancelled, then killed; both times the next call goes on from the last batch.
rotate();
$run = officer(q{CALL ward.reseal('k', 100, '20 milliseconds')});
my $some = q{SELECT coalesce(sum(values_done), 0) > %d FROM ward.reseal_progress WHERE finished_at IS NULL};
$node->poll_query_until('postgres', sprintf($some, 1000)) or die;
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'reseal'});
finish($run->{h});
like($run->{err}, qr/canceling statement due to user request/, 'a cancel is heeded');
my $done = $node->safe_psql('postgres', 'SELECT sum(values_done) FROM ward.reseal_progress');
$run = officer(q{CALL ward.reseal('k', 100, '20 milliseconds')});
$node->poll_query_until('postgres', sprintf($some, $done + 1000)) or die;
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE application_name = 'reseal'});
kill 'KILL', $pid;
finish($run->{h});
$node->poll_query_until('postgres', 'SELECT true') or die;
my $killed = $node->safe_psql('postgres', 'SELECT sum(values_done) FROM ward.reseal_progress');
cmp_ok($killed, '>', $done + 500, 'what was committed before the crash is not done again');
cmp_ok(left(), '>', 0, 'it was in the midst');
$node->safe_psql('postgres', q{CALL ward.reseal('k')}, extra_params => [ '-U', 'officer' ]);
is(left(), '0', 'after kill -9 the next call ends it');
is($node->safe_psql('postgres', 'SELECT sum(values_done) FROM ward.reseal_progress'),
	$node->safe_psql('postgres', q{SELECT sum(uses) FROM ward.key_versions_in_use('k') WHERE location LIKE 'column%'}), 'each value was moved once');
is($node->safe_psql('postgres', $intact, extra_params => [ '-U', 'reader' ]), 't', 'every value is what it was');

# By several sessions, and where transactions are REPEATABLE READ by default.
rotate();
my @runs = map { officer(q{CALL ward.reseal('k', 200)}) } (1 .. 3);
finish($_->{h}) for @runs;
is(join('', map { $_->{err} } @runs), '', 'three sessions share the work');
is(left(), '0', 'and leave nothing');
rotate();
$node->safe_psql('postgres', q{ALTER ROLE officer SET default_transaction_isolation = 'repeatable read'});
$node->safe_psql('postgres', q{CALL ward.reseal('k')}, extra_params => [ '-U', 'officer' ]);
is(left(), '0', 'also in REPEATABLE READ');
$node->safe_psql('postgres', q{ALTER ROLE officer RESET default_transaction_isolation});

# Rotated again while it runs: it goes on to the newest version.
rotate();
$run = officer(q{CALL ward.reseal('k', 100, '5 milliseconds')});
$node->poll_query_until('postgres', sprintf($some, 500)) or die;
rotate();
finish($run->{h});
is($run->{err}, '', 'a rotation in the midst does not stop it');
is(left(), '0', 'and only the newest version is left');

# A transaction that could still copy an old value keeps the version from destruction.
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$old->query_safe('SELECT count(*) FROM t');
rotate();
$node->safe_psql('postgres', q{CALL ward.reseal('k')}, extra_params => [ '-U', 'officer' ]);
my $version = $node->safe_psql('postgres', q{SELECT max(version) FROM ward.keys WHERE name = 'k' AND state = 'retired'});
my $destroy = qq{SELECT ward.destroy_key_version('k', $version, 'k', 'test')};
($status, $out, $err) = $node->psql('postgres', $destroy, extra_params => [ '-U', 'officer' ]);
like($err, qr/is in use\n.*transaction of process/s, 'an older transaction keeps a version from being destroyed');
$old->query_safe('COMMIT');
$old->quit;
my $wrapped = $node->safe_psql('postgres', "SELECT encode(v.wrapped, 'hex') FROM _ward.key_version v WHERE version = $version");
($status, $out, $err) = $node->psql('postgres', $destroy, extra_params => [ '-U', 'officer' ]);
is($status, 0, 'then it is destroyed');
$node->restart;
is($node->safe_psql('postgres', $intact, extra_params => [ '-U', 'reader' ]), 't', 'and every value opens without it');
my $file = slurp_file($node->data_dir . '/' . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('_ward.key_version')}));
is(index($file, pack('H*', $wrapped)), -1, 'its wrapped bytes are in no page of the table');

# While a dump holds the table they stay, and it says so.
$old = $node->background_psql('postgres');
$old->query_safe('BEGIN');
$old->query_safe('LOCK TABLE _ward.key_version IN ACCESS SHARE MODE');
($status, $out, $err) = $node->psql('postgres', q{SELECT ward.destroy_key('k', 'k', 'test')}, extra_params => [ '-U', 'officer' ]);
like($err, qr/WARNING: .*still in the table's file.*VACUUM FULL _ward.key_version/s, 'what is not overwritten is said');
$old->quit;
($status, $out, $err) = $node->psql('postgres', 'SELECT x FROM t', extra_params => [ '-U', 'reader' ]);
like($err, qr/sealing key "k" is destroyed/, 'a destroyed key opens nothing');
# Dumped and restored it is as dead, and the rows are all there.
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'it is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', $dump, $node->connstr('restored') ], 'and restored');
is($node->safe_psql('restored', 'SELECT count(*) FROM t'), '20000', 'with all rows');
($status, $out, $err) = $node->psql('restored', 'SELECT x FROM t', extra_params => [ '-U', 'reader' ]);
like($err, qr/sealing key "k" is destroyed/, 'which nobody can open');

$node->stop;
done_testing();
