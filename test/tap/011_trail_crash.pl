# The trail as evidence: what was acknowledged is there whatever dies, damage is
# named and refused, and work resumes by itself once a cause is gone.
use strict;
use warnings;
use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('trail_crash');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
autovacuum = off
restart_after_crash = on
ward.trail_segment_size = '64kB'
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_ward');

my $trail = $node->data_dir . '/ward_trail';
my $work = $node->basedir;
my $next = 0;

sub segments
{
	my @files = sort glob("$trail/*.trail");
	return @files;
}

# Runs clients that record numbered events one statement at a time, kills what
# $blow says, and returns the numbers that a client saw acknowledged.
sub acknowledged
{
	my ($clients, $events, $blow) = @_;
	my (@harnesses, @outputs, %seen);
	for my $client (1 .. $clients)
	{
		my $script = "$work/client$client.sql";
		my $output = "$work/client$client.out";
		open(my $file, '>', $script) or die;
		for (1 .. $events)
		{
			$next++;
			print $file "SELECT $next FROM (SELECT _ward.record_event('test.mark', '{n}', '{$next}') OFFSET 0) x;\n";
		}
		close($file);
		push @outputs, $output;
		push @harnesses,
		  IPC::Run::start(['psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', $script],
			'>', $output, '2>', '/dev/null');
	}
	$blow->();
	$_->finish for @harnesses;
	for my $output (@outputs)
	{
		$seen{$_} = 1 for grep { /^\d+$/ } split(/\n/, slurp_file($output));
	}
	return sort { $a <=> $b } keys %seen;
}

# All acknowledged events are in the trail, each once, and the trail is whole.
sub holds
{
	my ($name, @numbers) = @_;
	cmp_ok(scalar(@numbers), '>', 0, "$name: some were acknowledged (" . scalar(@numbers) . ')');
	my %have = map { $_ => 1 } split(/\n/, $node->safe_psql('postgres', q{
		SET client_min_messages = error;
		DO $$BEGIN PERFORM ward.sync(); END$$;
		SELECT detail ->> 'n' FROM ward.events WHERE kind = 'test.mark'}));
	is(join(',', grep { !$have{$_} } @numbers), '', "$name: none of them is lost");
	whole($name);
	return;
}

sub whole
{
	my ($name) = @_;
	is($node->safe_psql('postgres', 'SELECT verified, problem, place FROM ward.verify_trail()'), 't||', "$name: the trail is whole");
	return;
}

sub recorded
{
	my ($kind) = @_;
	return $node->safe_psql('postgres', qq{
		DO \$\$BEGIN PERFORM ward.sync(); END\$\$;
		SELECT count(*) FROM ward.events WHERE kind = '$kind'});
}

sub record_fails
{
	my ($state, $like, $name) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT _ward.record_event('test.refused')");
	like($err, qr/ERROR:  $state: .*$like/s, $name);
	is($node->safe_psql('postgres', 'SELECT 1'), '1', "$name; other work goes on");
	return;
}

sub record_works
{
	my ($name) = @_;
	is($node->psql('postgres', "SELECT _ward.record_event('test.resumed')"), 0, $name);
	return;
}

# --- created as it should be
is(sprintf('%o', (stat $trail)[2] & 07777), '700', 'the directory is the server\'s alone');
is(join(',', map { sprintf('%o', (stat $_)[2] & 07777) } segments()), '600', 'and so is a segment');
is(recorded('trail.created'), '1', 'the trail says that it was created');
is(recorded('extension.created'), '1', 'and that the extension was');

# --- rollback keeps evidence
$node->safe_psql('postgres', q{
	BEGIN;
	SELECT _ward.record_event('test.rolled_back');
	SAVEPOINT a;
	SELECT _ward.record_event('test.rolled_back');
	ROLLBACK TO a;
	ROLLBACK;});
is(recorded('test.rolled_back'), '2', 'rollback keeps what was recorded');

# --- segments follow one another
$node->safe_psql('postgres', "SELECT count(_ward.record_event('test.fill', '{n}', ARRAY[i::text])) FROM generate_series(1, 6000) i");
cmp_ok(scalar(segments()), '>', 2, 'full segments are followed by new ones');
whole('several segments');
my $status = $node->safe_psql('postgres', q{
	SET ROLE ward_auditor;
	SELECT records > 6000, segments > 2, length(root), length(node), last_record <= now() FROM ward.trail_status});
is($status, 't|t|64|32|t', 'an auditor sees its state');
my $node_name = $node->safe_psql('postgres', 'SELECT node FROM ward.trail_status');
my $root = $node->safe_psql('postgres', 'SELECT root FROM ward.trail_status');
$node->stop;
like(slurp_file($node->data_dir . '/ward_trail.node'), qr/\A$node_name\n\d+\n\z/, 'the data directory knows its trail');
$node->start;
is($node->safe_psql('postgres', 'SELECT node FROM ward.trail_status'), $node_name, 'a restart goes on with the same trail');
is(recorded('trail.started'), '1', 'and says so');
isnt($node->safe_psql('postgres', 'SELECT root FROM ward.trail_status'), $root, 'which its root shows');

