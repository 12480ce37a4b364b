# The signing key of the trail: replaced at each start and each epoch, destroyed on disk
# and in memory, not in a base backup; and whatever dies at whichever step, the chain of
# keys goes on and no old key is left.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $layer = "$dir/file_layer.so";
system_or_bail('gcc', '-shared', '-fPIC', '-o', $layer, "$ENV{WARD_ROOT}/test/tap/lib/file_layer.c", '-ldl');

my $node = PostgreSQL::Test::Cluster->new('epochs');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
autovacuum = off
fsync = on
shared_buffers = 1MB
restart_after_crash = on
ward.checkpoint_interval = 1
ward.epoch_interval = 3600
});
my $trail = $node->data_dir . '/ward_trail';
my $file = $node->data_dir . '/pgsql_tmp_ward_signing';

# The slots of the file that hold a key: epoch => seed.
sub keys_on_disk
{
	my $data = slurp_file($file);
	my %keys;
	for my $at (4096, 8192)
	{
		my $slot = length($data) > $at ? substr($data, $at, 64) : '';
		$keys{ unpack('Q<', substr($slot, 24, 8)) } = substr($slot, 32, 32) if $slot =~ /^WARDSEED/;
	}
	return %keys;
}

sub epoch { return $node->safe_psql('postgres', 'SELECT coalesce(epoch, 0) FROM ward.trail_status'); }
sub wait_epoch
{
	my ($epoch) = @_;
	$node->poll_query_until('postgres', "SELECT epoch >= $epoch FROM ward.trail_status") or die "no epoch $epoch";
	return;
}

sub start
{
	local $ENV{LD_PRELOAD} = $layer;
	local $ENV{FILE_LAYER_KILL} = "$dir/wish";
	$node->start;
	return;
}

$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_ward');
wait_epoch(1);
my $first_key = $node->safe_psql('postgres', 'SELECT first_key FROM ward.trail_status');
is(sprintf('%o', (stat $file)[2] & 07777), '600', "the key's file is the server's alone");
my %keys = keys_on_disk();
is(join(',', sort keys %keys), '1', 'it holds the key of the first epoch');
my $old = $keys{1};

# In memory of which processes?
sub in_memory
{
	my ($bytes) = @_;
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my @pids = ($postmaster, split ' ', `ps -o pid= --ppid $postmaster`);
	my $found = 0;
	for my $pid (@pids)
	{
		open(my $maps, '<', "/proc/$pid/maps") or next;
		open(my $memory, '<:raw', "/proc/$pid/mem") or next;
		while (my $line = <$maps>)
		{
			my ($from, $to) = $line =~ /^([0-9a-f]+)-([0-9a-f]+) rw/ or next;
			($from, $to) = (hex $from, hex $to);
			seek($memory, $from, 0) or next;
			my $got = read($memory, my $block, $to - $from) or next;
			$found++ if index($block, $bytes) >= 0;
		}
	}
	return $found;
}
SKIP:
{
	skip 'memory of other processes can\'t be read', 1 if in_memory('pg_ward trail signer') == 0;
	cmp_ok(in_memory($old), '>=', 1, 'the present key is in the memory of the signer');
}
$node->append_conf('postgresql.conf', 'ward.epoch_interval = 1');
$node->reload;
wait_epoch(4);
$node->append_conf('postgresql.conf', 'ward.epoch_interval = 3600');
$node->reload;
sleep 2;
my $epoch = epoch();
%keys = keys_on_disk();
is(join(',', sort keys %keys), $epoch, 'after some epochs the file holds the present key alone');
is(index(slurp_file($file), $old), -1, 'the first key is not in it');
is(in_memory($old), 0, 'nor in the memory of any of the server\'s processes');
is($node->safe_psql('postgres', "SELECT verified FROM ward.verify_trail(ARRAY['$first_key'])"), 't', 'the chain of keys is whole');

$node->backup('copy');
ok(!-e $node->backup_dir . '/copy/pgsql_tmp_ward_signing', 'a base backup has no signing key');
ok(-e $node->backup_dir . '/copy/ward_trail', 'but the trail');

# --- the file in other hands, or gone while the server runs
chmod 0640, $file;
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT signing_problem LIKE '%others than the server''s user may use the signing key''s file' FROM ward.trail_status}),
	'a file that others may use is refused, and shown');
