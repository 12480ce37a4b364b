# Whom a subscription's workers write is recorded by name, although no executor runs: by
# the initial copy, by inserts, updates, deletes and truncates, also after the cache
# entries that are listened at were thrown away, and in partitions.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->append_conf('postgresql.conf', "autovacuum = off\n");
$publisher->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nautovacuum = off\n");
$subscriber->start;

$publisher->safe_psql('postgres', q{
	CREATE TABLE person (id int PRIMARY KEY, name text);
	CREATE TABLE parted (id int PRIMARY KEY, name text);
	CREATE TABLE other (id int PRIMARY KEY);
	INSERT INTO person SELECT i, 'n' || i FROM generate_series(1, 5) i;
	CREATE PUBLICATION p FOR TABLE person, parted, other;});
$subscriber->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE TABLE person (name text, id int PRIMARY KEY);
	CREATE TABLE parted (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);
	CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (100);
	CREATE TABLE parted_high (name text, id int NOT NULL);
	ALTER TABLE parted ATTACH PARTITION parted_high FOR VALUES FROM (100) TO (200);
	CREATE TABLE other (id int PRIMARY KEY);
	SELECT ward.watch('person', 'id'), ward.watch('parted', 'id');});
my $connstr = $publisher->connstr('postgres') =~ s{'}{''}gr;
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '$connstr' PUBLICATION p");
$subscriber->wait_for_subscription_sync($publisher, 's');

my $end = 0;
# What was recorded since the last look.
my $seen = sub {
	my ($statements) = @_;
	$publisher->safe_psql('postgres', $statements) if $statements;
	$publisher->wait_for_catchup('s');
	$subscriber->safe_psql('postgres', 'SELECT ward.sync()');
	my $rows = $subscriber->safe_psql('postgres', qq{
		WITH d AS (SELECT r.relation_name, d.manner, d.reason, d.subjects FROM _ward.disclosure d
			JOIN _ward.relation_version r USING (relation) WHERE d.last_position >= $end)
		SELECT relation_name, _ward.manner_name(manner), reason,
			(SELECT string_agg(m::text, ',') FROM _ward.subject_set_members(_ward.subject_set_union(subjects)) m)
		FROM d WHERE reason IN ('copy_from', 'replication', 'truncate') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3});
	$end = $subscriber->safe_psql('postgres', 'SELECT _ward.trail_end()');
	# A row of the index gathers a minute: without this the next look would see these again.
	$subscriber->safe_psql('postgres', "DELETE FROM _ward.disclosure");
	return $rows;
};

is($seen->(), 'person|write|replication|1,2,3,4,5', 'the initial copy');
is($seen->("INSERT INTO person VALUES (6, 'six')"), 'person|write|replication|6', 'an insert');
is($seen->("UPDATE person SET name = 'x' WHERE id = 2"), 'person|write|replication|2', 'an update');
is($seen->('UPDATE person SET id = 33 WHERE id = 3'), 'person|write|replication|3,33', 'an update of the subject');
is($seen->('DELETE FROM person WHERE id = 4'), 'person|write|replication|4', 'a delete');
is($seen->('INSERT INTO other VALUES (1)'), '', 'a table that is not watched');
is($seen->("BEGIN; INSERT INTO person VALUES (7, 'seven'); ROLLBACK"), '', 'what was rolled back is not replicated');
is($seen->("BEGIN; INSERT INTO person VALUES (8, 'eight'); SAVEPOINT a; INSERT INTO person VALUES (9, 'nine'); RELEASE a; COMMIT"),
	'person|write|replication|8,9', 'a subtransaction');
$subscriber->safe_psql('postgres', 'VACUUM ANALYZE person; REINDEX TABLE person; ALTER TABLE person SET (fillfactor = 90)');
is($seen->("UPDATE person SET name = 'y' WHERE id = 5; DELETE FROM person WHERE id = 6; INSERT INTO person VALUES (10, 'ten')"),
	'person|write|replication|5,6,10', 'after the cache entry was thrown away, by reading the table');
is($seen->("INSERT INTO person VALUES (11, 'eleven')"), 'person|write|replication|11', 'and then by listening again');
is($seen->("INSERT INTO parted VALUES (1, 'low'), (150, 'high')"), 'parted|write|replication|1,150', 'partitions with other column numbers');
is($seen->("UPDATE parted SET id = 151 WHERE id = 1"), 'parted|write|replication|1,151', 'a row that moves between them');
$subscriber->safe_psql('postgres', 'CREATE TABLE later (id int PRIMARY KEY)');
$publisher->safe_psql('postgres', 'CREATE TABLE later (id int PRIMARY KEY); ALTER PUBLICATION p ADD TABLE later');
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION s REFRESH PUBLICATION');
$subscriber->wait_for_subscription_sync($publisher, 's');
is($seen->('INSERT INTO later VALUES (1)'), '', 'a table before it is watched');
$subscriber->safe_psql('postgres', q{SELECT ward.watch('later', 'id')});
is($seen->('INSERT INTO later VALUES (2)'), 'later|write|replication|2', 'and after, at once');
like($seen->('TRUNCATE person'), qr/^person\|all\|truncate\|$/, 'a truncate can name nobody');
is($subscriber->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'in a whole trail');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM person'), '0', 'and the data is what was published');

$subscriber->stop;
$publisher->stop;
done_testing();