# --- whatever dies
holds('a killed backend', acknowledged(3, 20000, sub {
	select(undef, undef, undef, 0.4);
	my $pid = $node->safe_psql('postgres', "SELECT max(pid) FROM pg_stat_activity WHERE query LIKE '%test.mark%' AND pid <> pg_backend_pid()");
	kill 'KILL', $pid if $pid;
	sleep 1;
	$node->poll_query_until('postgres', 'SELECT 1', '1') or BAIL_OUT('the server did not come back');
}));
for my $round (1 .. 3)
{
	my @numbers = acknowledged(3, 20000, sub {
		select(undef, undef, undef, 0.4 + rand);
		$node->stop('immediate');
	});
	$node->start;
	holds("immediate shutdown $round", @numbers);
}
my @orphaned = acknowledged(3, 20000, sub {
	select(undef, undef, undef, 0.4);
	$node->kill9;
});
# Its children leave by themselves; a new server needs their shared memory gone.
sleep 2;
$node->start;
holds('a killed postmaster', @orphaned);
$node->safe_psql('postgres', "ALTER SYSTEM SET ward.durability = 'fsync'");
$node->safe_psql('postgres', 'ALTER SYSTEM SET fsync = on');
$node->reload;
my @synced = acknowledged(3, 5000, sub {
	sleep 1;
	$node->stop('immediate');
});
$node->start;
holds('durability fsync, immediate shutdown', @synced);
$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
$node->reload;

# --- a torn tail is set aside, and told
sub last_segment
{
	my @all = segments();
	return $all[-1];
}
sub damage
{
	my ($file, $do) = @_;
	open(my $handle, '+<:raw', $file) or die "$file: $!";
	local $/;
	my $bytes = <$handle>;
	$bytes = $do->($bytes);
	truncate($handle, 0);
	seek($handle, 0, 0);
	print $handle $bytes;
	close($handle);
	return;
}
my $records = $node->safe_psql('postgres', "SELECT _ward.record_event('test.last')") + 1;
$node->stop('immediate');
my $torn = last_segment();
damage($torn, sub { return substr($_[0], 0, -3) });
$node->start;
is(recorded('trail.recovered'), '1', 'a torn record is told');
my @aside = glob("$trail/*.torn");
is(scalar(@aside), 1, 'its bytes are kept aside');
like(slurp_file($aside[0]), qr/test\.la/, 'and are those of the torn record');
whole('after a torn tail');

# --- a damaged record in the middle, under a running server
$node->safe_psql('postgres', "SELECT count(_ward.record_event('test.fill')) FROM generate_series(1, 2000)");
my $victim = (segments())[1];
copy($victim, "$work/saved");
damage($victim, sub { my $b = shift; substr($b, length($b) / 2, 1) ^= "\x01"; return $b });
my $found = $node->safe_psql('postgres', 'SELECT verified, place FROM ward.verify_trail()');
like($found, qr/^f\|.*\Q@{[substr($victim, -22)]}\E, byte \d+, position \d+$/, 'a flipped bit is named with its place');
damage($victim, sub { return slurp_file("$work/saved") });
whole('with the bit flipped back');

# --- a record replaced by another with a good checksum: only the tree can tell
my $forged = last_segment();
copy($forged, "$work/saved");
damage($forged, sub {
	my $b = shift;
	my $length = unpack('V', substr($b, 12, 4));
	my $a = 8 + unpack('V', substr($b, $length, 4));
	my $c = 8 + unpack('V', substr($b, $length + $a, 4));
	# two whole frames change places
	substr($b, $length, $a + $c) = substr($b, $length + $a, $c) . substr($b, $length, $a);
	return $b;
});
is($node->safe_psql('postgres', 'SELECT verified, problem FROM ward.verify_trail()'),
	'f|a record is not the one that was written', 'two records that changed places are found');
damage($forged, sub { return slurp_file("$work/saved") });
whole('with the records put back');

# --- the same at start: refused, and the verifier says where
$node->stop;
my $broken = last_segment();
copy($broken, "$work/saved");
for my $how (
	['a flipped bit', sub { my ($b, $at) = @_; substr($b, $at + 12, 1) ^= "\x10"; return $b }],
	['a flipped bit in a length', sub { my ($b, $at) = @_; substr($b, $at + 2, 1) ^= "\x10"; return $b }])
{
	# The first frame, so that whole ones lie behind it.
	damage($broken, sub { my $b = shift; return $how->[1]->($b, unpack('V', substr($b, 12, 4))) });
	$node->start;
	record_fails('WD303', 'the trail is damaged', "$how->[0]: nothing is appended behind damage");
	like($node->safe_psql('postgres', 'SELECT verified, place FROM ward.verify_trail()'),
		qr/^f\|.*\Q@{[substr($broken, -22)]}\E, byte \d+, position \d+$/, "$how->[0]: the verifier names the place");
	my @cut = glob("$trail/*.torn");
	is(scalar(@cut), 1, "$how->[0]: nothing was cut off");
	damage($broken, sub { return slurp_file("$work/saved") });
	record_works("$how->[0]: with the file restored it resumes");
	$node->stop;
	copy($broken, "$work/saved");
}
$node->start;
whole('after repairs');

