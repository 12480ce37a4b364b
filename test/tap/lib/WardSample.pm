package WardSample;

# A database with all that can hold sealed values, for tests that copy it: by dump,
# upgrade or replication. Of its roles "reader" may open, "blind" may not and "owner" owns
# the tables; "backup" dumps, and gets the right where a test grants it.
use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(sample_kek sample_node sample_populate sample_sealed sample_plain sample_catalog sample_works sample_as);

sub sample_kek
{
	my ($path) = @_;
	system_or_bail('openssl', 'rand', '-out', $path, '32');
	chmod 0600, $path;
	return $path;
}

sub sample_node
{
	my ($name, $kek, %init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(%init);
	$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
ward.kek_file = '$kek'
max_worker_processes = 16
});
	$node->start;
	return $node;
}

sub sample_populate
{
	my ($node) = @_;
	$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_ward;
CREATE ROLE reader LOGIN;
CREATE ROLE blind LOGIN;
CREATE ROLE owner LOGIN;
CREATE ROLE backup LOGIN;
GRANT pg_read_all_data TO reader, blind, backup;
GRANT ward_officer, ward_auditor TO owner;
SELECT ward.create_key('dump.a');
SELECT ward.create_key('dump.b');
SELECT ward.create_key('dump.none', 'none');
SELECT ward.grant_unseal(k, 'reader', 'test') FROM unnest('{dump.a,dump.b,dump.none}'::text[]) k;
SELECT ward.grant_unseal('dump.b', 'owner', 'test', '2100-01-01');
CREATE SCHEMA app;
ALTER SCHEMA app OWNER TO owner;
SET ROLE owner;
SET search_path = app;

CREATE TABLE kinds (id int PRIMARY KEY, x sealed_text('dump.a'), y sealed_bytea('dump.none'), b sealed_bool('dump.a'),
	n sealed_int8('dump.b'), m sealed_numeric('dump.a'), d sealed_date('dump.a'), t sealed_timestamptz('dump.a'),
	u sealed_uuid('dump.a'), j sealed_jsonb('dump.b'));
INSERT INTO kinds VALUES
	(1, 'planted plaintext', '\xdeadbeef', true, 42, 1.50, '2000-02-29', '2000-02-29 12:34:56.789+00', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1.0, "planted plaintext": [1, "x", null]}'),
	(2, '', '', false, 0, 0, '0001-01-01 BC', 'epoch', '00000000-0000-0000-0000-000000000000', '{}'),
	(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(4, E'tab\there\nline\\.', '\x00ff00', true, 9223372036854775807, 'NaN', 'infinity', 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '"scalar"'),
	(5, NULL, '\x5c7365616c65643a', false, -9223372036854775808, '-Infinity', '-infinity', '-infinity', '5c736561-6c65-643a-5c73-65616c65643a', '[]'),
	(6, repeat('planted plaintext ', 5000), decode(repeat('ab', 30000), 'hex'), true, -1, repeat('9', 1000)::numeric / 7, '5874897-12-31', '294276-12-31 23:59:59.999999+00', gen_random_uuid(), (SELECT jsonb_agg(i) FROM generate_series(1, 5000) i));
-- What looks like armor, and escaped armor, as plaintext.
INSERT INTO kinds (id, x) VALUES (7, concat(chr(92), 'sealed:AAAA')), (8, concat(chr(92), chr(92), 'sealed:'));

CREATE DOMAIN code AS sealed_text('dump.a') CHECK (VALUE <> 'planted forbidden');
CREATE TYPE pair AS (k text, v sealed_text('dump.a'));
CREATE TABLE nested (id int PRIMARY KEY, list sealed_text('dump.a')[], numbers sealed_int8('dump.b')[], code code, codes code[], pair pair, pairs pair[]);
INSERT INTO nested VALUES (1, ARRAY['planted plaintext', '', NULL, 'NULL', 'a,"b}']::sealed_text[], '{{1,2},{3,4}}', 'planted plaintext', '{one,two}',
	ROW('k', 'planted plaintext'), ARRAY[ROW('k', 'v,")')::pair, NULL]), (3, '{}', '{}', '', '{}', ROW(NULL, NULL), '{}');
INSERT INTO nested VALUES (2);

CREATE TABLE person (id int PRIMARY KEY, code sealed_text('dump.a') NOT NULL UNIQUE DEFAULT 'planted default',
	status sealed_text('dump.a') CONSTRAINT status_known CHECK (status IN ('planted missing', 'planted found')), born sealed_date('dump.b'));
INSERT INTO person SELECT i, 'C' || i, CASE WHEN i % 2 = 0 THEN 'planted missing' ELSE 'planted found' END, date '1950-01-01' + i FROM generate_series(1, 300) i;
CREATE TABLE note (id int PRIMARY KEY, person sealed_text('dump.a') REFERENCES person (code), body sealed_text('dump.none'));
INSERT INTO note SELECT i, 'C' || i, 'planted body ' || i FROM generate_series(1, 300) i;
CREATE UNIQUE INDEX person_missing ON person (id) WHERE status = 'planted missing';
CREATE INDEX person_hash ON person USING hash (code) WHERE code IS NOT NULL;
CREATE VIEW missing AS SELECT id, code, status FROM person WHERE status = 'planted missing' AND code <> 'planted none';
CREATE MATERIALIZED VIEW codes AS SELECT id, code FROM person WHERE status = 'planted found';
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON note USING (person <> 'planted hidden');
CREATE POLICY other ON note AS RESTRICTIVE FOR SELECT TO blind USING (id < 200);

CREATE TABLE parted (region int, id int, code sealed_text('dump.a'), PRIMARY KEY (region, id), UNIQUE (region, code)) PARTITION BY LIST (region);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 (code sealed_text('dump.a'), id int NOT NULL, gone int, region int NOT NULL);
ALTER TABLE parted_2 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
INSERT INTO parted SELECT i % 2 + 1, i, 'P' || i FROM generate_series(1, 100) i;

CREATE TABLE live (gone int, id int PRIMARY KEY, name varchar(40) NOT NULL);
ALTER TABLE live DROP COLUMN gone;
INSERT INTO live SELECT i, 'earlier name ' || i FROM generate_series(1, 100) i;
SELECT ward.protect('live', 'name', 'dump.b');
SELECT ward.watch('person', 'id', 'person');
SELECT ward.watch('note', 'id', 'note');
SELECT ward.watch('live', 'id', 'person');
RESET ROLE;
GRANT USAGE ON SCHEMA app TO reader, blind, backup;
SQL
	return;
}

sub sample_as
{
	my ($node, $database, $role, $sql) = @_;
	return $node->safe_psql($database, $sql, extra_params => [ '-U', $role ]);
}

my @tables = qw(kinds nested person note parted live codes);

# A digest of what each table shows to a role. To blind that is the stored bytes. What
# reader is shown would be ciphertext if it were sealed twice.
sub sample_digests
{
	my ($node, $database, $role) = @_;
	return sample_as($node, $database, $role, join ';', map
		{ "SELECT '$_', count(*), md5(string_agg(t::text, chr(10) ORDER BY id)) FROM app.$_ t" . ($_ eq 'note' ? ' WHERE id < 200' : '') } @tables);
}

sub sample_sealed { my ($node, $database) = @_; return sample_digests($node, $database, 'blind'); }
sub sample_plain { my ($node, $database) = @_; return sample_digests($node, $database, 'reader'); }

# Types with their keys, definitions without the ciphertext in them, configuration.
sub sample_catalog
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, q{
SELECT a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relnamespace = 'app'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid::regclass::text, a.attname;
SELECT conrelid::regclass, conname, regexp_replace(pg_get_constraintdef(oid), 'sealed:[^'']*', 'sealed', 'g')
  FROM pg_constraint WHERE connamespace = 'app'::regnamespace ORDER BY conrelid::regclass::text, 2;
SELECT regexp_replace(pg_get_indexdef(indexrelid), 'sealed:[^'']*', 'sealed', 'g')
  FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace = 'app'::regnamespace ORDER BY 1;
SELECT regexp_replace(pg_get_viewdef('app.missing'), 'sealed:[^'']*', 'sealed', 'g'), format_type(typbasetype, typtypmod) FROM pg_type WHERE oid = 'app.code'::regtype;
SELECT target, subject, class, (SELECT attnum FROM pg_attribute WHERE attrelid = target AND attname = subject) = attnum FROM _ward.watch ORDER BY target::text, 2;
SELECT relation, column_name, base_type, base_typmod, (SELECT attnum FROM pg_attribute WHERE attrelid = relation AND attname = column_name) = s.attnum FROM _ward.sealed_column s ORDER BY relation::text, 2;
SELECT key, role, reason, expires FROM ward.unseal_grants WHERE role <> 'backup'::regrole ORDER BY key, role::text;
SELECT name, id, version, state, search, is_default FROM ward.keys ORDER BY 1, 3;
});
}

