# Lockdown: within a second in every session, open cursors and running statements too; a
# role's and an address' sessions end and do not come back; a restart, a crash and a damaged
# file keep it; officers read on; a standby has its own.
use strict;
use warnings;
use IPC::Run qw(start finish);
use Time::HiRes qw(time usleep);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('lockdown');
my $kek = PostgreSQL::Test::Utils::tempdir() . '/kek';
system_or_bail('openssl', 'rand', '-out', $kek, '32');
chmod 0600, $kek;
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
ward.kek_file = '$kek'
listen_addresses = '127.0.0.1'
jit = off
});
$node->append_conf('pg_hba.conf', "host all all 127.0.0.1/32 trust\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE ROLE officer LOGIN IN ROLE ward_officer;
	CREATE ROLE clerk LOGIN;
	CREATE ROLE other LOGIN;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i;
	CREATE TABLE message (person int, body text);
	INSERT INTO message SELECT 7, repeat('x', 1000) FROM generate_series(1, 20000);
	GRANT SELECT ON person, message TO officer, clerk, other;
	SELECT ward.watch('person', 'id', 'person'), ward.watch('message', 'person', 'person');
	SELECT ward.create_key('a'), ward.create_key('b');
});
my $as = sub {
	my ($role, $sql) = @_;
	my ($out, $err);
	my $status = $node->psql('postgres', $sql, stdout => \$out, stderr => \$err, extra_params => [ '-U', $role ]);
	return $status == 0 ? $out : $err;
};
my $locked = qr/watched data is locked down/;
my $lock = sub { return $as->('officer', "SELECT string_agg(action || ' ' || outcome, ', ') FROM ward.lockdown($_[0])") };
my $lift = sub { return $as->('officer', q{SELECT count(*) > 0 FROM ward.lift_lockdown('over')}) };
my $session = sub {
	my ($role, @more) = @_;
	return $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', $role, @more ]);
};
my $ask = sub {
	my ($session, $sql) = @_;
	my ($out, $failed) = $session->query($sql);
	my $err = $session->{stderr} // '';
	$session->{stderr} = '';
	return ($out // '') . $err;
};

# Open cursors, WITH HOLD and others, and whatever comes next.
my $cursor = $session->('clerk');
$ask->($cursor, 'BEGIN');
$ask->($cursor, 'DECLARE c SCROLL CURSOR FOR SELECT id FROM person ORDER BY id');
is($ask->($cursor, 'FETCH 2 FROM c'), "1\n2", 'a cursor');
my $again = $session->('clerk');
$ask->($again, 'BEGIN');
$ask->($again, 'DECLARE c CURSOR FOR SELECT length(body) FROM message');
is($ask->($again, 'FETCH 1 FROM c'), '1000', 'a cursor whose person is recorded already');
my $held = $session->('clerk');
$ask->($held, 'DECLARE c CURSOR WITH HOLD FOR SELECT id FROM person ORDER BY id');
is($ask->($held, 'FETCH 1 FROM c'), '1', 'a cursor that outlives its transaction');
my $officer = $session->('officer');
$ask->($officer, 'BEGIN');
$ask->($officer, 'DECLARE c CURSOR FOR SELECT id FROM person ORDER BY id');
is($ask->($officer, 'FETCH 1 FROM c'), '1', "an officer's");
my $start = time;
is($lock->(q{'drill'}), 'reads refused to all but officers', 'locked down');
like($ask->($cursor, 'FETCH 1 FROM c'), $locked, 'the cursor ends');
like($ask->($again, 'FETCH 1 FROM c'), $locked, 'also where it would show nobody new');
like($ask->($held, 'FETCH 1 FROM c'), $locked, 'also what was taken out before');
cmp_ok(time - $start, '<', 1, 'within a second');
is($ask->($officer, 'FETCH 1 FROM c'), '2', 'officers read on');
is($as->('officer', 'SELECT count(*) FROM person'), '20000', 'in other sessions too');
like($as->('clerk', 'SELECT count(*) FROM person'), $locked, 'others do not');
is($lift->(), 't', 'lifted');
is($as->('clerk', 'SELECT count(*) FROM person'), '20000', 'and all is as before');
$_->quit for $cursor, $again, $held, $officer;

# A statement that is sending: it stops before its next rows leave, of the same person too.
my ($out, $err) = ('', '');
for my $sql ('COPY (SELECT p.id FROM person p, generate_series(1, 100000)) TO STDOUT', 'COPY (SELECT body FROM message m, generate_series(1, 100000)) TO STDOUT') {
	my $bytes = 0;
	($out, $err) = ('', '');
	my $running = start [ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-U', 'clerk', '-c', $sql ],
		'>', sub { $bytes += length $_[0] }, '2>', \$err, IPC::Run::timeout(120);
	$running->pump until $bytes > 100_000;
	$lock->(q{'drill'});
	$start = time;
	$running->finish;
	like($err, $locked, 'a statement that is sending is stopped');
	cmp_ok(time - $start, '<', 5, 'soon');
	$lift->();
}
# In parallel workers.
like($as->('officer', q{SELECT * FROM ward.lockdown('drill')}), qr/reads/, 'again');
like($as->('clerk', 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off; SELECT count(*) FROM person WHERE length(name) > 5'),
	$locked, 'parallel statements too');
is($lift->(), 't', 'lifted');

# Keys: frozen though the transaction is rolled back.
$as->('officer', q{BEGIN; SELECT * FROM ward.lockdown('drill', reads => false, keys => '{*}'); ROLLBACK});
is($as->('officer', q{SELECT string_agg(state, ' ') FROM ward.keys}), 'frozen frozen', 'all keys are frozen, whatever becomes of the transaction');
is($as->('officer', q{SELECT active FROM ward.lockdown_state}), 'f', 'and nothing else is locked down');
my $writer = $node->background_psql('postgres');
$as->('officer', q{SELECT ward.thaw_key('a', 'over'), ward.thaw_key('b', 'over')});
$writer->query_safe('BEGIN');
$writer->query_safe(q{UPDATE _ward.key SET search = search WHERE name = 'a'});
like($lock->(q{'drill', reads => true, keys => '{a,b}'}), qr/key not frozen: see the log, and call ward.freeze_key\(\), key frozen|key frozen, key not frozen/, 'a key that is locked is told, and waited for with an end');
like($as->('clerk', 'SELECT count(*) FROM person'), $locked, 'the rest holds');
$writer->query_safe('ROLLBACK');
$writer->quit;
$lift->();

# A role's sessions, and an address'.
my $one = $session->('clerk');
my $address = 'host=127.0.0.1 dbname=postgres port=' . $node->port;
my $two = $session->('other', '-d', $address);
my $three = $session->('other');
$ask->($_, 'SELECT 1') for $one, $two, $three;
$start = time;
my $said = $lock->(q{'wrong hands', reads => false, roles => '{clerk}', clients => '{127.0.0.0/8}'});
is($said, 'role refused, also as it connects, client refused, also as it connects, session ended, session ended', 'what it says');
cmp_ok(time - $start, '<', 2, 'at once');
is($node->safe_psql('postgres', q{SELECT string_agg(usename, ' ') FROM pg_stat_activity WHERE usename IN ('clerk', 'other')}), 'other', 'their sessions are ended, others are not');
like($as->('clerk', 'SELECT 1'), qr/this connection is refused by a lockdown/, 'the role does not come back');
{
	my $away;
	$node->psql('postgres', 'SELECT 1', stderr => \$away, extra_params => [ '-U', 'other', '-d', $address ]);
	like($away, qr/this connection is refused by a lockdown/, 'nor does the address');
}
is($ask->($three, 'SELECT count(*) FROM person'), '20000', 'others read');
$three->quit;
eval { $_->quit } for $one, $two;

# A restart and a crash keep it; so does a file that can't be read.
$lock->(q{'over night'});
$node->restart;
like($as->('other', 'SELECT count(*) FROM person'), $locked, 'a restart keeps it');
like($as->('clerk', 'SELECT 1'), qr/refused by a lockdown/, 'all of it');
$node->stop('immediate');
$node->start;
like($as->('other', 'SELECT count(*) FROM person'), $locked, 'a crash too');
is($as->('officer', 'SELECT reads, roles, clients, by, reason FROM ward.lockdown_state'), 't|{clerk}|{127.0.0.0/8}|officer|over night', 'and what it was');
is($lift->(), 't', 'lifted');
$node->stop('immediate');
$node->start;
is($as->('clerk', 'SELECT count(*) FROM person'), '20000', 'a lockdown that was lifted does not come back');
append_to_file($node->data_dir . '/ward_guard.lockdown', "pg_ward lockdown 1\nreads 0\nro");
$node->restart;
like($as->('clerk', 'SELECT count(*) FROM person'), $locked, 'a damaged file locks down all reads');
like($as->('officer', 'SELECT problem FROM ward.lockdown_state'), qr/can't be read/, 'and says so');
is($lift->(), 't', 'which ends like any other');
ok(!-e $node->data_dir . '/ward_guard.lockdown', 'the file is gone');

# The trail can't be written: it holds all the same.
my $trail = $node->data_dir . '/ward_trail';
rename $trail, "$trail.away" or die;
usleep(2000);
like($lock->(q{'no trail'}), qr/trail/, 'that it could not be recorded is an error');
rename "$trail.away", $trail or die;
like($as->('clerk', 'SELECT count(*) FROM person'), $locked, 'but it holds');
is($lift->(), 't', 'lifted');

# A standby: its own lockdown, without keys.
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('lockdown_standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$standby->poll_query_until('postgres', q{SELECT count(*) = 20000 FROM person});
is($standby->safe_psql('postgres', q{SELECT string_agg(action || ' ' || outcome, ', ' ORDER BY action DESC) FROM ward.lockdown('drill', keys => '{*}') WHERE target <> 'a'}, extra_params => [ '-U', 'officer' ]),
	'reads refused to all but officers, key was frozen already', 'on a standby');
my $there;
$standby->psql('postgres', 'SELECT count(*) FROM person', stderr => \$there, extra_params => [ '-U', 'clerk' ]);
like($there, $locked, 'reads are refused there');
is($as->('clerk', 'SELECT count(*) FROM person'), '20000', 'and not here');
is($standby->safe_psql('postgres', q{SELECT count(*) > 0 FROM ward.lift_lockdown('over')}, extra_params => [ '-U', 'officer' ]), 't', 'lifted there');
$standby->stop;
is($node->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'the trail is whole');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP/, 'nothing crashed');
$node->stop;
done_testing();
