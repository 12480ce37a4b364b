# Canaries: each action, against readers who roll back, read in parallel, by cursor or COPY; the
# row of a session that is ended does not leave; officers are spared; nothing tells a reader.
use strict;
use warnings;
use Time::HiRes qw(time usleep);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('canary');
system_or_bail('openssl', 'rand', '-out', "$dir/kek", '32');
chmod 0600, "$dir/kek";
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
ward.kek_file = '$dir/kek'
ward.alert_command = 'cat >> $dir/taken'
jit = off
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE ROLE officer LOGIN IN ROLE ward_officer;
	CREATE ROLE clerk LOGIN;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'name ' || i FROM generate_series(1, 20000) i;
	GRANT ALL ON person TO officer, clerk;
	SELECT ward.watch('person', 'id', 'person');
	SELECT ward.create_key('k');
	CREATE TABLE secret (id int PRIMARY KEY, x sealed_text('k'));
	INSERT INTO secret VALUES (1, 'one');
	GRANT SELECT ON secret TO clerk;
	SELECT ward.grant_unseal('k', 'clerk', 'test');
	SELECT ward.canary('person', '101', 'alert'), ward.canary('person', '102', 'freeze_key', 'k'),
		ward.canary('person', '103', 'end_session'), ward.canary('person', '104', 'lock_role');
	ANALYZE person;
});
my $as = sub {
	my ($role, $sql) = @_;
	my ($out, $err);
	my $status = $node->psql('postgres', $sql, stdout => \$out, stderr => \$err, extra_params => [ '-U', $role ]);
	return ($status, $out, $err);
};
my $alerts = sub { return $node->safe_psql('postgres', 'SELECT ward.sync() IS NULL; SELECT count(*) FROM ward.alerts') =~ s/^f\n//r };
my $wait = sub {
	my ($what, $name) = @_;
	for (1 .. 200) {
		if ($what->()) { pass($name); return }
		usleep(50_000);
	}
	fail($name);
};
my $parallel = 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off; ';

# alert: the statement goes on as if nothing were.
my ($status, $out, $err) = $as->('clerk', 'BEGIN; SELECT name FROM person WHERE id = 101; ROLLBACK');
is("$status|$out|$err", '0|name 101|', 'the reader sees what he asked for');
is($alerts->(), 1, 'and an alert is raised, though he rolls back');
$wait->(sub { -e "$dir/taken" and slurp_file("$dir/taken") =~ /"kind":"canary".*"role":"clerk".*"relation":"public.person","on_read":"alert"/ }, 'which the command gets');
unlike(slurp_file("$dir/taken"), qr/name 101|"101"/, 'without the person');
unlike(slurp_file($node->logfile), qr/WARNING.*canary/, 'no warning to the client');
(undef, $out) = $as->('clerk', 'SELECT id FROM person WHERE id = 101; SELECT id FROM person WHERE id = 101');
is($alerts->(), 2, 'a session that reads it again raises no further one');
(undef, $out) = $as->('clerk', $parallel . 'SELECT count(*), max(name) FROM person WHERE id = 101 OR name = $$x$$');
is($alerts->(), 3, 'in parallel workers');
$as->('clerk', 'COPY (SELECT * FROM person WHERE id = 101) TO STDOUT');
is($alerts->(), 4, 'by COPY');
$as->('clerk', 'BEGIN; DECLARE c CURSOR FOR SELECT * FROM person ORDER BY id; MOVE 98 FROM c; FETCH 3 FROM c; ROLLBACK');
cmp_ok($alerts->(), '>=', 5, 'by cursor');
my $before = $alerts->();
$as->('clerk', 'SELECT count(*) FROM person; SELECT sum(length(name)) FROM person');
is($alerts->(), $before, 'a total raises none');

# freeze_key: soon, whatever becomes of the transaction.
is(($as->('clerk', 'SELECT x::text FROM secret'))[1], 'one', 'a key that may be opened');
$as->('clerk', 'BEGIN; SELECT name FROM person WHERE id = 102; ROLLBACK');
my $start = time;
$wait->(sub { $node->safe_psql('postgres', 'SELECT state FROM ward.keys') eq 'frozen' }, 'is frozen');
cmp_ok(time - $start, '<', 5, 'soon');
like(($as->('clerk', 'SELECT x::text FROM secret'))[2], qr/is frozen/, 'for whoever read it');
is($node->safe_psql('postgres', q{SELECT ward.sync() IS NULL; SELECT detail->>'key', detail->>'reason' ~ '^alert at position \d+$' FROM ward.events WHERE kind = 'key.frozen'}), "f\nk|t", 'the trail says why');
$node->safe_psql('postgres', q{SELECT ward.thaw_key('k', 'over')});

# end_session: the row does not leave, and the message is an administrator's.
for my $sql ('SELECT * FROM person WHERE id = 103', 'SELECT * FROM person ORDER BY id', 'COPY (SELECT * FROM person WHERE id = 103) TO STDOUT',
	'SELECT * FROM person WHERE id BETWEEN 102 AND 104', $parallel . 'SELECT * FROM person WHERE id = 103 OR name = $$x$$',
	'DO $$BEGIN PERFORM name FROM person WHERE id = 103; END$$') {
	($status, $out, $err) = $as->('clerk', $sql);
	unlike($out, qr/name 103/, 'the row does not leave');
	like($err, qr/terminating connection due to administrator command/, 'and the session ends');
	unlike($err, qr/canary/i, 'without a reason');
}
is(($as->('officer', 'SELECT name FROM person WHERE id = 103'))[1], 'name 103', 'an officer is spared');
is($node->safe_psql('postgres', q{SELECT ward.sync() IS NULL; SELECT detail->>'on_read' FROM ward.alerts WHERE role = 'officer'}), "f\nalert", 'but for the alert');
is($node->safe_psql('postgres', q{SELECT count(*) > 0 FROM ward.disclosures WHERE role = 'clerk' AND _ward.subject_set_contains(subject_set, 103)}), 't', 'that they were about to see it is recorded');
$wait->(sub { $node->safe_psql('postgres', q{SELECT actions = 0 FROM ward.alert_status}) eq 't' }, 'actions are done');
$node->safe_psql('postgres', q{SELECT ward.thaw_key('k', 'over')});

# lock_role.
($status, $out, $err) = $as->('clerk', 'SELECT * FROM person WHERE id = 104');
like($err, qr/watched data is locked down/, 'the role is locked down before the row leaves');
is($out, '', 'at once');
like(($as->('clerk', 'SELECT 1'))[2], qr/refused by a lockdown/, 'and does not come back');
is($node->safe_psql('postgres', 'SELECT reads, roles, by FROM ward.lockdown_state'), 'f|{clerk}|pg_ward', 'as the state says');
is(($as->('officer', q{SELECT count(*) FROM ward.lift_lockdown('over')}))[0], 0, 'an officer lifts it');

# A crash between the alert and the freeze: the freeze comes.
$as->('clerk', 'SELECT name FROM person WHERE id = 102');
$node->stop('immediate');
$node->start;
$wait->(sub { $node->safe_psql('postgres', 'SELECT state FROM ward.keys') eq 'frozen' }, 'a crash after the alert does not keep the key from being frozen');

# A change reaches sessions that are connected.
$node->safe_psql('postgres', q{SELECT ward.thaw_key('k', 'over')});
my $session = $node->background_psql('postgres', extra_params => [ '-U', 'clerk' ]);
$session->query_safe('SELECT id FROM person WHERE id = 200');
$before = $alerts->();
$node->safe_psql('postgres', q{SELECT ward.canary('person', '200')});
$session->query_safe('SELECT id FROM person WHERE id = 200');
is($alerts->(), $before + 1, 'a new canary is one in sessions that are connected');
$session->quit;
is($node->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'the trail is whole');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP/, 'nothing crashed');
$node->stop;
done_testing();
