# What somebody does to a trail, who knows its format and owns the host, is named by
# ward.verify_trail() and by tools/ward-verify, with its place. The same words are
# expected of both: they share no code.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tool = "$ENV{WARD_ROOT}/tools/ward-verify";
my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('attacks');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
autovacuum = off
ward.checkpoint_interval = 1
ward.checkpoint_command = 'cat > $dir/newest; cp $dir/newest $dir/checkpoint.\$\$'
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_ward');
my $trail = $node->data_dir . '/ward_trail';
my $secret = $node->data_dir . '/pgsql_tmp_ward_signing';

sub append { $node->safe_psql('postgres', "SELECT count(_ward.record_event('test.mark', '{n}', ARRAY[i::text])) FROM generate_series(1, 50) i"); return; }
sub signed
{
	my ($records) = @_;
	$node->poll_query_until('postgres', "SELECT signed_records >= $records FROM ward.trail_status") or die;
	return;
}
append();
signed(50);
my $first_key = $node->safe_psql('postgres', 'SELECT first_key FROM ward.trail_status');
like($first_key, qr{^pg_ward/trail/[0-9a-f]{32}\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{44}$}, 'there is a key to be pinned');
$node->restart;    # a new epoch
append();
signed(105);
$node->poll_query_until('postgres', 'SELECT anchored_records >= 105 FROM ward.trail_status') or die;
$node->stop;

