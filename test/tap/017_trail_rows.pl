# Evidence first (I2): whatever row a client was shown is in the trail, although the
# server died a moment later: a backend, the postmaster, all at once. With durability
# fsync the trail is then put back to what had been flushed, as a power failure would.
#
# WARD_CRASH_ROUNDS=300 for a long run.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{WARD_CRASH_ROUNDS} // 6;
my $seed = $ENV{WARD_CRASH_SEED} // time;
note("WARD_CRASH_SEED=$seed");
srand($seed);
my $dir = PostgreSQL::Test::Utils::tempdir();
my $layer = "$dir/file_layer.so";
my $kept = "$dir/kept";
mkdir $kept or die;
system_or_bail('gcc', '-shared', '-fPIC', '-o', $layer, "$ENV{WARD_ROOT}/test/tap/lib/file_layer.c", '-ldl');

my $node = PostgreSQL::Test::Cluster->new('rows');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
autovacuum = off
fsync = on
synchronous_commit = off
restart_after_crash = on
max_worker_processes = 16
ward.trail_segment_size = '64kB'
ward.checkpoint_interval = 1
ward.epoch_interval = 2
parallel_setup_cost = 0
parallel_tuple_cost = 0
min_parallel_table_scan_size = 0
});
my $trail = $node->data_dir . '/ward_trail';

sub start
{
	local $ENV{LD_PRELOAD} = $layer;
	local $ENV{FILE_LAYER_KEEP} = $kept;
	# Children of a killed postmaster may still hold its shared memory.
	for (1 .. 240)
	{
		my $started = system('pg_ctl', '-s', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', '--cluster-name=rows', 'start') == 0;
		if ($started) { $node->_update_pid(1); return; }
		select(undef, undef, undef, 0.25);
	}
	die 'the server does not start';
}

# The postmaster and all its children.
sub processes
{
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	return ($postmaster, split ' ', `ps -o pid= --ppid $postmaster`);
}
start();
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'name' || i FROM generate_series(1, 20000) i;
	ANALYZE person;
	SELECT ward.watch('person', 'id');});
like($node->safe_psql('postgres', q{EXPLAIN SELECT id, name FROM person WHERE name LIKE '%77'}), qr/Gather/, 'some read in parallel');

my %blow = (
	'a backend' => sub {
		my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'row%' ORDER BY random() LIMIT 1});
		kill 'KILL', $pid if $pid;
	},
	'the signer or another process' => sub {
		my (undef, @pids) = processes();
		kill 'KILL', $pids[ rand @pids ];
	},
	'the postmaster' => sub { $node->kill9; },
	'all at once' => sub { $node->stop('immediate'); });
my ($lost, $shown, $dead, $broken) = (0, 0, 0, '');
my %counts;
for my $round (1 .. $rounds)
{
	my $fsync = $round % 2;
	my @ways = sort keys %blow;
	# Only where all processes are gone can files be put back to what was flushed.
	my $way = $fsync ? (grep { /postmaster|all/ } @ways)[ rand 2 ] : $ways[ rand @ways ];
	$node->append_conf('postgresql.conf', 'ward.durability = ' . ($fsync ? 'fsync' : 'write'));
	$node->reload;
	$node->poll_query_until('postgres', q{SELECT setting = '} . ($fsync ? 'fsync' : 'write') . q{' FROM pg_settings WHERE name = 'ward.durability'}) or die;
	my (@clients, @outputs);
	for my $n (1 .. 3)
	{
		my $output = "$dir/out$n";
		push @outputs, $output;
		push @clients, IPC::Run::start([ 'python3', "$ENV{WARD_ROOT}/test/tap/lib/row_client.py", $node->host . '/.s.PGSQL.' . $node->port,
			"row$round.$n", 20, int(rand(1e9)) ], '>', $output, '2>', "$output.err");
	}
	select(undef, undef, undef, 0.3 + rand 0.7);
	my @processes = processes();
	$blow{$way}->();
	$_->finish for @clients;
	if ($fsync)
	{
		# Whoever is left of them may still write.
		for (1 .. 600) { last if !grep { -e "/proc/$_" } @processes; select(undef, undef, undef, 0.1); }
		for my $file (glob("$trail/*.trail"))
		{
			my ($name) = $file =~ m{([^/]+)$};
			if (-e "$kept/$name") { system_or_bail('cp', "$kept/$name", $file); }
			else { unlink $file; }
		}
	}
	if ($way =~ /postmaster|all/) { start(); }
	else { sleep 1; $node->poll_query_until('postgres', 'SELECT 1', '1') or die; }

	my $sql = 'CREATE TEMP TABLE shown (client text, id bigint);' . "\nCOPY shown FROM STDIN;\n";
	for my $n (1 .. 3)
	{
		my @ids = grep { /^\d+$/ } split /\n/, slurp_file($outputs[ $n - 1 ]);
		diag(slurp_file("$outputs[$n - 1].err")) if -s "$outputs[$n - 1].err";
		$shown += @ids;
		$sql .= "row$round.$n\t$_\n" for @ids;
	}
	$sql .= "\\.\nDO \$\$BEGIN PERFORM ward.sync(); END\$\$;\n" . q{
		SELECT 'lost ' || count(*) FROM shown s WHERE NOT EXISTS (
			SELECT FROM ward.disclosures d WHERE d.application = s.client
			   AND (d.subject_set IS NULL OR _ward.subject_set_contains(d.subject_set, s.id)));
		} . ($round % 10 && $round < $rounds ? q{SELECT 'verified true'} : q{SELECT 'verified ' || verified || coalesce(problem, '') FROM ward.verify_trail()}) . ';';
	my $out = $node->safe_psql('postgres', $sql);
	$counts{ ($fsync ? 'fsync, ' : 'write, ') . $way }++;
	my ($n) = $out =~ /lost (\d+)/;
	$lost += $n;
	note("round $round, $way, " . ($fsync ? 'fsync' : 'write') . ": $shown rows shown so far, $n lost");
	$broken .= "round $round ($way): $out\n" if $n or $out !~ /verified true$/;
	last if $broken;
}
note(join '; ', map { "$_: $counts{$_}" } sort keys %counts);
cmp_ok($shown, '>', 100 * $rounds, "rows were shown ($shown)");
is($lost, 0, "none of them is missing in the trail, over $rounds crashes");
is($broken, '', 'and the trail verifies');
$node->stop;

done_testing();