# --- shorter than what was written, under a running server
record_works('a record before');
copy(last_segment(), "$work/saved");
damage(last_segment(), sub { return substr($_[0], 0, -5) });
record_fails('WD303', 'shorter than what was written', 'a truncated segment is refused');
damage(last_segment(), sub { return slurp_file("$work/saved") });
record_works('with the file restored it resumes');

# --- cut, and as long as before again: a hole where records were
record_works('a record to lose');
record_works('and one behind it');
copy(last_segment(), "$work/saved");
damage(last_segment(), sub { return substr($_[0], 0, -250) . ("\0" x 250) });
record_fails('WD303', 'no longer there', 'a segment with a hole is refused');
damage(last_segment(), sub { return slurp_file("$work/saved") });
record_works('with the file restored it resumes');

# --- a directory that goes away
rename($trail, "$trail.away") or die;
record_fails('WD301', 'the trail is missing', 'a missing directory is refused');
rename("$trail.away", $trail) or die;
record_works('with the directory back it resumes');

$node->stop;
rename($trail, "$trail.away") or die;
$node->start;
record_fails('WD301', "no segment of this server's trail", 'a directory that is gone at start is no reason for an empty trail');
rename("$trail.away", $trail) or die;
record_works('with the directory back it resumes');

# --- another server's trail in its place
$node->stop;
my $marker = $node->data_dir . '/ward_trail.node';
copy($marker, "$work/marker");
damage($marker, sub { return ('0' x 32) . "\n" });
$node->start;
record_fails('WD303', "another server's trail", "another server's trail is refused");
copy("$work/marker", $marker);
record_works('with its own it resumes');

# --- no permission, as far as the user is not root
my $last = last_segment();
chmod 0400, $last;
record_fails('WD302', 'Permission denied', 'a segment that can\'t be written');
chmod 0600, $last;
record_works('with the permission back it resumes');

# --- full: the postmaster's children may not grow files past the limit
SKIP:
{
	my $pid = $node->safe_psql('postgres', 'SHOW data_directory') && (split(/\n/, slurp_file($node->data_dir . '/postmaster.pid')))[0];
	skip 'no prlimit', 5 if system("prlimit --pid $pid >/dev/null 2>&1") != 0;
	$node->safe_psql('postgres', "ALTER SYSTEM SET ward.trail_segment_size = '1GB'");
	$node->reload;
	my $before = $node->safe_psql('postgres', 'SELECT records FROM ward.trail_status');
	# WAL segments have 16 MB, so that this limit stops nothing else.
	system_or_bail('prlimit', '--pid', $pid, '--fsize=' . 17 * 1024 * 1024 . ':');
	my ($rc, $out, $err) = $node->psql('postgres', q{
		\set VERBOSITY verbose
		SELECT count(_ward.record_event('test.fat', '{x}', ARRAY[repeat('x', 100000)])) FROM generate_series(1, 200)});
	like($err, qr/WD302: could not write or read the trail.*could not write a record/s, 'a full disk is told');
	is($node->safe_psql('postgres', 'SELECT 1'), '1', 'a full disk: other work goes on');
	record_fails('WD302', '', 'it stays refused, but for records that fit')
	  if ($node->psql('postgres', "SELECT _ward.record_event('test.fat', '{x}', ARRAY[repeat('x', 100000)])"))[0] == 0;
	whole('a full disk');
	system_or_bail('prlimit', '--pid', $pid, '--fsize=unlimited:');
	is($node->psql('postgres', q{SELECT _ward.record_event('test.fat', '{x}', ARRAY[repeat('x', 100000)])}), 0, 'with room again it resumes');
	whole('with room again');
	$node->stop('immediate');
	$node->start;
	whole('with room again, after a crash');
}

# --- a crash while the next segment is begun
$node->stop;
$last = last_segment();
my $count = recount();
sub recount
{
	my $n = 0;
	my $b = slurp_file(last_segment());
	my $at = unpack('V', substr($b, 12, 4));
	while ($at < length($b)) { $at += 8 + unpack('V', substr($b, $at, 4)); $n++; }
	return $n;
}
my ($first) = $last =~ /([0-9a-f]{16})\.trail$/;
my $empty = sprintf('%s/%016x.trail', $trail, hex($first) + $count);
open(my $file, '>', $empty) or die;
print $file 'WARDTRL1';
close($file);
$node->start;
record_works('a segment whose header was never finished is begun anew');
is(-s $empty > 100, 1, 'under its name');
whole('a segment whose header was never finished');

$node->stop;
done_testing();
