# Protecting and unprotecting columns of tables that are in use: interrupted, among
# writers, dumped, and what is left in clear.
use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('protect');
my $dir = PostgreSQL::Test::Utils::tempdir();
system_or_bail('openssl', 'rand', '-out', "$dir/kek", '32');
chmod 0600, "$dir/kek";
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
ward.kek_file = '$dir/kek'
restart_after_crash = on
autovacuum = off
});
$node->start;

# The index's function holds a conversion up, for as long as lock 42 is held elsewhere.
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	SELECT ward.create_key('k');
	CREATE TABLE person (id int PRIMARY KEY, code varchar(20) UNIQUE, name text DEFAULT 'planted default'
		CHECK (name <> 'planted check'));
	CREATE TABLE note (id serial PRIMARY KEY, code varchar(20) REFERENCES person (code) ON DELETE CASCADE);
	CREATE VIEW seen AS SELECT id, code FROM person WHERE name <> 'planted view';
	INSERT INTO person SELECT i, 'C' || i, 'planted value ' || i FROM generate_series(1, 1000) i;
	INSERT INTO note (code) SELECT 'C' || i FROM generate_series(1, 1000) i;
	ANALYZE;
	CREATE FUNCTION held(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
		'BEGIN PERFORM pg_advisory_lock_shared(42); PERFORM pg_advisory_unlock_shared(42); RETURN $1; END';
	CREATE INDEX person_held ON person (held(id));
});

my $state = q{
	SELECT string_agg(format('%s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod)), ',' ORDER BY attrelid::regclass::text, attname)
	  FROM pg_attribute WHERE attrelid IN ('person'::regclass, 'note'::regclass, 'seen'::regclass) AND attnum > 0
	UNION ALL SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid), ',' ORDER BY conname) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
	UNION ALL SELECT pg_get_viewdef('seen') || pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'person'::regclass
	UNION ALL SELECT count(*) || md5(string_agg(p::text, ',' ORDER BY id)) FROM person p
	UNION ALL SELECT count(*)::text FROM note
	UNION ALL SELECT count(*)::text FROM _ward.sealed_column
	UNION ALL SELECT count(*)::text FROM ward.protect_progress
};
my $before = $node->safe_psql('postgres', $state);

# ---- interrupted runs leave everything as it was

my $holder = $node->background_psql('postgres');
for my $how ('cancelled', 'terminated', 'killed')
{
	$holder->query_safe('SELECT pg_advisory_lock(42)');
	my ($in, $out, $err) = ('', '', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', q{SELECT ward.protect('person', 'code', 'k')} ],
		\$in, \$out, \$err);
	ok($node->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM ward.protect_progress p JOIN pg_stat_activity a USING (pid)
		   WHERE p.phase = 'rewriting' AND p.rows_done >= 1000 AND a.wait_event = 'advisory'}), "$how: the conversion runs");
	my ($pid, $shown) = split /\|/, $node->safe_psql('postgres',
		q{SELECT pid, concat_ws(' ', relation, column_name, command, phase, rows_done, rows_estimated, started <= now()) FROM ward.protect_progress}), 2;
	is($shown, 'person code protect rewriting 1000 2000 t', "$how: its progress shows");
	# Writers wait.
	my (undef, undef, $waited) = $node->psql('postgres', q{SET lock_timeout = '100ms'; INSERT INTO person VALUES (0, 'x')});
	like($waited, qr/lock timeout/, "$how: writers wait");
	if ($how eq 'cancelled') { $node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)"); }
	elsif ($how eq 'terminated') { $node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)"); }
	else
	{
		kill 'KILL', $pid;
		$node->poll_query_until('postgres', 'SELECT true');
	}
	$run->finish;
	isnt($run->result(0), 0, "$how: the call fails");
	if ($how eq 'killed')
	{
		$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
	}
	else
	{
		$holder->query_safe('SELECT pg_advisory_unlock(42)');
	}
	is($node->safe_psql('postgres', $state), $before, "$how: everything is as it was");
}
eval { $holder->quit };
$node->safe_psql('postgres', 'DROP INDEX person_held');

# ---- locks: a caller's patience, and no writer as victim

my $writer = $node->background_psql('postgres');
$writer->query_safe('BEGIN');
$writer->query_safe('INSERT INTO note (code) VALUES (NULL)');
my (undef, undef, $err) = $node->psql('postgres', q{SET lock_timeout = '200ms'; SELECT ward.protect('person', 'code', 'k')});
like($err, qr/could not lock public\.person and what belongs to it within lock_timeout.*Nothing was changed/s, 'lock_timeout is heeded, and said');
{
	# The writer holds note and wants person; the conversion wants both.
	my ($in, $pout, $perr) = ('', '', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', q{SELECT ward.protect('person', 'code', 'k')} ],
		\$in, \$pout, \$perr);
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM ward.protect_progress WHERE phase = 'waiting for locks'}), 'it waits');
	$writer->query_safe(q{INSERT INTO person VALUES (5000, 'C5000')});
	$writer->query_safe(q{UPDATE note SET code = 'C5000' WHERE code IS NULL});
	$writer->query_safe('COMMIT');
	$run->finish;
	is($run->result(0), 0, 'the conversion goes on once the writer is done') or diag $perr;
}
$writer->quit;
is($node->safe_psql('postgres', q{SELECT count(*) FROM note WHERE code = 'C5000'}), '1', 'what the writer wrote is there');
unlike(slurp_file($node->logfile), qr/deadlock detected/, 'there was no deadlock');
$node->safe_psql('postgres', q{SELECT ward.protect('person', 'name', 'k')});

