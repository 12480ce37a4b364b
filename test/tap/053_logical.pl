# Logical replication: what the publisher's side may open is sealed anew under the
# subscriber's key; what it may not arrives as ciphertext, which is taken bit for bit under
# the same key and refused under another. Nothing is sealed twice.
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
my $publisher = sample_node('publisher', $kek, allows_streaming => 'logical');
my $subscriber = sample_node('subscriber', sample_kek("$dir/kek2"));
my $same = sample_node('same', $kek);
my $columns = sub {
	my ($k) = @_;
	return "id int PRIMARY KEY, x sealed_text('$k'), n sealed_int8('$k'), j sealed_jsonb('$k'), list sealed_text('$k')[]";
};
$publisher->safe_psql('postgres', qq{
CREATE EXTENSION pg_ward;
SELECT ward.create_key('here');
CREATE ROLE sees LOGIN REPLICATION; CREATE ROLE blind LOGIN REPLICATION; CREATE ROLE reader LOGIN;
GRANT pg_read_all_data TO sees, blind, reader;
SELECT ward.grant_unseal('here', r, 'test') FROM unnest('{sees,reader}'::name[]) r;
CREATE TABLE t (@{[ $columns->('here') ]});
INSERT INTO t SELECT i, 'planted ' || i, i, jsonb_build_object('planted', i), ARRAY['planted ' || i, NULL, ''] FROM generate_series(1, 100) i;
INSERT INTO t VALUES (0);
INSERT INTO t VALUES (1000, repeat('planted long ', 5000), NULL, NULL, '{}'), (1001, concat(chr(92), 'sealed:AAAA'), 1, '[]', NULL);
CREATE TABLE full_row (id int, x sealed_text('here'), n sealed_int8('here'));
ALTER TABLE full_row REPLICA IDENTITY FULL;
INSERT INTO full_row SELECT i, 'planted ' || i, i FROM generate_series(1, 50) i;
CREATE PUBLICATION p FOR TABLE t, full_row;
});
my $rows = sub { return $_[0]->safe_psql('postgres', 'SELECT * FROM t ORDER BY id; SELECT * FROM full_row ORDER BY id', extra_params => [ '-U', $_[1] ]) };
my $changes = q{
UPDATE t SET x = 'planted changed' WHERE id < 10;
UPDATE t SET n = 5, id = id + 5000 WHERE id IN (20, 21);
UPDATE t SET n = 7 WHERE id = 1000;
DELETE FROM t WHERE id BETWEEN 30 AND 39;
INSERT INTO t VALUES (2000, 'planted new', 1, '{}', '{planted,new}');
UPDATE full_row SET x = 'planted changed' WHERE id < 10;
UPDATE full_row SET n = NULL WHERE id = 11;
DELETE FROM full_row WHERE id BETWEEN 20 AND 29;
INSERT INTO full_row VALUES (100, '', 0);
};
my $connect = sub { return $publisher->connstr('postgres') . " user=$_[0]" };
my $begin = sub {
	my ($node, $key, $role, $binary) = @_;
	$node->safe_psql('postgres', qq{CREATE SUBSCRIPTION s_} . $node->name . qq{ CONNECTION '@{[ $connect->($role) =~ s/'/''/gr ]}' PUBLICATION p WITH (binary = $binary)});
	return;
};
my $synced = sub { $_[0]->wait_for_subscription_sync($publisher, 's_' . $_[0]->name); return };
my $caught_up = sub { $publisher->wait_for_catchup('s_' . $_[0]->name); return };
my $end = sub { $_[0]->safe_psql('postgres', 'DROP SUBSCRIPTION s_' . $_[0]->name . '; TRUNCATE t, full_row'); return };

# With the right: another cluster, another key-encryption key, another key.
$subscriber->safe_psql('postgres', qq{
CREATE EXTENSION pg_ward;
SELECT ward.create_key('there');
CREATE ROLE reader LOGIN; CREATE ROLE blind LOGIN;
GRANT pg_read_all_data TO reader, blind;
SELECT ward.grant_unseal('there', 'reader', 'test');
CREATE TABLE t (@{[ $columns->('there') ]});
CREATE TABLE full_row (id int, x sealed_text('there'), n sealed_int8('there'));
ALTER TABLE full_row REPLICA IDENTITY FULL;
SELECT ward.watch('t', 'id');
});
for my $binary ('false', 'true')
{
	$begin->($subscriber, 'there', 'sees', $binary);
	$synced->($subscriber);
	is($rows->($subscriber, 'reader'), $rows->($publisher, 'reader'), "with the right, binary = $binary: the first copy opens");
	isnt($rows->($subscriber, 'blind'), $rows->($publisher, 'blind'), 'sealed anew');
	unlike($rows->($subscriber, 'blind'), qr/planted/, 'under the subscriber\'s key');
	$publisher->safe_psql('postgres', $changes);
	$caught_up->($subscriber);
	is($rows->($subscriber, 'reader'), $rows->($publisher, 'reader'), "with the right, binary = $binary: changes, also by the full row");
	$end->($subscriber);
	$publisher->safe_psql('postgres', q{DELETE FROM t WHERE id = 2000; UPDATE t SET id = id - 5000 WHERE id IN (5020, 5021); DELETE FROM full_row WHERE id = 100;
		INSERT INTO full_row SELECT i, 'planted ' || i, i FROM generate_series(20, 29) i});
}

