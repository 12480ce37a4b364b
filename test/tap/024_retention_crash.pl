# A prune that is killed at any of its steps leaves a trail that verifies, whose index can
# be made anew, and that the next attempt finishes.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tool = "$ENV{WARD_ROOT}/tools/ward-verify";
my $dir = PostgreSQL::Test::Utils::tempdir();
my $layer = "$dir/file_layer.so";
system_or_bail('gcc', '-shared', '-fPIC', '-o', $layer, "$ENV{WARD_ROOT}/test/tap/lib/file_layer.c", '-ldl');

my $node = PostgreSQL::Test::Cluster->new('prune');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
autovacuum = off
fsync = on
restart_after_crash = off
max_worker_processes = 16
shared_buffers = 1MB
ward.checkpoint_interval = 1
ward.trail_segment_size = '64kB'
});
my $trail = $node->data_dir . '/ward_trail';

sub start
{
	local $ENV{LD_PRELOAD} = $layer;
	local $ENV{FILE_LAYER_KILL} = "$dir/wish";
	$node->start;
	return;
}
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub retention
{
	$node->append_conf('postgresql.conf', "ward.retention = '$_[0]'\n");
	$node->reload if -e $node->data_dir . '/postmaster.pid';
	return;
}
sub begins { return sql('SELECT begins FROM ward.retention_status'); }
sub first { return hex(((sort glob("$trail/*.trail"))[0] =~ /([0-9a-f]{16})\.trail$/)[0]); }
# The server stops as one of its processes is killed.
sub gone
{
	for (1 .. 600)
	{
		if (!-e $node->data_dir . '/postmaster.pid') { $node->_update_pid(0); return 1; }
		select(undef, undef, undef, 0.1);
	}
	return 0;
}

start();
sql(q{
	CREATE EXTENSION pg_ward;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'secret' || i FROM generate_series(1, 100) i;
	SELECT ward.watch('person', 'id');});
$node->poll_query_until('postgres', 'SELECT first_key IS NOT NULL FROM ward.trail_status') or die;
my $first_key = sql('SELECT first_key FROM ward.trail_status');
my $read = 0;

# Evidence for three segments, of which the first two are old a moment later.
sub fill
{
	$read++;
	sql("SELECT name FROM person WHERE id = $read");
	sql(q{SELECT count(_ward.record_event('test.fat', '{x}', ARRAY[repeat('x', 1000)])) FROM generate_series(1, 180)});
	return;
}

sub whole
{
	my ($name) = @_;
	my ($said) = run_command([ $tool, '--key', $first_key, $trail ]);
	unlike($said, qr/PROBLEM/, "$name: the files verify");
	return;
}

# After a crash: what is there is whole, the server starts, and goes on.
sub recovers
{
	my ($name, $before) = @_;
	whole($name);
	retention('10d');
	start();
	is(sql("SELECT verified, problem FROM ward.verify_trail(ARRAY['$first_key'])"), 't|', "$name: the server verifies it");
	sql('SELECT ward.rebuild_index()');
	is(sql(q{DO $$BEGIN PERFORM ward.sync(); END$$; SELECT count(*) FROM ward.events WHERE kind = 'watch.added'}), '1', "$name: its index is made anew");
	is(sql('SELECT name FROM person WHERE id = 99'), 'secret99', "$name: evidence is written");
	retention('2s');
	$node->poll_query_until('postgres', "SELECT begins > $before FROM ward.retention_status") or die 'nothing is pruned';
	# A removal that was begun counts at once; what is left of it goes the next time that it looks.
	for (1 .. 300)
	{
		last if (() = glob("$trail/*.carry*")) == 1 && first() == begins();
		select(undef, undef, undef, 0.1);
	}
	retention('10d');
	$node->poll_query_until('postgres', q{SELECT retention = '10 days' AND NOT running FROM ward.retention_status}) or die;
	is(first(), begins(), "$name: the next attempt removes what the cut allows");
	is(join(',', map { s/.*\///r } glob("$trail/*.carry*")), sprintf('%016x.carry', begins()), "$name: one file is left of what was carried over");
	is(sql("SELECT verified, problem FROM ward.verify_trail(ARRAY['$first_key'])"), 't|', "$name: the rest verifies");
	return;
}

# The file of what is carried over: written, flushed, put in place; each segment that is
# removed, and the file of the prune before.
my @steps = (
	(map { (".carry $_ before", ".carry $_ after") } 1 .. 3),
	(map { ("unlink:ward_trail/ $_ before", "unlink:ward_trail/ $_ after") } 1 .. 3));
for my $step (@steps)
{
	fill();
	my $before = begins();
	sleep 3;
	append_to_file("$dir/wish", "$step\n");
	retention('2s');
	ok(gone(), "killed at $step");
	ok(!-e "$dir/wish", "$step: the wish was met");
	recovers($step, $before);
}

# Told, but not signed: nothing may be gone.
{
	fill();
	my $before = begins();
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my ($signer) = map { /^\s*(\d+)/ ? $1 : () } grep { /pg_ward trail signer/ } `ps -o pid,args --ppid $postmaster`;
	sleep 3;
	kill 'STOP', $signer;
	retention('2s');
	for (1 .. 300)
	{
		last if (() = glob("$trail/*.carry")) == 2;
		select(undef, undef, undef, 0.1);
	}
	is(scalar(() = glob("$trail/*.carry")), 2, 'without a signature: it was written what is carried over');
	sleep 2;
	is(first(), $before, 'without a signature: nothing is removed');
	$node->stop('immediate');
	kill 'CONT', $signer;
	recovers('without a signature', $before);
}
# A hold that is put after a crash keeps what was not yet removed.
{
	fill();
	my $before = begins();
	sleep 3;
	append_to_file("$dir/wish", "unlink:ward_trail/ 2 before\n");
	retention('2s');
	ok(gone(), 'killed when the first segment was removed');
	retention('10d');
	start();
	sql(q{INSERT INTO _ward.evidence_hold (holder, since, until, reason) VALUES ('test', '-infinity', 'infinity', 'test')});
	my $left = first();
	cmp_ok($left, '<', begins(), 'there is more to remove');
	retention('2s');
	$node->poll_query_until('postgres', q{SELECT held_back LIKE 'a legal hold%' FROM ward.retention_status}) or die;
	is(first(), $left, 'a hold that was put since keeps it');
	whole('held');
	sql('DELETE FROM _ward.evidence_hold');
	$node->poll_query_until('postgres', q{SELECT held_back IS NULL AND NOT running FROM ward.retention_status}) or die;
	retention('10d');
	$node->poll_query_until('postgres', q{SELECT retention = '10 days' AND NOT running FROM ward.retention_status}) or die;
	is(first(), begins(), 'without it the rest goes');
	whole('let go');
}
# Whoever puts a hold while segments are removed waits; and the removal is not let by
# somebody who has not yet committed one.
{
	my ($in, $out) = ('', '');
	fill();
	my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out);
	$in .= "BEGIN; INSERT INTO _ward.evidence_hold (holder, since, until, reason) VALUES ('late', '-infinity', 'infinity', 'test'); SELECT 'put';\n";
	$session->pump until $out =~ /put/;
	sleep 3;
	my $before = begins();
	retention('2s');
	sleep 3;
	is(begins(), $before, 'a hold that is being put is waited for');
	$in .= "COMMIT; SELECT 'done';\n\\q\n";
	$session->finish;
	$node->poll_query_until('postgres', q{SELECT held_back LIKE 'a legal hold%' FROM ward.retention_status}) or die;
	is(begins(), $before, 'and counts');
}
$node->stop;

done_testing();
