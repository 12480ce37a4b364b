# The sealed format can be opened without the server, by a program that shares no code with
# it: tools/ward-open, from a dump made without the right and the key-encryption key. The
# test vectors of docs/envelope.md hold for both.
use strict;
use warnings;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WardKek;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $tool = "$ENV{WARD_ROOT}/tools/ward-open";
for my $name (qw(kek other))
{
	system("umask 077; openssl rand -out $dir/$name 32") == 0 or die "openssl";
}
my $node = PostgreSQL::Test::Cluster->new('open');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nward.kek_file = '$dir/kek'\ntimezone = 'UTC'");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	SELECT ward.create_key('a'), ward.create_key('b', 'none');
	CREATE TABLE plain (id int, x text, y bytea, b bool, n bigint, m numeric, d date, t timestamptz, u uuid, j jsonb);
	INSERT INTO plain VALUES
		(1, 'Ωmega ' || repeat('long ', 3000), '\xdeadbeef', true, 42, 1.50, '2000-02-29', '2000-02-29 12:34:56.789+00', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1.0, "b": [1, "x", null]}'),
		(2, E'tab\there \\ back\nline', '', false, -9223372036854775808, -0.00012300, '1970-01-01', '1969-12-31 23:59:59.5+00', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '"s"'),
		(3, '', '\x00', NULL, 0, 12345678901234567890.5, 'infinity', '-infinity', NULL, 'null'),
		(4, NULL, NULL, NULL, NULL, 'NaN', '0001-01-01', NULL, NULL, NULL),
		(5, 'z', NULL, NULL, NULL, 100000000, NULL, NULL, NULL, NULL);
	CREATE TABLE sealed (id int, x sealed_text('a'), y sealed_bytea('b'), b sealed_bool('a'), n sealed_int8('b'), m sealed_numeric('a'),
		d sealed_date('a'), t sealed_timestamptz('b'), u sealed_uuid('a'), j sealed_jsonb('a'));
	INSERT INTO sealed SELECT * FROM plain WHERE id < 3;
	SELECT ward.rotate_key('a', 'so that there are two versions');
	INSERT INTO sealed SELECT * FROM plain WHERE id >= 3;});
my $dump = "$dir/dump.sql";
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'a dump');

# The rows of a table in a dump.
sub rows
{
	my ($text, $table) = @_;
	my ($rows) = $text =~ /^COPY public\.$table .*?\n(.*?)^\\\.$/ms;
	return $rows;
}
my $sealed = slurp_file($dump);
unlike(rows($sealed, 'sealed'), qr/mega|deadbeef/, 'the dump is sealed');
my ($out, $err) = run_command([ $tool, '--kek', "$dir/kek", $dump ]);
like($err, qr/^29 values opened, 0 left as they were$/m, 'all of it is opened');
is(rows("$out\n", 'sealed'), rows($sealed, 'plain'), 'each value is what was sealed');

($out, $err) = run_command([ $tool, '--kek', "$dir/other", $dump ]);
like($err, qr/another key-encryption key.*^0 values opened, 29 left/ms, 'with another key nothing is');
# One byte changed: that value alone stays closed.
(my $forged = $sealed) =~ s/(\\\\sealed:[A-Za-z0-9+\/]{60})([A-Za-z0-9+\/])/$1 . ($2 eq 'A' ? 'B' : 'A')/e;
append_to_file("$dir/forged.sql", $forged);
($out, $err) = run_command([ $tool, '--kek', "$dir/kek", "$dir/forged.sql" ]);
like($err, qr/^28 values opened, 1 left as they were$/m, 'what was changed is not');

# The page's own vectors, in a server that has its keys, and in a dump.
my $page = slurp_file("$ENV{WARD_ROOT}/docs/envelope.md");
sub secret { my ($name) = @_; return ($page =~ /^\| \Q$name\E \| `([0-9a-f]+)` \|$/m)[0] }
sub armored { my ($hex) = $page =~ /<!-- vector: $_[0] -->\n```\n(.*?)```/s; return "\\sealed:" . encode_base64(pack('H*', $hex =~ s/\s//gr), '') }
my @wrapped = $page =~ /^\| the same, wrapped \| `([0-9a-f]{80})` \|$/mg;
my $fingerprint = secret('its fingerprint');
my $vectors = PostgreSQL::Test::Cluster->new('vectors');
kek_write("$dir/page", pack('H*', secret('KEK')));
$vectors->init;
$vectors->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nward.kek_file = '$dir/page'\ntimezone = 'UTC'");
$vectors->start;
$vectors->safe_psql('postgres', qq{
	CREATE EXTENSION pg_ward;
	INSERT INTO _ward.key (id, name, search, is_default, fingerprint, wrapped)
		SELECT _ward.key_id(n), n, s, n = 'rfl.identity', '\\x$fingerprint', '\\x$wrapped[1]'
		  FROM (VALUES ('rfl.identity', 'equality'), ('rfl.notes', 'none')) k (n, s);
	INSERT INTO _ward.key_version (key, version, state, fingerprint, wrapped)
		SELECT id, 1, 'active', '\\x$fingerprint', '\\x$wrapped[0]' FROM _ward.key;
	CREATE ROLE reader; SELECT ward.grant_unseal(name, 'reader', 'test') FROM _ward.key});
my $rows = '';
for my $kind (qw(text bytea bool int8 numeric date timestamptz uuid jsonb untagged))
{
	my ($value) = $page =~ /`([^`\n]+)`\n\n<!-- vector: $kind -->/;
	my $type = $kind eq 'untagged' ? 'text' : $kind;
	my $key = $kind eq 'untagged' ? 'rfl.notes' : 'rfl.identity';
	my $armor = armored($kind);
	$vectors->safe_psql('postgres', qq{CREATE TABLE v_$kind (x sealed_$type('$key')); INSERT INTO v_$kind VALUES ('$armor'); GRANT SELECT ON v_$kind TO reader});
	is($vectors->safe_psql('postgres', "SET ROLE reader; SELECT x FROM v_$kind"), $value, "the page's $kind in the server");
	next if $kind eq 'untagged';
	is($vectors->safe_psql('postgres', "SELECT count(*) FROM v_$kind WHERE x = '$value'"), '1', "and its tag");
}
is($vectors->safe_psql('postgres', "SELECT '" . armored('literal') . "'::sealed_text::text"), ($page =~ /^As a literal: `(.*)`$/m)[0], 'the literal');
like(($vectors->psql('postgres', "SELECT '" . armored('probe') . "'::sealed_text"))[2], qr/is malformed/, 'a probe is refused');
my $own = "$dir/vectors.sql";
$vectors->command_ok([ 'pg_dump', '-f', $own, $vectors->connstr('postgres') ], 'a dump of them');
($out, $err) = run_command([ $tool, '--kek', "$dir/page", $own ]);
like($err, qr/^10 values opened, 0 left as they were$/m, 'ward-open opens the page\'s vectors');
for my $kind (qw(text bytea bool int8 numeric date timestamptz uuid jsonb untagged))
{
	my ($value) = $page =~ /`([^`\n]+)`\n\n<!-- vector: $kind -->/;
	(my $shown = rows("$out\n", "v_$kind")) =~ s/\\\\/\\/g;
	is($shown, "$value\n", "to the page's $kind");
}
done_testing();