my $list = sub { return run_command([ 'python3', "$ENV{WARD_ROOT}/test/tap/lib/trail_forge.py", $trail, 'list' ]); };
my ($listed) = $list->();
my @checkpoints = map { /^(\d+) 7/ ? $1 : () } split /\n/, $listed;
my ($handover) = $listed =~ /^(\d+) 7 \('start', 'next'\)/m;
cmp_ok(scalar(@checkpoints), '>=', 4, 'there are checkpoints');
ok($handover, 'and one that hands over to a new key');
# Later starts go on writing checkpoints.
system_or_bail('cp', "$dir/newest", "$dir/anchor");
like($listed, qr/7 \('shutdown'/, 'the last is the shutdown\'s');

# All that makes the server's state.
system_or_bail('cp', '-a', $trail, "$dir/trail");
system_or_bail('cp', '-a', $secret, "$dir/secret");
sub restore
{
	system_or_bail('rm', '-rf', $trail);
	system_or_bail('cp', '-a', "$dir/trail", $trail);
	system_or_bail('cp', '-a', "$dir/secret", $secret);
	return;
}

sub forge
{
	system_or_bail('python3', "$ENV{WARD_ROOT}/test/tap/lib/trail_forge.py", $trail, @_);
	return;
}

# What both say, with the key pinned and perhaps a checkpoint from elsewhere.
sub verdicts
{
	my ($anchored) = @_;
	my ($out, $err) = run_command([ $tool, '--key', $first_key, ($anchored ? ('--checkpoint', "$dir/anchor") : ()), $trail ]);
	# Not by pg_read_file: reading files is recorded, and refused while the trail is damaged.
	my $anchors = $anchored ? "ARRAY[\$anchor\$" . slurp_file("$dir/anchor") . "\$anchor\$]" : "'{}'";
	my $sql = $node->safe_psql('postgres',
		"SELECT concat_ws(E'\\n', 'verified ' || verified, problem, place, array_to_string(notices, E'\\n')) FROM ward.verify_trail(ARRAY['$first_key'], $anchors)");
	return ($out, $sql);
}

sub both
{
	my ($name, $anchored, $what, $where) = @_;
	my ($out, $err) = run_command([ $tool, '--key', $first_key, ($anchored ? ('--checkpoint', "$dir/anchor") : ()), $trail ]);
	like($out, qr/PROBLEM: .*$what/, "$name: ward-verify says what");
	like($out, $where, "$name: ward-verify says where") if $where;
	$node->start;
	($out, my $sql) = verdicts($anchored);
	like($sql, qr/^verified false\n.*$what/, "$name: verify_trail says what");
	like($sql, $where, "$name: verify_trail says where") if $where;
	return;
}

# --- nothing was done
{
	my ($out) = run_command([ $tool, '--key', $first_key, '--checkpoint', "$dir/anchor", '--checkpoint', $node->logfile, '--strict', $trail ]);
	# With a checkpoint due each second a loaded machine is late at times, and told so.
	my $late = $out =~ s/^NOTICE: no checkpoint for .*\n//mg;
	unlike($out, qr/PROBLEM|NOTICE/, 'ward-verify finds nothing wrong with an untouched trail');
	like($out, qr/checkpoints; the first \d+ records are signed\nroot [0-9a-f]{64}\nfirst key \Q$first_key\E$/m, 'and says how much of it is signed');
	is(system("$tool --strict --key '$first_key' $trail >/dev/null") >> 8, $late ? 3 : 0, 'with exit status 0');
	$node->start;
	my (undef, $sql) = verdicts(1);
	$sql =~ s/^no checkpoint for .*\n?//mg;
	is($sql =~ s/\n*$//r, 'verified true', 'nor does verify_trail');
	(my $other = $first_key) =~ s/\+[0-9a-f]{8}\+.*//;
	my $bad = $node->psql('postgres', "SELECT * FROM ward.verify_trail(ARRAY['$other'])", stderr => \my $said);
	like($said, qr/this is not a key of a trail/, 'what is no key is refused');
	$node->stop;
}

# --- single records, by somebody who makes checksums and headers good
my $in = $checkpoints[2] - 3;
my $after = qr/\.trail, byte \d+, position \d+/;
for my $attack (
	[ 'a record changed', 'change', $in, qr/a record from \d+ to \d+ was changed: they are not those that were signed/ ],
	[ 'a record removed', 'remove', $in, qr/1 records were removed, from position \d+ on/ ],
	[ 'a record inserted', 'insert', $in, qr/1 records were inserted, from position \d+ on/ ],
	[ 'records reordered', 'reorder', $in, qr/records were reordered, the first of them at position $in/ ])
{
	my ($name, @how) = @$attack;
	restore();
	forge(@how[ 0, 1 ]);
	both($name, 0, $how[2], $after);
	$node->stop;
}

# --- what the server itself refuses to go on with
restore();
forge('change', $checkpoints[-1] - 1);
$node->start;
my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT _ward.record_event('test.mark')");
like($err, qr/WD303: .*what stands before it is not what this server signed/s, 'the server does not go on behind a record that was changed');
$node->stop;
restore();
forge('cut', $checkpoints[-2]);
$node->start;
($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT _ward.record_event('test.mark')");
like($err, qr/WD303: .*it ends before what this server has signed/s, 'nor behind an end that was cut off');
$node->stop;

# --- the tail cut, also where the server's memory of it is taken away
restore();
forge('cut', $checkpoints[-2]);
unlink $secret;
both('the tail cut', 1, qr/the trail was cut off: a checkpoint that was kept elsewhere has \d+ records|history was written anew|the chain of keys is broken/);
$node->stop;
restore();
forge('cut', $checkpoints[-2]);
($out) = run_command([ $tool, '--key', $first_key, '--checkpoint', "$dir/anchor", $trail ]);
like($out, qr/PROBLEM: the trail was cut off: a checkpoint that was kept elsewhere has \d+ records/, 'the tail cut: ward-verify says what, by the checkpoint');
($out) = run_command([ $tool, '--key', $first_key, $trail ]);
unlike($out, qr/PROBLEM/, 'which nobody can tell without one');
$node->start;
(undef, my $sql) = verdicts(1);
like($sql, qr/^verified false\n.*it ends before what this server has signed/, 'the tail cut: verify_trail says so by the server\'s own note');
$node->stop;

# --- a signing key that is gone: told, and a chain that is not pinned
restore();
unlink $secret;
$node->start;
like($_, qr/the chain of keys is broken: a key begins that none before announced and that is not pinned\n.*$after/, 'a lost key is told') for verdicts(0);
my $key = $node->safe_psql('postgres', 'SELECT key FROM ward.trail_status');
is($node->safe_psql('postgres', "SELECT verified FROM ward.verify_trail(ARRAY['$first_key', '$key'])"), 't', 'pinned as well, it is taken');
like(slurp_file((sort glob("$trail/*.trail"))[-1]), qr/trail\.key_lost/, 'and the trail says that a key was lost');
$node->stop;

# --- history rewritten, and signed anew with the present key
restore();
forge('resign', $handover - 5, $secret);
both('rewritten with the present key', 0, qr/a checkpoint is not signed by the key of its epoch 1: history was written anew by somebody who has not that key/, $after);
$node->stop;
# Since the present key signs, only what was kept elsewhere tells.
restore();
forge('resign', $handover + 5, $secret);
($out) = run_command([ $tool, '--key', $first_key, $trail ]);
unlike($out, qr/PROBLEM/, 'rewritten since the present key signs: nothing in the trail tells');
both('rewritten since the present key signs', 1, qr/the first \d+ records are not those of the checkpoint that was kept elsewhere: history was written anew|is not what this server signed/, undef);
$node->stop;

# --- a segment of another node's trail
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nward.trail_segment_size = '64kB'\n");
$other->start;
$other->safe_psql('postgres', 'CREATE EXTENSION pg_ward');
$other->safe_psql('postgres', "SELECT count(_ward.record_event('test.mark')) FROM generate_series(1, 3000)");
$other->stop;
my @foreign = sort glob($other->data_dir . '/ward_trail/*.trail');
restore();
system_or_bail('cp', $foreign[0], (sort glob("$trail/*.trail"))[0]);
($out) = run_command([ $tool, '--key', $first_key, $trail ]);
like($out, qr/PROBLEM: the first key is not the pinned one/, "another node's trail: ward-verify");
restore();
system_or_bail('cp', $foreign[1], $trail);
both("a segment of another node", 0, qr/this segment belongs to another node's trail/, qr/byte 16, position \d+|\.trail/);
$node->stop;

# --- clocks, and a heartbeat that does not come
restore();
my $clock = "$dir/clock.so";
system_or_bail('gcc', '-shared', '-fPIC', '-o', $clock, "$ENV{WARD_ROOT}/test/tap/lib/clock_shift.c", '-ldl');
sub shift_clock { append_to_file("$dir/shift.new", "$_[0]\n"); rename("$dir/shift.new", "$dir/shift") or die; return; }
shift_clock(0);
{
	local $ENV{LD_PRELOAD} = $clock;
	local $ENV{CLOCK_SHIFT} = "$dir/shift";
	$node->start;
}
append();
my $records = $node->safe_psql('postgres', 'SELECT records FROM ward.trail_status');
shift_clock(-7200);
append();
signed($records + 50);
my ($tool_says, $sql_says) = verdicts(0);
like($_, qr/the clock was set back by 7[12]\d\d seconds at position \d+, to \d{4}-/, 'a clock set back is told') for $tool_says, $sql_says;
like($sql_says, qr/^verified true/, 'and is no damage');
is(() = $tool_says =~ /NOTICE.*clock/g, 1, 'it is told once');
my $signer = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_ward trail signer'});
$signer = (map { /^\s*(\d+)/ ? $1 : () } grep { /pg_ward trail signer/ } `ps -o pid,args --ppid @{[ (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0] ]}`)[0] unless $signer;
$records = $node->safe_psql('postgres', 'SELECT records FROM ward.trail_status');
kill 'STOP', $signer;
sleep 9;
append();
($tool_says, $sql_says) = verdicts(0);
like($sql_says, qr/no checkpoint for ([89]|\d\d+) seconds before position \d+, where one was due each 1: the server or its signer was stopped/,
	'a heartbeat that is missing now is told');
kill 'CONT', $signer;
signed($records + 1);
($tool_says, $sql_says) = verdicts(0);
like($_, qr/no checkpoint for ([89]|\d\d+) seconds before position \d+, where one was due each 1/, 'and one that was missing is told ever after')
  for $tool_says, $sql_says;
is(system("$tool --strict --key '$first_key' $trail >/dev/null") >> 8, 3, 'which --strict makes an exit status of');
$node->stop;

done_testing();
