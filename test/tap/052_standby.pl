# A streaming standby: who may open is decided as on the primary, what changes there takes
# effect here, also in statements that run; it has a trail of its own; and it can be promoted.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WardSample;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $kek = sample_kek("$dir/kek");
my $primary = sample_node('primary', $kek, allows_streaming => 1);
sample_populate($primary);
my $sealed = sample_sealed($primary, 'postgres');
my $plain = sample_plain($primary, 'postgres');
my $node_of = sub { return $_[0]->safe_psql('postgres', 'SELECT node FROM ward.trail_state()') };
my $records_of = sub { return $_[0]->safe_psql('postgres', 'SELECT records FROM ward.trail_state()') };
my $verified = sub { return $_[0]->safe_psql('postgres', 'SELECT verified, problem FROM ward.verify_trail()') };
my $primary_records = $records_of->($primary);

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

is(sample_sealed($standby, 'postgres'), $sealed, 'without the right a standby shows the stored bytes');
is(sample_plain($standby, 'postgres'), $plain, 'with the right it opens');
sample_works($standby, 'postgres', 'a standby');

# Its own trail.
isnt($node_of->($standby), $node_of->($primary), 'the standby is a node of its own');
cmp_ok($records_of->($standby), '>', 0, 'what it shows is recorded there');
is($verified->($standby), 't|', 'its trail is whole');
is($verified->($primary), 't|', 'and so is the primary\'s');
like($standby->safe_psql('postgres', 'SELECT directory FROM ward.trail_state()'), qr/trail/, 'it has a directory');
my @kept = glob($standby->data_dir . '/ward_trail.' . $node_of->($primary) . '/*.trail');
is(scalar(@kept), 1, 'what the backup brought of the primary\'s trail is kept aside');
like(($standby->psql('postgres', 'SELECT ward.sync()'))[2], qr/standby does not index/, 'the index is the primary\'s');
my $own = $node_of->($standby);
$standby->restart;
is($node_of->($standby), $own, 'after a restart it goes on with the same trail');
$standby->stop('immediate');
$standby->start;
is($node_of->($standby), $own, 'and after a crash');
sample_plain($standby, 'postgres');

# What is changed on the primary reaches sessions, also within a running statement.
my $session = $standby->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'reader' ]);
my $cursor = $standby->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'reader' ]);
is($session->query('SELECT code FROM app.person WHERE id = 7'), 'C7', 'an open session reads');
my $begin = sub {
	$cursor->query('ROLLBACK; BEGIN; DECLARE c CURSOR FOR SELECT code FROM app.person ORDER BY id');
	return $cursor->query('FETCH 1 FROM c');
};
my $change = sub {
	$primary->safe_psql('postgres', $_[0]);
	$primary->wait_for_catchup($standby);
	return;
};
is($begin->(), 'C1', 'and so does a cursor');
$change->(q{SELECT ward.freeze_key('dump.a', 'test')});
$cursor->query('FETCH 2 FROM c');
like($cursor->{stderr}, qr/is frozen/, 'a freeze stops the statement that runs');
$cursor->{stderr} = '';
$session->query('SELECT code FROM app.person WHERE id = 7');
like($session->{stderr}, qr/is frozen/, 'and the session');
$session->{stderr} = '';
$change->(q{SELECT ward.thaw_key('dump.a', 'test')});
is($begin->(), 'C1', 'a thaw');
$change->(q{SELECT ward.revoke_unseal('dump.a', 'reader', 'test')});
like($cursor->query('FETCH 2 FROM c'), qr/\A\\sealed:\S+\n\\sealed:\S+\z/, 'a revoked right ends in the statement that runs');
like($session->query('SELECT code FROM app.person WHERE id = 7'), qr/^\\sealed:/, 'and in the session');
$session->query('SELECT code || code FROM app.person WHERE id = 7');
like($session->{stderr}, qr/permission denied to open/, 'where nothing can be opened');
$change->(q{SELECT ward.grant_unseal('dump.a', 'reader', 'test')});
is($session->query('SELECT code FROM app.person WHERE id = 7'), 'C7', 'and comes back');
$change->(q{SELECT ward.create_key('late'); SELECT ward.grant_unseal('late', 'reader', 'test');
	CREATE TABLE app.late (x sealed_text('late')); INSERT INTO app.late VALUES ('new key')});
is($session->query('SELECT x FROM app.late'), 'new key', 'a new key serves at once');
$change->(q{SELECT ward.rotate_key('late', 'test'); INSERT INTO app.late VALUES ('new version')});
is($session->query(q{SELECT x FROM app.late WHERE x = 'new version'}), 'new version', 'and its new version');
$change->(q{SELECT ward.unwatch('app.live', NULL, 'test')});
$_->quit for $session, $cursor;

# Without the key.
rename $kek, "$kek.away";
$standby->restart;
like(($standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT code FROM app.person", extra_params => [ '-U', 'reader' ]))[2], qr/WD101: /, 'without the key nothing opens');
is(sample_sealed($standby, 'postgres'), sample_sealed($primary, 'postgres'), 'ciphertext is served');
rename "$kek.away", $kek;
is(sample_plain($standby, 'postgres'), $plain, 'with it back it opens');

# Officers change things on the primary.
like(($standby->psql('postgres', q{SELECT ward.create_key('here')}))[2], qr/read-only|during recovery/, 'keys are made on the primary');

# Promoted, it goes on by itself, and its index takes up what it recorded as a standby.
my $before = $records_of->($standby);
$primary->stop;
$standby->promote;
is($node_of->($standby), $own, 'promoted, it keeps its trail');
cmp_ok($records_of->($standby), '>=', $before, 'with all that is in it');
sample_works($standby, 'postgres', 'promoted');
is($verified->($standby), 't|', 'which is whole');
cmp_ok($standby->safe_psql('postgres', 'SELECT ward.sync()'), '>', 0, 'it is indexed');
is($standby->safe_psql('postgres', "SELECT count(*) > 0 FROM ward.disclosures WHERE role = 'reader' AND relation = 'app.person' AND minute IS NOT NULL"), 't', 'with the reads of the standby');
is($standby->safe_psql('postgres', "SELECT count(DISTINCT node) FROM _ward.index_state"), '2', 'beside the primary\'s');

# A trail outside the data directory is the primary's alone.
my $outside = "$dir/outside";
my $second = sample_node('second', $kek, allows_streaming => 1);
$second->append_conf('postgresql.conf', "ward.trail_directory = '$outside'");
unlink $second->data_dir . '/ward_trail.node';
$second->restart;
$second->safe_psql('postgres', q{CREATE EXTENSION pg_ward; SELECT ward.create_key('k'); CREATE TABLE t (id int); INSERT INTO t VALUES (1); SELECT ward.watch('t', 'id')});
$second->backup('base');
my $fork = PostgreSQL::Test::Cluster->new('fork');
$fork->init_from_backup($second, 'base', has_streaming => 1);
$fork->start;
$second->wait_for_catchup($fork);
my ($status, $out, $err) = $fork->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM t");
like($err, qr/WD303: .*\n.*another server.*\n.*ward\.trail_directory/, 'a standby never writes into the primary\'s trail, and says what to do');
$fork->append_conf('postgresql.conf', "ward.trail_directory = '$dir/outside2'");
$fork->restart;
is($fork->safe_psql('postgres', 'SELECT * FROM t'), '1', 'with a directory of its own it serves');
isnt($node_of->($fork), $node_of->($second), 'and is its own node');
is($verified->($second), 't|', 'the primary\'s trail is untouched');
$_->stop for $standby, $second, $fork;
done_testing();