# Without the right and with the same key: bit for bit.
$publisher->safe_psql('postgres', q{SELECT 1});
command_ok([ 'pg_dump', '--data-only', '-t', '_ward.key', '-t', '_ward.key_version', '-f', "$dir/keys", $publisher->connstr('postgres') ], 'the keys are dumped');
$same->safe_psql('postgres', 'CREATE EXTENSION pg_ward; CREATE ROLE reader LOGIN; CREATE ROLE blind LOGIN; GRANT pg_read_all_data TO reader, blind');
$same->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $same->connstr('postgres'), '-f', "$dir/keys" ], 'and restored');
$same->safe_psql('postgres', qq{
SELECT ward.grant_unseal('here', 'reader', 'test');
CREATE TABLE t (@{[ $columns->('here') ]});
CREATE TABLE full_row (id int, x sealed_text('here'), n sealed_int8('here'));
ALTER TABLE full_row REPLICA IDENTITY FULL;
});
for my $binary ('false', 'true')
{
	$begin->($same, 'here', 'blind', $binary);
	$synced->($same);
	is($rows->($same, 'blind'), $rows->($publisher, 'blind'), "without the right, binary = $binary: bit for bit");
	is($rows->($same, 'reader'), $rows->($publisher, 'reader'), 'and sealed once');
	$publisher->safe_psql('postgres', $changes);
	$caught_up->($same);
	is($rows->($same, 'blind'), $rows->($publisher, 'blind'), "without the right, binary = $binary: changes, bit for bit");
	is($rows->($same, 'reader'), $rows->($publisher, 'reader'), 'and sealed once');
	$end->($same);
	$publisher->safe_psql('postgres', q{DELETE FROM t WHERE id = 2000; UPDATE t SET id = id - 5000 WHERE id IN (5020, 5021); DELETE FROM full_row WHERE id = 100;
		INSERT INTO full_row SELECT i, 'planted ' || i, i FROM generate_series(20, 29) i});
}

# Without the right and with another key: refused, and nothing is stored.
my $log = -s $subscriber->logfile;
$begin->($subscriber, 'there', 'blind', 'false');
ok($subscriber->wait_for_log(qr/sealed value is not accepted as input.*\n.*sealed under another key than the column's/, $log), 'ciphertext of another key is refused, and the log says why');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM t WHERE x IS NOT NULL'), '0', 'nothing of it is stored');
# The right, granted on the publisher, mends it.
$publisher->safe_psql('postgres', q{SELECT ward.grant_unseal('here', 'blind', 'replication')});
$synced->($subscriber);
is($rows->($subscriber, 'reader'), $rows->($publisher, 'reader'), 'with the right granted it goes on by itself');

# The subscriber's key frozen: replication waits, and nothing is lost.
$subscriber->safe_psql('postgres', q{SELECT ward.freeze_key('there', 'test')});
$log = -s $subscriber->logfile;
$publisher->safe_psql('postgres', q{INSERT INTO t VALUES (3000, 'planted while frozen')});
ok($subscriber->wait_for_log(qr/sealing key "there" is frozen/, $log), 'a frozen key stops the subscriber');
$subscriber->safe_psql('postgres', q{SELECT ward.thaw_key('there', 'test')});
$caught_up->($subscriber);
is($subscriber->safe_psql('postgres', 'SELECT x FROM t WHERE id = 3000', extra_params => [ '-U', 'reader' ]), 'planted while frozen', 'and with the thaw it goes on');


# Without tags whole rows are compared by what they hold, which takes the right.
my $untagged = q{SELECT ward.create_key('untagged', 'none'); CREATE TABLE untagged (id int, x sealed_text('untagged')); ALTER TABLE untagged REPLICA IDENTITY FULL};
$publisher->safe_psql('postgres', "$untagged; SELECT ward.grant_unseal('untagged', 'blind', 'replication'); INSERT INTO untagged VALUES (1, 'planted'), (2, 'planted too'); ALTER PUBLICATION p ADD TABLE untagged");
$subscriber->safe_psql('postgres', $untagged);
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION s_subscriber REFRESH PUBLICATION');
$synced->($subscriber);
$log = -s $subscriber->logfile;
$publisher->safe_psql('postgres', q{UPDATE untagged SET x = 'planted anew' WHERE id = 2; DELETE FROM untagged WHERE id = 1});
ok($subscriber->wait_for_log(qr/ERROR: .*permission denied to open values sealed under key "untagged"/, $log), 'without it the subscription stops');
$subscriber->safe_psql('postgres', q{SELECT ward.grant_unseal('untagged', current_user, 'replication')});
$caught_up->($subscriber);
is($subscriber->safe_psql('postgres', 'SELECT * FROM untagged'), '2|planted anew', 'with it the row is found');

$end->($subscriber);
$subscriber->stop; $same->stop; $publisher->stop;
for my $node ($subscriber, $same)
{
	my $data = $node->data_dir;
	is(`grep -r -a -l 'planted' '$data' || true`, '', 'no data directory of a subscriber holds plaintext');
}
done_testing();
