# Nothing erases evidence (I3): not the transaction's end, whichever it is, not the end of
# the session, the extension, the database or the cluster's log of transactions; and an
# older copy put in the place of the newer one is told.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('keeps');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
autovacuum = off
max_prepared_transactions = 5
ward.checkpoint_interval = 1
});
$node->start;
my $prepare = q{
	CREATE EXTENSION pg_ward;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'name' || i FROM generate_series(1, 1000) i;
	SELECT ward.watch('person', 'id');};
$node->safe_psql('postgres', $prepare);
my $trail = $node->data_dir . '/ward_trail';
my $tool = "$ENV{WARD_ROOT}/tools/ward-verify";
my $first_key = $node->safe_psql('postgres', 'SELECT first_key FROM ward.trail_status');

# Was this person disclosed to this application?
sub disclosed
{
	my ($application, $id) = @_;
	return $node->safe_psql('postgres', qq{DO \$\$BEGIN PERFORM ward.sync(); END\$\$;
		SELECT count(*) > 0 FROM ward.disclosures WHERE application = '$application' AND _ward.subject_set_contains(subject_set, $id)});
}

# --- however the transaction ends
my $id = 100;
for my $end (
	[ 'rollback', 'BEGIN; %s; ROLLBACK' ],
	[ 'rollback to a savepoint', 'BEGIN; SAVEPOINT a; %s; ROLLBACK TO a; COMMIT' ],
	[ 'nested savepoints', 'BEGIN; SAVEPOINT a; SAVEPOINT b; %s; RELEASE b; ROLLBACK TO a; ROLLBACK' ],
	[ 'an error', 'BEGIN; %s; SELECT 1 / 0; COMMIT' ],
	[ 'an error that is caught', q{DO $x$BEGIN BEGIN PERFORM * FROM person WHERE id = %d; RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; END$x$} ],
	[ 'a prepared transaction that is rolled back', q{BEGIN; %s; PREPARE TRANSACTION 'one'; ROLLBACK PREPARED 'one'} ],
	[ 'a deferred constraint that fails', 'BEGIN; CREATE TEMP TABLE t (i int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO t VALUES (1), (1); %s; COMMIT' ],
	[ 'cancel', "SET statement_timeout = '300ms'; SELECT name, pg_sleep(5) FROM person WHERE id = %d" ],
	[ 'terminate', 'SELECT name, pg_terminate_backend(pg_backend_pid()) FROM person WHERE id = %d' ])
{
	my ($name, $sql) = @$end;
	$id++;
	my $read = "SELECT name FROM person WHERE id = $id";
	$sql =~ s/%s/$read/;
	$sql =~ s/%d/$id/;
	(my $application = $name) =~ s/ /_/g;
	$node->psql('postgres', "SET application_name = '$application'; $sql", on_error_stop => 0);
	is(disclosed($application, $id), 't', "$name keeps the evidence");
}

# --- the extension, the database
$node->safe_psql('postgres', 'CREATE DATABASE doomed');
$node->safe_psql('doomed', $prepare);
$node->safe_psql('doomed', q{SET application_name = 'marked_in_doomed'; SELECT name FROM person WHERE id = 7});
my $records = $node->safe_psql('postgres', 'SELECT records FROM ward.trail_status');
$node->safe_psql('postgres', 'DROP DATABASE doomed');
like(`cat $trail/*.trail`, qr/marked_in_doomed/, 'DROP DATABASE keeps the evidence');
$node->safe_psql('postgres', q{SET application_name = 'marked_before_drop'; SELECT name FROM person WHERE id = 8; DROP EXTENSION pg_ward});
like(`cat $trail/*.trail`, qr/marked_before_drop/, 'DROP EXTENSION keeps the evidence');
$node->safe_psql('postgres', q{CREATE EXTENSION pg_ward; SELECT ward.watch('person', 'id')});
is(disclosed('marked_before_drop', 8), 't', 'and an extension that is created again finds it');
is($node->safe_psql('postgres', 'SELECT count(*) FROM ward.events WHERE kind = \'extension.dropped\''), '1', 'with who dropped it');
cmp_ok($node->safe_psql('postgres', 'SELECT records FROM ward.trail_status'), '>', $records, 'the trail only grows');

