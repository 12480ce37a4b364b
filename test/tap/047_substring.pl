# LIKE and ILIKE on a sealed column answer as on a plain one, by the index and without,
# for random texts and patterns that are made of what is hard: letters whose case
# depends on their neighbours, characters of one to four bytes, wildcards, escapes. And
# a dump brings the index back.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('substring');
my $dir = PostgreSQL::Test::Utils::tempdir();
system_or_bail('openssl', 'rand', '-out', "$dir/kek", '32');
chmod 0600, "$dir/kek";
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
ward.kek_file = '$dir/kek'
autovacuum = off
});
$node->start;

$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	SELECT ward.create_key('default'), ward.create_key('k', 'substring');
	CREATE ROLE reader;
	SELECT ward.grant_unseal('k', 'reader', 'test');

	CREATE FUNCTION letters(alphabet text[], at_least int, at_most int) RETURNS text LANGUAGE sql VOLATILE AS $$
		SELECT coalesce(string_agg(alphabet[1 + floor(random() * cardinality(alphabet))::int], ''), '')
		  FROM generate_series(1, at_least + floor(random() * (at_most - at_least + 1))::int) $$;

	-- A value in three is of a word that patterns take their parts from.
	CREATE TABLE word (w text);
	INSERT INTO word VALUES ('ΟΔΟΣ'), ('οδος'), ('ΣΩΚΡΆΤΗΣ σοφός'), ('ISPARTA'), ('ısparta'), ('İSTANBUL'), ('istanbul'),
		('Straße'), ('100%_\x'), ('日本語テキスト'), ('Élodie ÉÈ'), ('Ì İ i̇ Į̇́ J̈'), ('K' || chr(8490) || 'ſs'), (chr(128512) || 'emoji' || chr(128513));
	CREATE TABLE twin (id serial PRIMARY KEY, v text);
	SELECT setseed(0.42);
	INSERT INTO twin (v)
	SELECT CASE WHEN i % 3 = 0 THEN (SELECT w FROM word ORDER BY i % 7, md5(w || i) LIMIT 1) || letters(ARRAY['a', 'Σ', 'İ', chr(775), ' '], 0, 3)
	            ELSE letters(ARRAY['a', 'B', 'ß', 'É', 'é', 'Σ', 'σ', 'ς', 'I', 'i', 'İ', 'ı', 'J', chr(775), chr(769), '日', chr(128512), '%', '_', '\', ' '], 0, 14) END
	  FROM generate_series(1, 1200) i;
	INSERT INTO twin (v) VALUES (NULL), (''), ('a'), (repeat('Σas ', 4000));

	CREATE TABLE pattern (p text);
	INSERT INTO pattern SELECT DISTINCT p FROM (
		SELECT letters(ARRAY['a', 'B', 'É', 'é', 'Σ', 'σ', 'ς', 'I', 'i', 'İ', 'ı', chr(775), '日', '%', '%', '_', '\%', '\_', '\\\\', '\Σ', ' '], 0, 8) AS p FROM generate_series(1, 200) i
		UNION ALL
		SELECT CASE WHEN random() < 0.7 THEN '%' ELSE '' END ||
		       regexp_replace(substr(x.v, 1 + floor(random() * 6)::int, 1 + floor(random() * 7)::int), '([%_\\\\])', '\\\\\1', 'g') ||
		       CASE WHEN random() < 0.7 THEN '%' ELSE '' END
		  FROM (SELECT CASE i % 3 WHEN 0 THEN v WHEN 1 THEN upper(v) ELSE lower(v) END AS v
		          FROM twin, generate_series(1, 1) i WHERE id % 5 = 0) x
		UNION ALL VALUES (NULL), (''), ('%'), ('%%'), ('_'), ('___'), ('%ΟΔΟΣ%'), ('%οδος'), ('%istanbul%'), ('ısparta'), ('ISPARTA%'), ('%Σas Σas%')) p
	 WHERE p IS NULL OR p !~ '(^|[^\\\\])(\\\\\\\\)*\\\\$';

	-- Each pattern, as a literal and as a parameter, by LIKE and ILIKE, on both tables:
	-- how many differ, how many there were, and how many rows were found.
	CREATE FUNCTION compare(sealed regclass, plain regclass, OUT differ int, OUT asked int, OUT matched bigint) LANGUAGE plpgsql AS $$
	DECLARE
		one record;
		op text;
		want int[];
		have int[];
		other int[];
	BEGIN
		differ := 0; asked := 0; matched := 0;
		FOR one IN SELECT p FROM pattern LOOP
			FOREACH op IN ARRAY ARRAY['LIKE', 'ILIKE'] LOOP
				EXECUTE format('SELECT array_agg(id ORDER BY id) FROM %s WHERE v %s %L', plain, op, one.p) INTO want;
				EXECUTE format('SELECT array_agg(id ORDER BY id) FROM %s WHERE v %s %L', sealed, op, one.p) INTO have;
				EXECUTE format('SELECT array_agg(id ORDER BY id) FROM %s WHERE v::text %s $1', sealed, op) INTO other USING one.p;
				asked := asked + 1;
				matched := matched + coalesce(cardinality(want), 0);
				IF want IS DISTINCT FROM have OR want IS DISTINCT FROM other THEN
					differ := differ + 1;
					RAISE NOTICE '% %: % rows, not %, %', op, one.p, cardinality(want), cardinality(have), cardinality(other);
				END IF;
			END LOOP;
		END LOOP;
	END $$;
	GRANT SELECT ON twin, pattern TO reader;
});

cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM pattern'), '>', 300, 'there are patterns');

# The column's own collation decides what ILIKE finds. ICU's are tried where they are.
my @collations = ('default', 'C', split /\n/, $node->safe_psql('postgres',
	q{SELECT collname FROM pg_collation WHERE collname IN ('und-x-icu', 'el-x-icu', 'tr-x-icu', 'lt-x-icu') ORDER BY 1}));
my $number = 0;
for my $collation (@collations)
{
	$number++;
	$node->safe_psql('postgres', qq{
		CREATE TABLE sealed_$number (id int PRIMARY KEY, v text COLLATE "$collation");
		CREATE TABLE plain_$number (id int PRIMARY KEY, v text COLLATE "$collation");
		INSERT INTO sealed_$number SELECT * FROM twin;
		INSERT INTO plain_$number SELECT * FROM twin;
		SELECT ward.protect('sealed_$number', 'v', 'k', search => 'substring');
		ANALYZE sealed_$number;
		GRANT SELECT ON sealed_$number, plain_$number TO reader;
	});
	for my $way ('seqscan', 'bitmapscan')
	{
		my ($status, $out, $err) = $node->psql('postgres', qq{
			SET ROLE reader;
			SET enable_$way = off;
			SELECT differ, asked > 600, matched > 500 FROM compare('sealed_$number', 'plain_$number')});
		is($out, '0|t|t', "collation $collation, no $way: the same answers") or diag(substr($err, 0, 4000));
	}
	like($node->safe_psql('postgres', qq{SET ROLE reader; SET enable_seqscan = off; EXPLAIN SELECT id FROM sealed_$number WHERE v ILIKE '%οδο%'}),
		qr/Bitmap Index Scan on sealed_${number}_v_idx/, "collation $collation: by the index");
}

# ---- dump and restore

my $dump = "$dir/dump.sql";
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-T', 'twin', '-T', 'plain_*', '-T', 'word', '-T', 'pattern', '-f', $dump ], 'dumped');
my $dumped = slurp_file($dump);
my $indexes = () = $dumped =~ /USING gin \(v sealed_text_trgm_ops\)/g;
is($indexes, scalar @collations, 'with the operator class of each index');
ok($dumped !~ /Σas Σas/, 'sealed');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'restored');
is($node->safe_psql('restored', q{SET ROLE reader; SET enable_seqscan = off; SELECT count(*) FROM sealed_1 WHERE v LIKE '%Σas Σas%'}),
	$node->safe_psql('postgres', q{SELECT count(*) FROM twin WHERE v LIKE '%Σas Σas%'}), 'and found');

# ---- the index on disk holds no text

$node->safe_psql('postgres', q{
	CREATE TABLE planted (v sealed_text('k'));
	CREATE INDEX planted_index ON planted USING gin (v sealed_text_trgm_ops);
	INSERT INTO planted VALUES ('plantedneedle');
	CHECKPOINT;
});
my $file = $node->data_dir . '/' . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('planted_index')});
ok(slurp_file($file) !~ /pla|nte|dle/, 'no trigram in clear');
$node->stop;

done_testing();
