# Two databases, dropped and created again: they share the cluster's trail and
# nothing else.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('databases');
my $kek = PostgreSQL::Test::Utils::tempdir() . '/kek';
system_or_bail('openssl', 'rand', '-out', $kek, '32');
chmod 0600, $kek;
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
ward.kek_file = '$kek'
});
$node->start;

for my $db (qw(north south))
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, qq{
		CREATE EXTENSION pg_ward;
		CREATE TABLE person (id bigint PRIMARY KEY, name text);
		INSERT INTO person VALUES (1, 'in $db'), (2, 'also in $db');
		SELECT ward.create_key('people');
		SELECT ward.watch('person', 'id');
		SET ward.actor = '$db reader';
		SELECT * FROM person WHERE id = 1;
	});
}
for my $db (qw(north south))
{
	is($node->safe_psql($db, q{
		SELECT ward.sync();
		SELECT string_agg(DISTINCT subject || ' ' || verdict, ',')
		  FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => ARRAY['north reader', 'south reader'])
	}) =~ s/^\d*\n//r, '1 certain', "$db answers for its own people alone");
	is($node->safe_psql($db, q{SELECT string_agg(name, ',') FROM ward.keys}), 'people', "$db has its own key");
}

# Dropped and created again.
$node->safe_psql('north', 'DROP EXTENSION pg_ward CASCADE; CREATE EXTENSION pg_ward');
is($node->safe_psql('north', 'SELECT count(*) FROM ward.watches'), '0', 'nothing is watched in the new one');
is($node->safe_psql('north', 'SELECT count(*) FROM ward.keys'), '0', 'it has no keys');
is($node->safe_psql('south', 'SELECT count(*) FROM ward.watches'), '1', 'the other database is not touched');
$node->safe_psql('north', q{
	SELECT ward.create_key('people');
	SELECT ward.watch('person', 'id');
	SET ward.actor = 'second life';
	SELECT * FROM person WHERE id = 2;
});
like($node->safe_psql('north', q{
	SELECT ward.sync();
	SELECT string_agg(subject, ',') FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), actors => ARRAY['second life'])
}), qr/^\d*\n?2$/, 'it witnesses again');
is($node->safe_psql('north', q{
	SELECT count(*) > 0 FROM ward.events WHERE kind = 'extension.dropped'}), 't',
	'the trail remembers that the extension was dropped');

# DROP DATABASE is not held up by the index worker.
$node->safe_psql('south', 'SELECT 1');
$node->safe_psql('postgres', 'DROP DATABASE south');
pass('DROP DATABASE works');
$node->safe_psql('north', 'SELECT ward.sync()');
pass('the other database still folds');

done_testing();
