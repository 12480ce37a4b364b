# Alerts: each becomes a row once, a notification and a line for ward.alert_command, whatever
# crashes, rolls back or hangs; no backend waits for the command.
use strict;
use warnings;
use Time::HiRes qw(time usleep);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('alert');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
ward.alert_command = 'cat >> $dir/taken'
ward.alert_command_timeout = 2
});
$node->start;
$node->safe_psql('postgres', q{CREATE EXTENSION pg_ward; CREATE DATABASE elsewhere});
$node->safe_psql('elsewhere', 'CREATE EXTENSION pg_ward');

my $taken = sub { return -e "$dir/taken" ? slurp_file("$dir/taken") : '' };
my $wait = sub {
	my ($what, $name) = @_;
	for (1 .. 400) {
		if ($what->()) { pass($name); return }
		usleep(50_000);
	}
	fail($name);
};
my $status = sub { return $node->safe_psql('postgres', "SELECT $_[0] FROM ward.alert_status") };
my $command = sub {
	$node->safe_psql('postgres', "ALTER SYSTEM SET ward.alert_command = '$_[0]'");
	$node->reload;
	my $written = $_[0] =~ s/''/'/gr;
	$node->poll_query_until('postgres', qq{SELECT current_setting('ward.alert_command') = '$_[0]'});
};

# A row, a notification and the command, though the transaction is rolled back.
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN ward_alert');
$node->safe_psql('postgres', 'BEGIN; SELECT ward.test_alert(); ROLLBACK');
$wait->(sub { $taken->() =~ /"kind":"test"/ }, 'the command gets the alert of a transaction that is rolled back');
like($taken->(), qr/^\{"node":"[0-9a-f]{32}","position":\d+,"at":"[^"]+","database_oid":\d+,"kind":"test","message":"[^"]+","session":"[0-9a-f.]+","role":"[^"]+","database":"postgres"/, 'as a line of JSON');
is($node->safe_psql('postgres', "SELECT ward.sync() IS NULL; SELECT count(*), min(state) FROM ward.alerts"), "f\n1|open", 'and there is a row');
my $heard = '';
$wait->(sub { $heard .= $listener->query_safe('SELECT 1') // ''; $heard =~ /"ward_alert" with payload "1 test"/ }, 'and a notification');
$listener->quit;
is($node->safe_psql('elsewhere', 'SELECT ward.sync() IS NULL; SELECT count(*) FROM ward.alerts'), "f\n0", 'none in another database');

# An alert within a statement that fails.
$node->psql('postgres', 'SELECT 1 / (ward.test_alert() - ward.test_alert() + 1)::int');
is($node->safe_psql('postgres', 'SELECT ward.sync() IS NULL; SELECT count(*) FROM ward.alerts'), "f\n3", 'alerts of a statement that fails');

# A command that hangs holds up nobody, is ended, and what it was given is told.
$wait->(sub { $status->('delivered = 3 AND waiting = 0') eq 't' }, 'all were taken');
$command->("exec sleep 1000");
my $start = time;
$node->safe_psql('postgres', 'SELECT ward.test_alert() FROM generate_series(1, 40)');
cmp_ok(time - $start, '<', 1.5, 'a command that hangs holds up no backend');
$wait->(sub { $status->('waiting = 40 AND command_since IS NOT NULL') eq 't' }, 'and what waits is shown');
is($node->safe_psql('postgres', 'SELECT ward.sync() IS NULL; SELECT count(*) FROM ward.alerts'), "f\n43", 'rows do not wait for it');
$wait->(sub { $status->(q{problem ~ 'ended by signal 9.*ward.alert_command_timeout'}) eq 't' }, 'it is ended, and its end is shown');
$command->("cat >> $dir/taken");
$wait->(sub { $status->('waiting = 0 AND problem IS NULL') eq 't' }, 'another one takes what waited');
is($status->('raised = delivered + given_up'), 't', 'none is lost count of');
is($node->safe_psql('postgres', q{SELECT ward.sync() IS NULL; SELECT kind, count(*) FROM ward.events WHERE kind ~ 'alert_command' GROUP BY 1 ORDER BY 1}),
	"f\nguard.alert_command_failed|1\nguard.alert_command_resumed|1", 'the trail tells of the failure and its end, once');

# A command that fails is given up after three times.
$command->('exit 3');
my $given_up = $status->('given_up');
$node->safe_psql('postgres', 'SELECT ward.test_alert()');
$wait->(sub { $status->("given_up = $given_up + 1 AND waiting = 0 AND problem = 'It exited with status 3'") eq 't' }, 'one that fails is given up, and counted');

# More than fit into the queue in memory.
$command->("sleep 0.2; cat >> $dir/taken");
unlink "$dir/taken";
$node->safe_psql('postgres', 'SELECT count(ward.test_alert()) FROM generate_series(1, 700)');
$wait->(sub { ($taken->() =~ tr/\n//) == 700 }, 'more than the queue holds are all taken');
is(scalar(keys %{ { map { /"position":(\d+)/; $1 => 1 } split /\n/, $taken->() } }), 700, 'each once');

# kill -9 between the event and the row: the row comes once.
my $rows = $node->safe_psql('postgres', 'SELECT ward.sync() IS NULL; SELECT count(*) FROM ward.alerts');
$rows =~ s/^f\n//;
unlink "$dir/taken";
for my $round (1 .. 3) {
	$node->safe_psql('postgres', 'SELECT ward.test_alert()');
	$node->stop('immediate');
	$node->start;
}
is($node->safe_psql('postgres', 'SELECT ward.sync() IS NULL; SELECT count(*) FROM ward.alerts'), "f\n" . ($rows + 3), 'a crash after the event: each has one row');
$wait->(sub { keys %{ { map { /"position":(\d+)/; $1 => 1 } split /\n/, $taken->() } } >= 3 }, 'and the command gets them after the start');
is($node->safe_psql('postgres', "SELECT ward.rebuild_index() IS NULL; SELECT ward.sync() IS NULL; SELECT count(*) FROM ward.alerts"), "f\nf\n" . ($rows + 3), 'an index made anew makes none again');

# The guard process comes back.
my $pid = $status->('pid');
like($pid, qr/^\d+$/, 'there is a guard process');
kill 'TERM', $pid;
$node->safe_psql('postgres', 'SELECT ward.test_alert()');
$wait->(sub { $status->("pid <> $pid AND waiting = 0") eq 't' }, 'it is started again where it is ended, and goes on');

# Where the trail can't be read or written an alert is an error, and the guard waits.
my $trail = $node->data_dir . '/ward_trail';
rename $trail, "$trail.away" or die;
usleep(2000);
my $err;
$node->psql('postgres', 'SELECT ward.test_alert()', stderr => \$err);
like($err, qr/trail/, 'no alert without evidence');
rename "$trail.away", $trail or die;
$node->safe_psql('postgres', 'SELECT ward.test_alert()');
$wait->(sub { $status->('waiting = 0 AND pid > 0') eq 't' }, 'it goes on once the trail is back');
is($node->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'the trail is whole');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP/, 'nothing crashed');
$node->stop;
done_testing();
