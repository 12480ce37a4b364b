# Nothing leaks (I4): values of sealed columns are planted in every way in which an
# application works with them, and then looked for in every file of the data directory
# and in the log, as they are and as hexadecimal digits, base64 and decimal bytes. The
# search must find what stands in plain columns.
use strict;
use warnings;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('leaks');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $kek = "$dir/kek";
system_or_bail('sh', '-c', "umask 077; openssl rand -out '$kek' 32");
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward, auto_explain, pg_stat_statements'
ward.kek_file = '$kek'
wal_level = logical
wal_compression = off
max_prepared_transactions = 4
autovacuum_naptime = 1s
log_statement = none
log_min_messages = notice
log_min_duration_statement = 0
log_parameter_max_length_on_error = 0
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_verbose = on
pg_stat_statements.track = all
pg_stat_statements.track_utility = off
log_temp_files = 0
});
$node->start;

# ---- needles: what is planted, by name; all of it is to be found nowhere

my %needles;
my $count = 0;

# A new value of letters that occurs nowhere else.
sub needle
{
	my ($what) = @_;
	my $value = sprintf 'Needle%03dQ', ++$count;
	$value .= join '', map { ('a' .. 'z')[ rand 26 ] } 1 .. 10;
	$needles{$value} = $what;
	return $value;
}

# The forms that bytes may take in a file.
sub forms
{
	my ($bytes) = @_;
	my @forms = ($bytes, unpack('H*', $bytes), uc unpack('H*', $bytes), join(' ', unpack('C*', $bytes)));
	# In base64 what stands before and behind changes the outer digits.
	for my $shift (0 .. 2)
	{
		my $text = encode_base64('x' x $shift . $bytes, '');
		my $first = $shift == 0 ? 0 : $shift + 1;
		push @forms, substr($text, $first, int((length($bytes) + $shift) * 8 / 6) - $first - 1);
	}
	return @forms;
}

# Every file below a directory that holds one of these, by form.
sub search
{
	my ($root, %wanted) = @_;
	my %form_of;
	for my $value (keys %wanted)
	{
		$form_of{$_} = $value for forms($value);
	}
	my $any = join '|', map { quotemeta } keys %form_of;
	my $regex = qr/($any)/;
	my %found;
	my @files = split /\n/, `find '$root' -type f`;
	for my $file (@files)
	{
		open my $in, '<:raw', $file or next;
		local $/;
		my $content = <$in>;
		close $in;
		while (defined $content && $content =~ /$regex/g)
		{
			my $what = $wanted{ $form_of{$1} };
			$found{ "$what in " . substr($file, length $root) } = 1;
		}
	}
	return sort keys %found;
}

sub sql
{
	my ($query, %options) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $query,
		extra_params => [ '-U', $options{role} // 'app' ], on_error_stop => 0);
	if (exists $options{fails})
	{
		like($err, $options{fails}, "fails with $options{fails}");
	}
	else
	{
		is($err =~ /ERROR/ ? $err : '', '', 'works: ' . substr($query =~ s/\s+/ /gr, 0, 60));
	}
	return $out;
}

$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE EXTENSION pg_stat_statements;
	SELECT ward.create_key('k', make_default => true);
	CREATE ROLE app LOGIN;
	CREATE ROLE blind LOGIN;
	GRANT CREATE ON SCHEMA public TO app, blind;
	SELECT ward.grant_unseal('k', 'app', 'test');
});
sql(q{
	CREATE TABLE p (id int PRIMARY KEY, t sealed_text('k') UNIQUE, u sealed_text('k'), b sealed_bytea('k'), j sealed_jsonb('k'),
		m sealed_numeric('k'), g sealed_uuid('k'), CHECK (u <> 'x'), EXCLUDE USING hash (m WITH =));
	CREATE INDEX ON p (u);
	CREATE INDEX ON p USING hash (u);
	CREATE TABLE c (t sealed_text('k') REFERENCES p (t));
	CREATE TABLE big (t sealed_text('k'));
	CREATE TABLE control (id int PRIMARY KEY, t text, b bytea);
	GRANT ALL ON p, c TO blind;
});

# ---- ordinary writes

