# The index of the trail: folded exactly once whatever dies, and out of the way of
# whoever wants a database alone.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('index');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
autovacuum = off
restart_after_crash = on
});
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE one');
$node->safe_psql('postgres', 'CREATE DATABASE two');
$node->safe_psql($_, 'CREATE EXTENSION pg_ward') for qw(one two);

my $written = 0;

# Appends n events.
sub append
{
	my ($db, $n) = @_;
	$node->safe_psql($db, "SELECT _ward.record_event('test.mark', '{n}', ARRAY[i::text]) FROM generate_series($written + 1, $written + $n) i");
	$written += $n;
}

# What the index holds, and what it holds twice.
sub indexed
{
	my ($db) = @_;
	return $node->safe_psql($db, q{
		SELECT ward.sync() > 0;
		SELECT count(*), count(DISTINCT detail ->> 'n') FROM ward.events WHERE kind = 'test.mark'}) =~ s/^t\n//r;
}

sub worker
{
	my ($db) = @_;
	return $node->safe_psql('postgres',
		"SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE backend_type = 'pg_ward index' AND datname = '$db'");
}

append('one', 2000);
is(indexed('one'), "$written|$written", 'what was written is indexed when sync() returns');
is(indexed('two'), '0|0', 'the other database does not see it');

# A worker that ends between two batches goes on where it was.
for my $round (1 .. 3)
{
	append('one', 500);
	my $pid = worker('one');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)") if $pid;
	append('one', 500);
}
is(indexed('one'), "$written|$written", 'after its worker was terminated, nothing is lost or doubled');

# A crash in the middle of folding.
append('one', 20000);
my $pid = worker('one');
isnt($pid, '0', 'a worker is at work');
kill 'KILL', $pid;
sleep 1;
$node->poll_query_until('postgres', 'SELECT 1', '1') or BAIL_OUT('the server did not come back');
is(indexed('one'), "$written|$written", 'after a killed worker nothing is lost or doubled');

append('one', 3000);
$node->stop('immediate');
$node->start;
is(indexed('one'), "$written|$written", 'after an immediate shutdown nothing is lost or doubled');

# Without anyone asking, the worker comes after a start, and leaves when idle.
append('one', 10);
$node->restart;
ok($node->poll_query_until('one', 'SELECT behind = 0 FROM ward.index_status'), 'after a start the index catches up by itself');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'pg_ward index'}),
	'an idle worker leaves');

# Made again from the evidence, it is the same.
$node->safe_psql('one', 'SET ROLE ward_auditor; SELECT ward.rebuild_index()');
is(indexed('one'), "$written|$written", 'a rebuilt index is the same');

# Commands that want the database alone, with a worker at work.
append('two', 200);
$node->safe_psql('two', 'SELECT ward.sync()');
isnt(worker('two'), '0', 'a worker is connected');
my $start = time;
is($node->psql('postgres', 'CREATE DATABASE copy TEMPLATE two'), 0, 'CREATE DATABASE from a template with a worker');
$node->safe_psql('two', "SELECT _ward.record_event('test.more')");
is($node->psql('postgres', 'ALTER DATABASE two RENAME TO three'), 0, 'ALTER DATABASE RENAME with a worker');
$node->safe_psql('three', "SELECT _ward.record_event('test.more')");
is($node->safe_psql('three', q{SELECT ward.sync() > 0; SELECT count(*) FROM ward.events WHERE kind = 'test.more'}), "t\n2",
	'the worker is back');
is($node->psql('postgres', 'DROP DATABASE three'), 0, 'DROP DATABASE with a worker');
cmp_ok(time - $start, '<', 20, 'none of it waited long');
is(indexed('copy'), '0|0', "a copied database starts an index of its own");

# The extension dropped and created again: the evidence was never its own.
$node->safe_psql('one', "SELECT _ward.record_event('test.last')");
is($node->psql('one', 'DROP EXTENSION pg_ward'), 0, 'DROP EXTENSION with a worker');
my ($rc, $out, $err) = $node->psql('one', q{
	\set VERBOSITY verbose
	BEGIN;
	CREATE EXTENSION pg_ward;
	SELECT ward.sync();});
like($err, qr/WD310.*is behind.*commit it first/s, 'sync() in the transaction that creates the extension says so');
$node->safe_psql('one', 'CREATE EXTENSION pg_ward');
my $all = $node->safe_psql('one', q{SELECT ward.sync() > 0; SELECT count(DISTINCT detail ->> 'n') FROM ward.events WHERE kind = 'test.mark'});
is($all, "t\n" . ($written - 200), 'a new index holds what an earlier one held');

# Partitions and index tables are not dumped: a restore makes them again.
my $dump = $node->basedir . '/dump.sql';
$node->command_ok(['pg_dump', '-f', $dump, '-d', $node->connstr('one')], 'pg_dump');
unlike(slurp_file($dump), qr/_ward\.(disclosure|event|context|index_state)/, 'the dump leaves the index out');

# Nobody can be told a stale answer.
($rc, $out, $err) = $node->psql('one', q{
	BEGIN ISOLATION LEVEL REPEATABLE READ;
	SELECT 1;
	SELECT _ward.record_event('test.late');
	SELECT * FROM ward.breach_scope(tstzrange(NULL, NULL));});
like($err, qr/snapshot is older than the evidence/, 'a transaction with an older snapshot gets an error');

# No process left for a worker: the question is refused, and says what to do.
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
($rc, $out, $err) = $node->psql('one', q{
	SET ward.sync_timeout = '1500ms';
	SELECT _ward.record_event('test.later');
	SELECT ward.sync();});
like($err, qr/is behind.*raise max_worker_processes/s, 'sync() without a worker says what to raise');

$node->stop;
done_testing();