is($node->safe_psql('postgres', q{SELECT 1 FROM ward.trail_status WHERE _ward.record_event('test.mark') > 0}), '1', 'the trail is written meanwhile');
chmod 0600, $file;
ok($node->poll_query_until('postgres', 'SELECT signing_problem IS NULL AND epoch IS NOT NULL FROM ward.trail_status'), 'and it resumes by itself');

# --- killed at each step
sub settled
{
	my ($name, $least) = @_;
	my $key = $node->safe_psql('postgres', 'SELECT 1');
	wait_epoch($least);
	# Until the old key is destroyed, too.
	my %left;
	for (1 .. 100)
	{
		%left = keys_on_disk();
		last if keys %left == 1;
		select(undef, undef, undef, 0.1);
	}
	is(join(',', sort keys %left), epoch(), "$name: one key is left, the present one");
	is($node->safe_psql('postgres', "SELECT verified, problem FROM ward.verify_trail(ARRAY['$first_key'])"), 't|', "$name: the chain of keys is whole");
	return;
}

# A start's hand-over writes, flushes (the new key), notes, writes, flushes (the old one).
for my $step (1 .. 5)
{
	for my $when ('before', 'after')
	{
		my $before = epoch();
		$node->stop;
		append_to_file("$dir/wish", "signing $step $when\n");
		start();
		for (1 .. 600) { last if !-e "$dir/wish"; select(undef, undef, undef, 0.1); }
		ok(!-e "$dir/wish", "killed $when step $step of the key's file");
		$node->poll_query_until('postgres', 'SELECT 1', '1') or die;
		settled("killed $when step $step", $before + 1);
	}
}
# The record itself: written, and flushed.
for my $step (1 .. 4)
{
	my $before = epoch();
	$node->stop;
	append_to_file("$dir/wish", '.trail ' . $step . ($step % 2 ? ' before' : ' after') . "\n");
	start();
	for (1 .. 600) { last if !-e "$dir/wish"; select(undef, undef, undef, 0.1); }
	ok(!-e "$dir/wish", "killed at step $step of the trail");
	$node->poll_query_until('postgres', 'SELECT 1', '1') or die;
	settled("killed at step $step of the trail", $before + 1);
}
# The first key of all.
for my $step (1 .. 5)
{
	$node->stop;
	system_or_bail('rm', '-rf', $trail, $file, $node->data_dir . '/ward_trail.node');
	append_to_file("$dir/wish", "signing $step before\n");
	start();
	for (1 .. 600) { last if !-e "$dir/wish"; select(undef, undef, undef, 0.1); }
	ok(!-e "$dir/wish", "the first key: killed before step $step");
	$node->poll_query_until('postgres', 'SELECT 1', '1') or die;
	wait_epoch(1);
	$node->poll_query_until('postgres', 'SELECT first_key IS NOT NULL FROM ward.trail_status') or die;
	$first_key = $node->safe_psql('postgres', 'SELECT first_key FROM ward.trail_status');
	settled("the first key: killed before step $step", 1);
}

# --- an anchor that fails, hangs, and works again
my $worked = $node->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name = 'ward.checkpoint_command'});
$node->append_conf('postgresql.conf', qq{ward.checkpoint_command = 'cat >/dev/null; exit 3'\n});
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT anchor_problem = 'it exited with status 3' FROM ward.trail_status}), 'a command that fails is shown');
$node->wait_for_log(qr/WARNING: +ward\.checkpoint_command failed/) and pass('and logged');
$node->append_conf('postgresql.conf', qq{ward.checkpoint_command = 'sleep 300'\n});
$node->reload;
sleep 3;
my $signed = $node->safe_psql('postgres', 'SELECT signed_records FROM ward.trail_status');
ok($node->poll_query_until('postgres', "SELECT signed_records > $signed FROM ward.trail_status"), 'one that hangs does not hold up checkpoints');
$node->append_conf('postgresql.conf', qq{ward.checkpoint_command = 'cat > $dir/kept'\n});
$node->stop;
$node->start;
ok($node->poll_query_until('postgres', q{SELECT anchor_problem IS NULL AND anchored_records IS NOT NULL FROM ward.trail_status}), 'and one that works is shown');
like(slurp_file("$dir/kept"), qr{^pg_ward/trail/[0-9a-f]{32}\n\d+\n.{44}\n(?:ward-key \d+ .{44}\n)?\n\xe2\x80\x94 pg_ward/trail/}, 'it got a signed note');
ok(`cat $trail/*.trail` =~ /trail\.anchor_failed/, 'the trail says that it failed');
$node->stop;

done_testing();
