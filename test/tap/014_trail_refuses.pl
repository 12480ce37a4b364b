# A statement that would disclose watched data is refused while the trail can't be
# written; the session goes on, can be cancelled, and works again by itself.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('trail_refuses');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nautovacuum = off\nrestart_after_crash = off\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'secret' || i FROM generate_series(1, 1000) i;
	CREATE TABLE other AS SELECT 1 AS i;
	SELECT ward.watch('person', 'id');});
my $trail = $node->data_dir . '/ward_trail';

for my $read (
	['a look-up', 'SELECT * FROM person WHERE id = 7'],
	['a scan', 'SELECT * FROM person'],
	['an aggregate', 'SELECT max(name) FROM person'],
	['COPY', 'COPY (SELECT * FROM person) TO STDOUT'],
	['a cursor', 'BEGIN; DECLARE c CURSOR FOR SELECT * FROM person; FETCH 3 FROM c'],
	['a function', q{DO $$BEGIN PERFORM count(name) FROM person; END$$}],
	['a copy of it', 'CREATE TEMP TABLE t AS SELECT * FROM person'])
{
	my ($name, $sql) = @$read;
	# The session has read before, so that its descriptors are open.
	my ($rc, $out, $err) = $node->psql('postgres', qq{
		\\set VERBOSITY verbose
		SELECT id FROM person WHERE id = 1;
		\\! mv '$trail' '$trail.away'
		$sql;
		ROLLBACK;
		\\! mv '$trail.away' '$trail'
		SELECT 'goes on' FROM other;
		SET statement_timeout = '300ms';
		SELECT 'not cancelled' FROM pg_sleep(20);
		RESET statement_timeout;
		SELECT 'again ' || name FROM person WHERE id = 9;}, on_error_stop => 0);
	is(scalar(() = $err =~ /ERROR:  WD301: the trail is missing/g), 1, "$name is refused, and told once");
	unlike($out, qr/secret(?!9)/, "$name: no row leaves");
	like($out, qr/goes on/, "$name: the session goes on");
	like($err, qr/statement timeout/, "$name: and can still be cancelled");
	like($out, qr/again secret9/, "$name: it works again once the trail is back");
}
is($node->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'the trail is whole');

$node->stop;
done_testing();