my @written = map { needle("written by way $_") } 0 .. 24;
sql("INSERT INTO p (id, t, u) VALUES (1, '$written[0]', '$written[1]')");
sql("INSERT INTO p (id, t) VALUES (2, '$written[2]'::text)");
sql("INSERT INTO p (id, t) SELECT 3, 'Need' || '" . substr($written[3], 4) . "'");
sql("UPDATE p SET u = '$written[4]' WHERE t = '$written[2]'");
sql("COPY p (id, t, u) FROM stdin;\n4\t$written[5]\t$written[6]\n\\.\n");
sql("INSERT INTO p (id, t) VALUES (1, '$written[7]') ON CONFLICT (id) DO UPDATE SET u = excluded.t");
sql("MERGE INTO p USING (VALUES (5, '$written[8]')) v (id, t) ON p.id = v.id WHEN NOT MATCHED THEN INSERT (id, t) VALUES (v.id, v.t)");
sql("PREPARE i (int, text) AS INSERT INTO p (id, t, u) VALUES (\$1, \$2, '$written[12]'); EXECUTE i (7, '$written[13]'); EXECUTE i (8, '$written[14]');");
sql("DO \$\$ DECLARE v text := '$written[15]'; BEGIN INSERT INTO p (id, t) VALUES (9, v); EXECUTE 'INSERT INTO p (id, t) VALUES (10, \$1)' USING '$written[16]'; END \$\$");
sql("CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.u := upper(NEW.t) || NEW.t; RETURN NEW; END';
	CREATE TRIGGER tr BEFORE INSERT ON p FOR EACH ROW WHEN (NEW.id = 11) EXECUTE FUNCTION tf();
	INSERT INTO p (id, t) VALUES (11, '$written[17]')");
sql("INSERT INTO big SELECT '$written[18]' || string_agg(md5(i::text), '') FROM generate_series(1, 3000) i");
sql("CREATE TEMP TABLE tt (t sealed_text('k')); INSERT INTO tt VALUES ('$written[19]'); CREATE INDEX ON tt (t); ANALYZE tt; SELECT count(*) FROM tt;");
sql("BEGIN; INSERT INTO p (id, t) VALUES (13, '$written[20]'); SAVEPOINT s; INSERT INTO p (id, t) VALUES (14, '$written[21]'); ROLLBACK TO s; ROLLBACK;");
sql("BEGIN; INSERT INTO p (id, t) VALUES (15, '$written[22]'); PREPARE TRANSACTION 'two'; COMMIT PREPARED 'two';");
sql("DECLARE w CURSOR WITH HOLD FOR SELECT t FROM p; CLOSE w;");
sql("DELETE FROM p WHERE t = '$written[22]'");
sql("UPDATE p SET u = u WHERE t IN ('$written[0]', '$written[23]') OR u = ANY ('{$written[24]}'::text[])");

# The other types, and letters beyond ASCII.
my $greek = "\xce\x91\xce\xbd\xcf\x84\xce\xb9\xce\xb3\xcf\x8c\xce\xbd\xce\xb7" . $$ . "\xcf\x89";
$needles{$greek} = 'letters beyond ASCII';
sql("INSERT INTO p (id, t) VALUES (20, '$greek')");
my $bytes = needle('bytea');
sql("INSERT INTO p (id, b) VALUES (21, '$bytes'), (22, '\\x" . unpack('H*', scalar reverse $bytes) . "')");
$needles{ reverse $bytes } = 'bytea in hexadecimal digits';
my ($json_key, $json_value) = (needle('key of jsonb'), needle('value of jsonb'));
sql(qq{INSERT INTO p (id, j) VALUES (23, '{"$json_key": ["$json_value"]}')});
my $digits = join '', 7, map { int rand 10 } 1 .. 23;
$needles{$digits} = 'digits of a numeric';
$needles{ pack 'n*', map { substr $digits, $_ * 4, 4 } 0 .. 5 } = 'digits of a numeric in its own format, big end first';
$needles{ pack 'v*', map { substr $digits, $_ * 4, 4 } 0 .. 5 } = 'digits of a numeric in its own format';
sql("INSERT INTO p (id, m) VALUES (24, $digits), (25, '${digits}.5')");
my $hex = join '', map { sprintf '%x', 1 + int rand 15 } 1 .. 32;
(my $uuid = $hex) =~ s/^(.{8})(.{4})(.{4})(.{4})/$1-$2-$3-$4-/;
$needles{$uuid} = 'uuid';
$needles{ pack 'H*', $hex } = 'bytes of a uuid';
sql("INSERT INTO p (id, g) VALUES (26, '$uuid'); SELECT id FROM p WHERE g = '$uuid' AND t IS NULL");

# ---- parameters in the extended protocol, and the same as simple queries

my $mode = 0;
for my $protocol (qw(simple extended prepared))
{
	my $script = "$dir/$protocol.sql";
	my @bound = map { needle("parameter $_ by $protocol queries") } 0 .. 2;
	my @variables = $protocol eq 'simple' ? map { "'$_'" } @bound : map { ":v$_" } 0 .. 2;
	$mode++;
	# More than five times, so that there is a generic plan.
	append_to_file($script, "\\set id 100 * $mode + :n\n\\set n :n + 1\n"
		. "INSERT INTO p (id, u, b) VALUES (:id, $variables[0], $variables[1]);\n"
		. "UPDATE p SET u = u WHERE t = $variables[2]::text AND id = :id;\n"
		. "SELECT u FROM p WHERE u = $variables[0] AND t = $variables[2]::text;\n");
	$node->command_ok([ 'pgbench', '-n', '-t', '8', '-M', $protocol, '-f', $script, '-U', 'app', '-D', 'n=1',
		(map { ('-D', "v$_=$bound[$_]") } 0 .. 2), '-p', $node->port, '-h', $node->host, 'postgres' ], "pgbench -M $protocol");
}

# ---- definitions

my @defined = map { needle("literal $_ of a definition") } 0 .. 17;
sql("CREATE VIEW v AS SELECT id FROM p WHERE t = '$defined[0]' AND u NOT IN ('$defined[1]', '$defined[2]');
	CREATE MATERIALIZED VIEW mv AS SELECT id, t FROM p WHERE u <> '$defined[3]';
	ALTER TABLE p ALTER u SET DEFAULT '$defined[4]', ADD CHECK (t <> '$defined[5]'), ADD CHECK (t NOT IN ('$defined[6]', '$defined[7]'));
	CREATE POLICY po ON p USING (t <> '$defined[8]') WITH CHECK (u <> '$defined[9]');
	CREATE INDEX ON p (id) WHERE t = '$defined[10]';
	CREATE INDEX ON p ((t = '$defined[11]'));
	CREATE DOMAIN d AS sealed_text('k') CHECK (VALUE <> '$defined[12]');
	CREATE TABLE part (t sealed_text('k'), d d DEFAULT '$defined[13]') PARTITION BY LIST (t);
	CREATE TABLE part_1 PARTITION OF part FOR VALUES IN ('$defined[14]');
	INSERT INTO part VALUES ('$defined[14]');
	CREATE TRIGGER wt BEFORE UPDATE ON p FOR EACH ROW WHEN (NEW.t = '$defined[15]') EXECUTE FUNCTION tf();
	CREATE FUNCTION fa() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM p WHERE t = '$defined[16]'; END;
	CREATE STATISTICS st (mcv) ON t, u, id FROM p;
	CREATE STATISTICS se ON id, (t = '$defined[17]') FROM p;");

# ---- statistics, plans

sql("INSERT INTO p (id, t, u) SELECT 1000 + i, '$written[0]' || i, '$written[1]' FROM generate_series(1, 400) i");
sql('ANALYZE p; REFRESH MATERIALIZED VIEW mv; VACUUM p;');
my @explained = map { needle("literal $_ of a plan") } 0 .. 4;
sql("EXPLAIN (VERBOSE) SELECT * FROM p WHERE t = '$explained[0]' AND u IN ('$explained[1]', '$explained[2]');
	EXPLAIN (ANALYZE, VERBOSE) UPDATE p SET u = '$explained[3]' WHERE t = '$explained[4]';");
my $plan = sql("EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM p WHERE t = '$explained[0]' OR u IN ('$explained[1]', '$explained[2]')");
unlike($plan, qr/Needle/, 'EXPLAIN shows no literal');
unlike($node->safe_psql('postgres', q{SELECT query FROM pg_stat_statements}), qr/Needle/, 'nor does pg_stat_statements');

# ---- statements that fail

my @failed = map { needle("failure $_") } 0 .. 29;
sql("INSERT INTO p (id, t) VALUES (1, '$failed[0]')", fails => qr/p_pkey/);
sql("INSERT INTO p (id, t) VALUES (200, '$written[0]')", fails => qr/p_t_key/);
sql("INSERT INTO p (id, t, u) VALUES (200, '$failed[1]', 'x')", fails => qr/check constraint/);
sql("INSERT INTO p (id, t) VALUES (NULL, '$failed[2]')", fails => qr/not-null/);
sql("INSERT INTO c VALUES ('$failed[3]')", fails => qr/foreign key/);
sql("INSERT INTO p (id, t, m) VALUES (200, '$failed[4]', $digits)", fails => qr/exclusion/);
sql("INSERT INTO part VALUES ('$failed[5]')", fails => qr/no partition/);
sql("INSERT INTO p (id, m) VALUES (200, '$failed[6]')", fails => qr/invalid input for type sealed_numeric/);
sql("INSERT INTO p (id, j) VALUES (200, '{\"$failed[7]\": ')", fails => qr/invalid input for type sealed_jsonb/);
sql("INSERT INTO p (id, t) VALUES (1/(1-1), '$failed[8]')", fails => qr/division by zero/);
sql("INSERT INTO p (id, t) SELECT 1/(id-id), '$failed[9]' FROM p", fails => qr/division by zero/);
sql("SELECT t::text::int FROM p WHERE id = 1", fails => qr/invalid input syntax for type integer: "\(sealed\)"/);
sql("SELECT (t || '$failed[10]')::date FROM p WHERE id = 1", fails => qr/invalid input syntax for type date/);
sql("SELECT t::text::regclass FROM p WHERE id = 1", fails => qr/relation "\(sealed\)" does not exist/);
sql("SELECT to_tsquery('simple', t || '$failed[11] (') FROM p WHERE id = 1", fails => qr/syntax error in tsquery/);
sql("COPY p (id, t) FROM stdin;\n300\t$failed[12]\nx\t$failed[13]\n\\.\n", fails => qr/invalid input syntax for type integer/);
sql("COPY p (id, t) FROM stdin;\n300\t$failed[14]\t$failed[15]\n\\.\n", fails => qr/extra data/);
sql("COPY p (id, t) FROM stdin;\n1\t$failed[16]\n\\.\n", fails => qr/p_pkey/);
sql("COPY p (id, t, m) FROM stdin;\n301\tx\t$failed[17]\n\\.\n", fails => qr/invalid input for type/);
sql("PREPARE f AS INSERT INTO p (id, t) VALUES (\$1, '$failed[18]'); EXECUTE f (1);", fails => qr/p_pkey/);
sql("DO \$\$ DECLARE v text; BEGIN SELECT t INTO v FROM p WHERE id = 1; EXECUTE format('SELECT %L::int', v); END \$\$", fails => qr/invalid input syntax/);
sql("DO \$\$ BEGIN INSERT INTO p (id, t) VALUES (1, '$failed[19]'); EXCEPTION WHEN unique_violation THEN NULL; END \$\$");
sql("BEGIN; SELECT count(*) FROM p WHERE t = '$failed[20]'; SAVEPOINT s; INSERT INTO p (id, t) VALUES (1, '$failed[21]'); ROLLBACK TO s; SELECT 1/0; ROLLBACK;", fails => qr/p_pkey.*division/s);
sql("UPDATE p SET t = '$failed[22]' WHERE id IN (2, 3)", fails => qr/p_t_key/);
sql("INSERT INTO p (id, t) VALUES (1, '$failed[23]')", role => 'blind', fails => qr/p_pkey/);
sql("SELECT t::text FROM p WHERE t = '$written[0]'", role => 'blind', fails => qr/permission denied to open/);
sql("SET statement_timeout = 100; SELECT pg_sleep(10) FROM p WHERE t = '$written[0]' OR u = '$failed[24]';", fails => qr/timeout/);
sql("CREATE STATISTICS bad ON (t::text), id FROM p", fails => qr/opens sealed values/);
sql("CREATE INDEX ON p ((t || '$failed[25]'))", fails => qr/opens sealed values/);

# ---- sorting opened values: spilling can be forbidden

$node->safe_psql('postgres', 'ALTER ROLE app SET temp_file_limit = 0');
sql("SET work_mem = '64kB'; SELECT count(*) FROM (SELECT t FROM p CROSS JOIN generate_series(1, 30) ORDER BY t::text) x",
	fails => qr/temporary file size exceeds temp_file_limit/);
$node->safe_psql('postgres', 'ALTER ROLE app RESET temp_file_limit');

# ---- a table that was filled before it was protected

my %protected = (needle('a value protected later') => 'a value protected later', needle('its default') => 'its default');
delete @needles{ keys %protected };
my ($value, $default) = map { my $what = $_; grep { $protected{$_} eq $what } keys %protected } ('a value protected later', 'its default');
sql("CREATE TABLE late (id int, x text DEFAULT '$default'); INSERT INTO late VALUES (1, '$value'), (2, '$value');
	CREATE INDEX ON late (x); ANALYZE late;");
$node->safe_psql('postgres', 'CHECKPOINT');
my $base = $node->data_dir . '/base';
is(scalar(grep { /^(a value protected later|its default) in/ } search($base, %protected)) >= 3 ? 1 : 0, 1, 'what is not yet protected is found');
$node->safe_psql('postgres', "SELECT ward.protect('late', 'x', 'k')");
$node->safe_psql('postgres', "VACUUM FULL pg_catalog.$_")
	for qw(pg_statistic pg_rewrite pg_constraint pg_attrdef pg_policy);
$node->safe_psql('postgres', 'CHECKPOINT');
$node->safe_psql('postgres', 'ANALYZE late');
is_deeply([ search($base, %protected) ], [], 'after the steps that docs/protecting.md names no table holds it');

# ---- a dump by who may not open

$node->command_ok([ 'pg_dump', '-f', "$dir/out/dump.sql", $node->connstr('postgres') ], 'a superuser dumps')
	if mkdir "$dir/out";

# ---- what is plain is found, so that a search that finds nothing says something

my %controls;
sub control
{
	my ($what) = @_;
	my $value = sprintf 'Control%03dQ', ++$count;
	$value .= join '', map { ('a' .. 'z')[ rand 26 ] } 1 .. 10;
	$controls{$value} = $what;
	return $value;
}
my ($in_heap, $in_bytea, $in_log, $in_catalog, $in_duration) =
	map { control($_) } ('a heap', 'a bytea', 'an error', 'a default', 'a slow statement');
sql("INSERT INTO control VALUES (1, '$in_heap', '$in_bytea')");
sql("INSERT INTO control VALUES (1, '$in_log')", fails => qr/control_pkey/);
sql("ALTER TABLE control ALTER t SET DEFAULT '$in_catalog'");
sql("SELECT '$in_duration'");

# ---- crash with a transaction open, recover, and stop

my $session = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
my $open = needle('an open transaction at a crash');
$session->query_safe("BEGIN; INSERT INTO p (id, t) VALUES (400, '$open');");
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->stop('immediate');
eval { $session->quit };
$node->start;
is(sql("SELECT id FROM p WHERE t = '$written[0]'"), '1', 'recovered');
sql('ANALYZE p; VACUUM p;');
$node->safe_psql('postgres', 'CHECKPOINT');
$node->stop;

my $data = $node->data_dir;
my @found = search($data, %controls);
for my $control ([ 'a heap', qr{/base/} ], [ 'a bytea', qr{/base/} ], [ 'a heap', qr{/pg_wal/} ], [ 'a default', qr{/base/} ])
{
	my ($what, $where) = @$control;
	ok((grep { /^$what in / && $_ =~ $where } @found), "the search finds $what in $where");
}
my $logs = PostgreSQL::Test::Utils::tempdir();
system_or_bail('cp', $node->logfile, "$logs/log");
my @logged = search($logs, %controls);
for my $what ('an error', 'a slow statement', 'a heap')
{
	ok((grep { $_ eq "$what in /log" } @logged), "and in the log $what, where it is plain");
}

my $log = slurp_file($node->logfile);
like($log, qr/duration: [0-9.]+ ms  not shown, because it may hold sealed values/, 'how long a statement took is there');
like($log, qr/ERROR:  division by zero/, 'as are errors');

is_deeply([ search($data, %needles) ], [], 'the data directory holds nothing of a sealed column');
is_deeply([ search($logs, %needles) ], [], 'the log neither');
is_deeply([ search("$dir/out", %needles) ], [], 'nor a dump without the right');

done_testing();
