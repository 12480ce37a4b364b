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
	CREATE SEQUENCE aside;
	CREATE FUNCTION catches() RETURNS text LANGUAGE plpgsql AS $$
	DECLARE r record; kept text;
	BEGIN
		BEGIN
			FOR r IN SELECT * FROM person LOOP kept := r.name; RAISE EXCEPTION 'enough'; END LOOP;
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
		RETURN kept;
	END$$;
	SELECT ward.watch('person', 'id');});
my $trail = $node->data_dir . '/ward_trail';

for my $read (
	['a look-up', 'SELECT * FROM person WHERE id = 7'],
	['a scan', 'SELECT * FROM person'],
	['an aggregate', 'SELECT max(name) FROM person'],
	['COPY', 'COPY (SELECT * FROM person) TO STDOUT'],
	['a cursor', 'BEGIN; DECLARE c CURSOR FOR SELECT * FROM person; FETCH 3 FROM c'],
	['a function', q{DO $$BEGIN PERFORM count(name) FROM person; END$$}],
	['a copy of it', 'CREATE TEMP TABLE t AS SELECT * FROM person'],
	# A function's loop waits with its evidence, but not beyond any way out.
	['a loop', q{DO $$DECLARE r record; BEGIN FOR r IN SELECT * FROM person LOOP END LOOP; END$$}],
	['a notice in a loop', q{DO $$DECLARE r record; BEGIN FOR r IN SELECT * FROM person LOOP RAISE NOTICE '%', r.name; END LOOP; END$$}],
	['a notice about the row at hand', q{CREATE FUNCTION pg_temp.say(text) RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE '%', $1; RETURN 1; END$$;
		SELECT pg_temp.say(name) FROM person WHERE id < 4}],
	['an error in a loop', q{DO $$DECLARE r record; BEGIN FOR r IN SELECT * FROM person LOOP RAISE EXCEPTION '%', r.name; END LOOP; END$$}],
	['an error in a function that an error is caught in', 'SELECT catches()'],
	['a side effect in a loop', q{DO $$DECLARE r record; BEGIN FOR r IN SELECT * FROM person LOOP PERFORM setval('aside', 7000 + r.id); END LOOP; END$$}],
	['a side effect of an assignment', q{DO $$DECLARE r record; n bigint; BEGIN FOR r IN SELECT * FROM person LOOP n := setval('aside', 7000 + r.id); END LOOP; END$$}],
	['a setting in a loop', q{DO $$DECLARE r record; BEGIN FOR r IN SELECT * FROM person LOOP EXECUTE format('SET application_name = %L', r.name); RAISE NOTICE '%', current_setting('application_name'); END LOOP; END$$}])
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
	is(scalar(() = $err =~ /ERROR:  WD30[12]: (?:the trail is missing|what this statement has read could not)/g), 1, "$name is refused, and told once");
	unlike("$out$err", qr/secret(?!9)/, "$name: no row leaves");
	like($out, qr/goes on/, "$name: the session goes on");
	like($err, qr/statement timeout/, "$name: and can still be cancelled");
	like($out, qr/again secret9/, "$name: it works again once the trail is back");
}
is($node->safe_psql('postgres', 'SELECT last_value FROM aside'), '1', 'no side effect was left behind');
is($node->safe_psql('postgres', 'SELECT catches()'), 'secret1', 'a function that catches an error works');
is($node->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'the trail is whole');

$node->stop;
done_testing();