# ---- nothing is left in clear once the old rows are gone

$node->safe_psql('postgres', "VACUUM FULL $_")
	for qw(pg_catalog.pg_statistic pg_catalog.pg_rewrite pg_catalog.pg_constraint pg_catalog.pg_attrdef);
$node->safe_psql('postgres', 'ANALYZE');
$node->safe_psql('postgres', 'CHECKPOINT');
my $base = $node->data_dir . '/base';
is(`grep -r -a -l -E 'planted (value|default|check|view)' '$base' || true`, '', 'tables and catalogs hold no plaintext');

# ---- dumped and restored, it still knows the way back

command_ok([ 'pg_dump', '-f', "$dir/dump.sql", $node->connstr('postgres') ], 'dumps');
unlike(slurp_file("$dir/dump.sql"), qr/planted/, 'the dump holds no plaintext');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', "$dir/dump.sql", $node->connstr('restored') ], 'restores');
$node->safe_psql('restored', q{
	ALTER TABLE person RENAME code TO number;
	SELECT ward.grant_unseal('k', current_user::name, 'test');
	SELECT ward.unprotect('person', 'number', 'test');
	SELECT ward.unprotect('person', 'name', 'test');
});
is($node->safe_psql('restored', q{SELECT string_agg(format_type(atttypid, atttypmod), ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'person'::regclass AND attnum > 0}),
	'integer,character varying(20),text', 'unprotect knows the types, after a dump and a rename');
is($node->safe_psql('restored', q{SELECT number, name FROM person WHERE id = 7}), 'C7|planted value 7', 'and the values');

# ---- conversions among writers

append_to_file("$dir/write.sql", q{
\set n random(1, 1000)
INSERT INTO note (code) VALUES ('C' || :n);
BEGIN;
INSERT INTO person (id, code) VALUES (nextval('ids'), 'W' || currval('ids')) ;
INSERT INTO note (code) VALUES ('W' || currval('ids'));
COMMIT;
BEGIN;
INSERT INTO note (code) VALUES (NULL);
UPDATE person SET name = 'written' WHERE id = :n;
COMMIT;
});
$node->safe_psql('postgres', q{CREATE SEQUENCE ids START 10000; SELECT ward.grant_unseal('k', current_user::name, 'test')});
my ($persons, $notes) = split /\|/, $node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM person), (SELECT count(*) FROM note)');
my ($in, $pout, $perr) = ('', '', '');
my $bench = IPC::Run::start([ 'pgbench', '-n', '-M', 'prepared', '-c', '4', '-j', '2', '-t', '300', '-f', "$dir/write.sql", $node->connstr('postgres') ],
	\$in, \$pout, \$perr);
for my $turn (1 .. 2)
{
	$node->safe_psql('postgres', qq{SELECT ward.unprotect('person', 'code', 'turn $turn'); SELECT ward.unprotect('person', 'name', 'turn $turn')});
	$node->safe_psql('postgres', q{SELECT ward.protect('note', 'code', 'k')});
	$node->safe_psql('postgres', q{SELECT ward.protect('person', 'name', 'k')});
}
$bench->finish;
is($bench->result(0), 0, 'no writer failed') or diag $perr;
like($pout, qr{transactions actually processed: 1200/1200}, 'all wrote');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM person), (SELECT count(*) FROM note)'),
	($persons + 1200) . '|' . ($notes + 3600), 'nothing was lost');
is($node->safe_psql('postgres', q{SELECT count(*) FROM note n LEFT JOIN person p USING (code) WHERE p.code IS NULL AND n.code IS NOT NULL}), '0',
	'and the foreign key holds');

# ---- a watched table: everybody possibly, nobody certainly; and the events

$node->safe_psql('postgres', q{SELECT ward.unprotect('person', 'name', 'watch'); SELECT ward.watch('person', 'id', 'person')});
my $start = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('postgres', q{SELECT ward.protect('person', 'name', 'k')});
is($node->safe_psql('postgres', qq{SELECT string_agg(DISTINCT verdict, ',') FROM ward.breach_scope(tstzrange('$start', NULL))}), 'possible',
	'a conversion makes nobody certain');
is($node->safe_psql('postgres', 'SELECT verified, problem, place FROM ward.verify_trail()'), 't||', 'the trail is whole');
done_testing();
