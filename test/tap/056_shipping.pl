# A standby delivers its trail to the primary, which verifies, stores and indexes it: the
# scope there names who read on the standby. What can go wrong on the way is told on both
# sides, loses nothing, and stops no read.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WardShip;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $tool = "$ENV{WARD_ROOT}/tools/ward-verify";
my $primary = primary();
my $standby = standby('one', undef, unknown => 1, password => 'planted_secret');
$primary->wait_for_catchup($standby);

# Nobody registered it.
see($standby, 1, 2);
awaits($standby, q{SELECT problem LIKE '%is not registered here%' FROM ward.shipping_status}, 'an unknown standby is refused, and says so');
is(scope(), '', 'the primary knows of no reader');
is(query($primary, q{SELECT ward.sync() > 0; SELECT count(*) FROM ward.events WHERE kind = 'standby.refused'}), "t\n1", 'the refusal is an event, once');
like(query($primary, q{SELECT string_agg(explanation, '|') FROM ward.scope_basis(tstzrange(NULL, NULL)) WHERE ground = 'standbys' AND widens}),
	qr/more than standbys are registered/, 'and the basis warns of it');
like(fails($primary, q{SELECT ward.add_standby('one', 'nonsense')}), qr/22023: .*key of a trail/, 'it is registered by a key');
like(fails($primary, q{SELECT ward.add_standby('one', 'x')}, extra_params => [ '-U', 'reader' ]), qr/42501/, 'by officers');
my $key = key_of($standby);
my $name = node_of($standby);
is(query($primary, "SELECT ward.add_standby('one', '$key', 'test')"), $name, 'once it is');
delivered($standby, 'one', 'its trail is taken');
is(scope(), '1,2', 'and the scope on the primary names who was read on the standby');
like(query($primary, q{SELECT string_agg(DISTINCT role, ',') FROM ward.subject_history('person', 1)}), qr/reader/, 'and so does a person\'s history');
is(query($primary, "SELECT verified, problem, signed_records > 0 FROM ward.verify_standby('one')"), 't||t', 'the copy verifies');
my $copy = copy_of($name);
my ($out, $err) = run_command([ 'python3', $tool, '--key', $key, $copy ]);
like($out, qr/^node $name: \d+ records/, 'also without a server');
unlike("$out$err", qr/PROBLEM|first key .*not pinned/, 'by the key of the standby');

# Exactly once, also when the index is made again.
my $indexed = q{SELECT count(*), sum(records), sum(_ward.subject_set_count(subjects)) FROM _ward.disclosure};
see($standby, 3 .. 40) for 1 .. 3;
delivered($standby, 'one', 'more is taken');
is(scope(), join(',', 1 .. 40), 'and named');
my $before = query($primary, $indexed);
query($primary, 'SELECT ward.rebuild_index()');
query($primary, 'SELECT ward.sync()');
is(query($primary, $indexed), $before, 'the index is the same when it is made again');
like(query($primary, q{SELECT state || ' ' || explanation FROM ward.scope_basis(tstzrange(NULL, now() - interval '1 hour')) WHERE ground = 'standbys'}),
	qr/^holds standby one has delivered/, 'the basis says up to when the standby is known');

# The primary is gone, and comes back.
$primary->stop('immediate');
see($standby, 50);
awaits($standby, q{SELECT NOT connected AND problem IS NOT NULL AND bytes_behind > 0 AND behind > '0' FROM ward.shipping_status}, 'while the primary is down the standby reads on, and shows its backlog');
$primary->start;
delivered($standby, 'one', 'it delivers once the primary is back');
like(scope(), qr/,50$/, 'nothing is missing');
is(query($primary, "SELECT verified FROM ward.verify_standby('one')"), 't', 'the copy is whole');
awaits($standby, q{SELECT connected AND problem IS NULL FROM ward.shipping_status}, 'the backlog is gone');
delivered($standby, 'one', 'events too');
is(query($primary, q{SELECT ward.sync() > 0; SELECT count(DISTINCT kind) FROM _ward.event WHERE kind IN ('trail.shipping_failed', 'trail.shipping_resumed') AND node = '} . $name . q{'}), "t\n2", 'and its own trail tells of it');

