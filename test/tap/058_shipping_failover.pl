# A standby of a standby delivers to the primary. A standby that is promoted indexes its own
# trail from where the primary had come, and takes those of others. The old primary, which
# had gone on by itself and is rewound, begins a trail of its own and delivers it.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WardShip;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $tool = "$ENV{WARD_ROOT}/tools/ward-verify";
my $primary = primary("wal_log_hints = on\nwal_keep_size = 128\n");
my $one = standby('one');
my $below = standby('below', $one);
see($one, 1);
see($below, 2);
delivered($below, 'below', 'a standby of a standby delivers to the primary');
delivered($one, 'one', 'as the one between does');
is(scope(), '1,2', 'both are named');
is(query($primary, q{SELECT string_agg(DISTINCT node, ' ') FROM ward.sessions WHERE role = 'reader'}), 'below one', 'each by its name');
$below->append_conf('postgresql.conf', sprintf("ward.trail_conninfo = 'user=shipper dbname=postgres host=%s port=%s'\n", $one->host, $one->port));
$below->reload;
awaits($below, q{SELECT problem LIKE '%takes no trail of another standby%' FROM ward.shipping_status}, 'a standby takes no trail of another, and says so');

# Promoted, it indexes its own trail from where the primary had come.
see($primary, 3);
is(scope(), '1,2,3', 'the primary knows all three');
$primary->wait_for_catchup($one);
my $node = node_of($one);
my $rows = query($primary, "SELECT count(*), sum(records) FROM _ward.disclosure WHERE node = '$node'");
$one->promote;
$one->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
query($one, 'SELECT ward.sync()');
is(query($one, "SELECT count(*), sum(records) FROM _ward.disclosure WHERE node = '$node'"), $rows, 'promoted, it folds what the primary had folded only once');
query($one, q{SET ROLE reader; SELECT name FROM person WHERE id = 99});
is(scope($one), '1,2,3,99', 'and answers as the primary did, and what was read since');
is(query($one, q{SELECT ward.sync() > 0; SELECT count(*) FROM ward.events WHERE kind = 'trail.elsewhere'}), "t\n1", 'saying that the primary\'s own trail is elsewhere');
is(query($one, 'SELECT verified FROM ward.verify_trail()'), 't', 'its trail is whole');
is(query($one, q{SELECT string_agg(DISTINCT coalesce(node, 'here'), ' ') FROM ward.sessions WHERE role = 'reader' AND node IS DISTINCT FROM '} . node_of($primary) . q{'}), 'below here', 'what was read on it is now its own');
# What was delivered to the old primary is delivered to the new one again, and indexed once.
delivered($below, 'below', 'the standby below delivers to it', $one);
see($below, 4);
delivered($below, 'below', 'and goes on', $one);
is(scope($one), '1,2,3,4,99', 'which names who was read there');
is(query($one, q{SELECT sum(records) FROM ward.disclosures WHERE node = 'below' AND role = 'reader'}), '2', 'once');

# The old primary goes on by itself, and is rewound.
see($primary, 50);
query($primary, 'INSERT INTO person VALUES (1000, $$Lost$$); CHECKPOINT');
my $old = node_of($primary);
my $old_key = key_of($primary);
$primary->stop;
system_or_bail('cp', '-a', $primary->data_dir . '/ward_trail', "$dir/kept");
query($one, 'CHECKPOINT');
my $conf = slurp_file($primary->data_dir . '/postgresql.conf');
command_ok([ 'pg_rewind', '--target-pgdata', $primary->data_dir, '--source-server', $one->connstr('postgres'), '--no-sync' ], 'the old primary is rewound');
open(my $file, '>', $primary->data_dir . '/postgresql.conf') or die;
print $file $conf;
close($file);
$primary->enable_streaming($one);
$primary->set_standby_mode;
$primary->append_conf('postgresql.conf', "ward.trail_conninfo = 'user=shipper dbname=postgres'\n");
$primary->start;
awaits($primary, 'SELECT first_key IS NOT NULL FROM ward.trail_status', 'rewound, it signs a trail');
my $new = node_of($primary);
ok($new ne $old && $new ne $node, 'that is a new one, neither its old one nor the new primary\'s');
awaits($primary, q{SELECT problem LIKE '%not registered%' FROM ward.shipping_status}, 'which nobody has registered');
query($one, "SELECT ward.add_standby('rewound', '" . key_of($primary) . "')");
see($primary, 60);
delivered($primary, 'rewound', 'once it is, it delivers', $one);
is(scope($one), '1,2,3,4,60,99', 'and the new primary names who was read on it');
is(query($one, q{SELECT verified FROM ward.verify_standby('rewound')}), 't', 'by a trail that is whole');
is(query($primary, 'SELECT verified FROM ward.verify_trail()'), 't', 'there as well');
# What it did by itself is in the trail that was kept.
my ($out, $err) = run_command([ 'python3', $tool, '--key', $old_key, "$dir/kept" ]);
like($out, qr/^node $old: \d+ records/, 'the trail that was kept still verifies');
unlike("$out$err", qr/PROBLEM/, 'as it was');

$_->stop for $below, $primary, $one;
done_testing();