# --- the log of transactions is thrown away
$node->safe_psql('postgres', 'CHECKPOINT');
$node->safe_psql('postgres', q{SET application_name = 'before_reset'; INSERT INTO person VALUES (2000, 'lost'); SELECT name FROM person WHERE id = 10});
$node->stop('immediate');
command_ok([ 'pg_resetwal', '-f', '-D', $node->data_dir ], 'pg_resetwal');
$node->start;
is($node->safe_psql('postgres', 'SELECT count(*) FROM person WHERE id = 2000'), '0', 'loses what was committed');
is(disclosed('before_reset', 10), 't', 'and keeps the evidence');
is($node->safe_psql('postgres', "SELECT verified FROM ward.verify_trail(ARRAY['$first_key'])"), 't', 'and the trail is whole');

# --- an older copy of the data directory in its place
$node->backup('older');
$node->stop;
system_or_bail('cp', '-a', $node->data_dir, $node->data_dir . '.snapshot');
$node->start;
$node->safe_psql('postgres', q{SET application_name = 'after_backup'; SELECT name FROM person WHERE id = 9});
$records = $node->safe_psql('postgres', 'SELECT records FROM ward.trail_status');
$node->poll_query_until('postgres', "SELECT signed_records >= $records FROM ward.trail_status") or die;
$node->stop;
# What was kept elsewhere: the log.
my $log = $node->basedir . '/kept.log';
system_or_bail('cp', $node->logfile, $log);
my $data = $node->data_dir;

# A base backup holds no signing key: the chain of keys is broken, whoever looks.
rename($data, "$data.newer") or die;
system_or_bail('cp', '-a', $node->backup_dir . '/older', $data);
chmod 0700, $data;
$node->start;
ok($node->poll_query_until('postgres', 'SELECT first_key IS NOT NULL FROM ward.trail_status'), 'an older base backup starts');
is($node->safe_psql('postgres', "SELECT problem FROM ward.verify_trail(ARRAY['$first_key'])"),
	'the chain of keys is broken: a key begins that none before announced and that is not pinned', 'that it is one shows by its keys');
ok($node->log_contains(qr/WARNING: +the signing key of the trail is lost/), 'and in the log');
$node->stop;
my ($out) = run_command([ $tool, '--key', $first_key, '--checkpoint', $log, $trail ]);
like($out, qr/PROBLEM: (the chain of keys is broken|the first \d+ records are not those of the checkpoint that was kept elsewhere|the trail was cut off)/, 'ward-verify tells as well');

# A snapshot of the file system holds it: only what was kept elsewhere tells the fork.
system_or_bail('rm', '-rf', $data);
rename("$data.snapshot", $data) or die;
$node->start;
$node->safe_psql('postgres', "SELECT count(_ward.record_event('test.mark')) FROM generate_series(1, 200)");
$records = $node->safe_psql('postgres', 'SELECT records FROM ward.trail_status');
$node->poll_query_until('postgres', "SELECT signed_records >= $records FROM ward.trail_status") or die;
$node->stop;
($out) = run_command([ $tool, '--key', $first_key, $trail ]);
unlike($out, qr/PROBLEM/, 'a snapshot that goes on is whole by itself');
($out) = run_command([ $tool, '--key', $first_key, '--checkpoint', $log, $trail ]);
like($out, qr/PROBLEM: the first \d+ records are not those of the checkpoint that was kept elsewhere: history was written anew/, 'but a fork of what was kept elsewhere');

# The newer trail is taken back to before what its key's file has signed.
system_or_bail('rm', '-rf', $data);
rename("$data.newer", $data) or die;
system_or_bail('rm', '-rf', $trail);
system_or_bail('cp', '-a', $node->backup_dir . '/older/ward_trail', $trail);
chmod 0700, $trail;
$node->start;
my ($rc, $said, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT _ward.record_event('test.mark')");
like($err, qr/WD303: .*it ends before what this server has signed/s, 'an older trail in the place of the newer one is refused');
$node->stop;

done_testing();