# The link breaks while it delivers.
see($standby, 51 .. 60);
query($primary, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shipper'});
see($standby, 61 .. 70);
delivered($standby, 'one', 'a broken link is made again');

# What comes by the wire is not believed.
$standby->append_conf('postgresql.conf', "ward.trail_conninfo = ''");
$standby->reload;
awaits($standby, 'SELECT NOT connected AND NOT configured FROM ward.shipping_status', 'the standby delivers nothing');
awaits($primary, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'shipper'}, 'its session ended');
see($standby, 71);
my ($segment, $start) = split /\|/, query($primary, "SELECT segment, start FROM ward.deliver_trail('$name', 0, 0, '', 0, 0)");
my $bytes = do { local (@ARGV, $/) = sprintf '%s/ward_trail/%016x.trail', $standby->data_dir, $segment; binmode ARGV; <> };
$bytes = substr $bytes, $start;
cmp_ok(length $bytes, '>', 30, 'there is something to deliver');
my $length = unpack 'V', $bytes;
my $deliver = sub {
	my ($what, $role, $at) = @_;
	return fails($primary, sprintf("SELECT ward.deliver_trail('%s', %d, %d, '\\x%s', 0, 0)", $name, $segment, $at // $start, unpack('H*', $what)), extra_params => [ '-U', $role // 'shipper' ]);
};
my $flipped = $bytes;
substr($flipped, 20, 1) = chr(ord(substr $flipped, 20, 1) ^ 1);
like($deliver->($flipped), qr/WD303: .*refused\n.*fails its checksum/, 'a flipped byte is refused');
like($deliver->(substr $bytes, 0, 8 + $length - 3), qr/WD303: .*refused\n.*cut short/, 'and a record that is cut short');
is($deliver->($bytes, 'shipper', $start + 1), '', 'bytes at another place are not taken');
like($deliver->($bytes, 'reader'), qr/42501/, 'others than ward_shipper deliver nothing');
like($deliver->($bytes, 'shipper') . fails($primary, "SELECT ward.deliver_trail('" . ('0' x 32) . "', 0, 0, '', 0, 0)", extra_params => [ '-U', 'shipper' ]), qr/WD304: .*refused\n.*not registered/, 'nor does anybody for a node that is not registered');
is(query($primary, "SELECT ward.sync() > 0; SELECT count(*) > 1 FROM ward.events WHERE kind = 'standby.refused' AND detail ->> 'node' = '$name'"), "t\nt", 'refusals are events');
# A record with a good checksum that nobody signed: it is stored, but not shown, and cut
# off when the next checkpoint does not vouch for it.
($segment, $start) = split /\|/, query($primary, "SELECT segment, start FROM ward.deliver_trail('$name', 0, 0, '', 0, 0)");
my $forged = "python3 - <<'EOF'\nimport importlib.machinery as m, importlib.util as u, os, sys, struct\nsys.dont_write_bytecode = True\nl = m.SourceFileLoader('w', '$tool')\ns = u.spec_from_loader('w', l)\nw = u.module_from_spec(s)\nl.exec_module(w)\nleaf = b'\\x05\\x01' + struct.pack('<qI', 1, 0) + b'\\x00\\x05evil\\x00'\nprint((struct.pack('<I', len(leaf)) + struct.pack('<I', w.crc32c(struct.pack('<I', len(leaf)) + leaf)) + leaf).hex())\nEOF\n";
my $leaf = `$forged`;
chomp $leaf;
is($deliver->(pack 'H*', $leaf), '', 'a forged record with a good checksum is stored');
is(query($primary, "SELECT ward.sync() > 0; SELECT count(*) FROM _ward.event WHERE kind = 'evil'"), "t\n0", 'but not shown before it is signed');
my $refused = query($primary, "SELECT received FROM ward.standby_status WHERE name = 'one'");
$standby->append_conf('postgresql.conf', "ward.trail_conninfo = 'user=shipper dbname=postgres password=planted_secret'\n");
$standby->reload;
delivered($standby, 'one', 'the standby goes on');
is(query($primary, "SELECT verified FROM ward.verify_standby('one')"), 't', 'and the forged record is gone');
is(query($primary, "SELECT ward.sync() > 0; SELECT count(*) FROM _ward.event WHERE kind = 'evil'"), "t\n0", 'from the copy and from the index');
like(scope(), qr/,70,71$/, 'where all that was read is');

$standby->stop;
$primary->stop;
for my $node ($primary, $standby)
{
	# The server itself logs a setting that a reload has changed.
	(my $log = slurp_file($node->logfile)) =~ s/.*LOG:  parameter "ward.trail_conninfo" changed to .*//g;
	unlike($log, qr/planted_secret/, 'no log of ' . $node->name . ' has the password');
}
done_testing();
