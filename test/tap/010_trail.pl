# The evidence survives whatever happens to the server, and what it can't survive it
# tells.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WardDamage;

my $node = PostgreSQL::Test::Cluster->new('trail');
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
my $written = 0;

sub append
{
	my ($n, $more) = @_;
	$node->safe_psql('postgres', ($more // '')
		. "SELECT _ward.record_event('test.mark', '{n}', ARRAY[i::text]) FROM generate_series($written + 1, $written + $n) i");
	$written += $n;
}

sub marks
{
	return $node->safe_psql('postgres', q{
		SELECT ward.sync();
		SELECT count(DISTINCT detail ->> 'n') || ' of ' || max((detail ->> 'n')::int) FROM ward.events WHERE kind = 'test.mark'
	}) =~ s/^\d*\n//r;
}

sub verified
{
	return $node->safe_psql('postgres', q{SELECT verified || coalesce(': ' || problem, '') FROM ward.verify_trail()});
}

append(3000);
is(verified(), 'true', 'a trail of several segments verifies');
cmp_ok($node->safe_psql('postgres', 'SELECT segments FROM ward.trail_status'), '>', 1, 'there are several');

# Nothing erases it: rollback, savepoint, error.
$node->safe_psql('postgres', "BEGIN; SELECT _ward.record_event('test.mark', '{n}', '{3001}'); ROLLBACK");
$node->psql('postgres', "SELECT _ward.record_event('test.mark', '{n}', '{3002}'), 1 / (relnatts * 0) FROM pg_class");
$written = 3002;
is(marks(), '3002 of 3002', 'what was rolled back is in the trail');

# Immediate shutdown, then the death of a backend, then of the postmaster.
$node->stop('immediate');
$node->start;
append(500);
is(marks(), '3502 of 3502', 'nothing is lost by an immediate shutdown');

my $victim = $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE backend_type = \'checkpointer\'');
kill 'KILL', $victim;
$node->poll_query_until('postgres', 'SELECT true') or die;
append(500);
is(marks(), '4002 of 4002', 'nor by the death of a process');
is(verified(), 'true', 'and the trail verifies');

append(100);
$node->kill9;
# Its children notice by themselves; until they are gone a start is refused.
my $started;
for (1 .. 60)
{
	$started = system('pg_ctl', '-s', '-w', '-D', $node->data_dir, '-l', $node->logfile,
		'-o', '--cluster-name=trail', 'start') == 0;
	last if $started;
	sleep 1;
}
ok($started, 'the server starts again');
$node->_update_pid(1);
is(marks(), '4102 of 4102', 'nor by kill -9 of the postmaster');
is(verified(), 'true', 'and the trail still verifies');

# A write that a crash cut short is set aside, never deleted, and told.
sub last_segment { return (sort glob("$trail/*.trail"))[-1] }
$node->stop('immediate');
open(my $tail, '>>', last_segment()) or die;
binmode $tail;
print $tail pack('V', 500) . 'half a record';
close $tail;
$node->start;
append(10);
is(verified(), 'true', 'an unfinished record does not stop the trail');
is(scalar(glob("$trail/*.torn")) ? 1 : 0, 1, 'its bytes are set aside');
is($node->safe_psql('postgres', q{
	SELECT ward.sync();
	SELECT detail ->> 'unfinished_bytes' FROM ward.events WHERE kind = 'trail.recovered'}) =~ s/^\d*\n//r,
	'17', 'and the trail says so');

# Under a running server: out of reach, shortened, and back.
my ($status, $out, $err);
my $segment = last_segment();
my $size = -s $segment;
system_or_bail('cp', $segment, "$segment.kept");
truncate($segment, $size - 5);
($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT _ward.record_event('test.mark')");
like($err, qr/WD303: +the trail is damaged/, 'a segment that was cut is noticed at the next record');
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'other work goes on');
like(verified(), qr/^false: /, 'verification says what is wrong');
system_or_bail('sh', '-c', "cat '$segment.kept' > '$segment'; rm '$segment.kept'");
append(10);
is(verified(), 'true', 'it resumes by itself once the bytes are back');

rename($trail, "$trail.away") or die;
mkdir $trail, 0500;
($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT _ward.record_event('test.mark', '{n}', ARRAY[i::text]) FROM generate_series(1, 2000) i");
like($err, qr/WD30[12]: /, 'a directory out of reach is an error');
rmdir $trail;
rename("$trail.away", $trail) or die;
append(10);
is(verified(), 'true', 'and it resumes when the directory is back');

# A flipped byte in the middle is found and placed, now and after a restart.
my $first = (sort glob("$trail/*.trail"))[0];
flip($first, 2000);
like($node->safe_psql('postgres', 'SELECT verified, problem, place FROM ward.verify_trail()'),
	qr/^f\|.*checksum\|.*0000000000000000\.trail, byte \d+, position \d+$/, 'a flipped byte is named with its place');
flip($first, 2000);
is(verified(), 'true', 'the byte put back, it verifies');

# Damage in the last segment, not at its end: recovery refuses to go on.
append(50);
$node->stop;
$first = last_segment();
my $length = -s $first;
SKIP:
{
	skip 'the last segment is too short to damage', 1 if $length < 4000;
	flip($first, 2000);
	$node->start;
	($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT _ward.record_event('test.mark')");
	like($err, qr/WD303/, 'recovery does not build on a damaged segment');
	flip($first, 2000);
	append(1);
}

done_testing();