# What is copied is not only there but works: look-ups, constraints, defaults, the way back.
sub sample_works
{
	my ($node, $database, $what) = @_;
	my $run = sub {
		my ($role, $sql) = @_;
		my ($status, $out, $err) = $node->psql($database, "BEGIN; $sql; ROLLBACK", extra_params => [ '-q', '-U', $role ]);
		return $out . ($err =~ /ERROR: +(.*)/ ? "ERROR: $1" : '');
	};
	is($run->('reader', q{SELECT id, code FROM app.person WHERE code = 'C7'}), '7|C7', "$what: a look-up");
	is($run->('reader', q{SELECT count(*), min(code::text) FROM app.missing}), '150|C10', "$what: a view with literals");
	is($run->('reader', q{SELECT count(*) FROM app.note JOIN app.person ON code = person}), '300', "$what: a join");
	return if $node->safe_psql($database, 'SELECT pg_is_in_recovery()') eq 't';
	is($run->('owner', q{INSERT INTO app.person VALUES (1000, DEFAULT, 'planted missing'); INSERT INTO app.note VALUES (1000, 'planted default'); SELECT count(*) FROM app.person WHERE code = 'planted default'}), '1', "$what: a default");
	like($run->('owner', q{INSERT INTO app.person VALUES (1000, 'C7', 'planted found')}), qr/duplicate key/, "$what: a unique key");
	like($run->('owner', q{INSERT INTO app.person VALUES (1000, 'new', 'other')}), qr/violates check constraint "status_known"/, "$what: a check");
	like($run->('owner', q{INSERT INTO app.note VALUES (1000, 'nobody')}), qr/foreign key/, "$what: a foreign key");
	like($run->('owner', q{INSERT INTO app.nested (id, code) VALUES (1000, 'planted forbidden')}), qr/violates check constraint/, "$what: a domain");
	like($run->('owner', q{INSERT INTO app.parted VALUES (1, 1000, 'P2')}), qr/duplicate key/, "$what: a partition");
	is($run->('owner', q{SELECT ward.unprotect('app.live', 'name', 'test'); SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'app.live'::regclass AND attname = 'name'; SELECT name FROM app.live WHERE id = 7}),
		"\ncharacter varying(40)\nearlier name 7", "$what: the way back from ward.protect");
	return;
}

1;
