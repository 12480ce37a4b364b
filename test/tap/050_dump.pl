# Dump and restore: with the right what is sealed passes in clear and is sealed again under
# its column's key; without it ciphertext passes and comes back bit for bit. Nothing is ever
# sealed twice.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WardSample;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = sample_node('dump', sample_kek("$dir/kek"));
sample_populate($node);
my $sealed = sample_sealed($node, 'postgres');
my $plain = sample_plain($node, 'postgres');
my $catalog = sample_catalog($node, 'postgres');
isnt($sealed, $plain, 'without the right one sees something else');
sample_works($node, 'postgres', 'the source');

my $dumps = 0;

sub dumped
{
	my ($as, @options) = @_;
	my $file = "$dir/dump" . ++$dumps;
	$node->command_ok([ 'pg_dump', '-U', $as, @options, '-f', $file, $node->connstr('postgres') ], "dumped as $as (@options)");
	return $file;
}

sub psql_file
{
	my ($target, $database, $file, @options) = @_;
	return [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $target->connstr($database), @options, '-f', $file ];
}

sub restored
{
	my ($target, $database, $file, @options) = @_;
	$target->command_ok(psql_file($target, $database, $file, @options), "restored into $database (@options)");
	return;
}

sub pg_restored
{
	my ($target, $database, $file, @options) = @_;
	$target->command_ok([ 'pg_restore', '-e', @options, '-d', $target->connstr($database), $file ], "restored into $database (@options)");
	return;
}

# The stored bytes are the same, or (resealed) others with the same content.
sub same
{
	my ($target, $database, $what, $resealed) = @_;
	if ($resealed)
	{
		isnt(sample_sealed($target, $database), $sealed, "$what: sealed anew");
	}
	else
	{
		is(sample_sealed($target, $database), $sealed, "$what: bit for bit");
	}
	is(sample_plain($target, $database), $plain, "$what: opens as before");
	is(sample_catalog($target, $database), $catalog, "$what: the catalog is the same");
	return;
}

# A superuser without the right, as any administrator is.
my $file = dumped('blind', '-n', 'app', '--enable-row-security');
unlike(slurp_file($file), qr/planted/, 'an ordinary role without the right dumps no plaintext');
$node->safe_psql('postgres', 'ALTER ROLE backup SUPERUSER');
$file = dumped('backup');
unlike(slurp_file($file), qr/planted/, 'nor does a superuser');
is(join(' ', sort(slurp_file($file) =~ /^COPY _ward\.(\w+)/mg)),
	'canary copy evidence_hold guard_limit incident incident_group incident_question incident_version key key_hold key_version notification '
	  . 'notification_columns notification_log sealed_column standby subject_description unseal_grant watch',
	'of the extension what people have entered is dumped, and nothing of the trail or its index');
unlike(slurp_file($file), qr/_ward\.disclosure/, 'and nothing of the index');
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(blind1 blind2 blind3 blind4 blind5 clear1 clear2 clear3 clear4 owned);
restored($node, 'blind1', $file);
same($node, 'blind1', 'plain, without the right');
sample_works($node, 'blind1', 'plain, without the right');
$node->command_fails(psql_file($node, 'blind1', $file), 'a second time it collides');
same($node, 'blind1', 'after the second time');
# As does what was dumped from a copy.
$node->command_ok([ 'pg_dump', '-U', 'backup', '-Fc', '-f', "$dir/again", $node->connstr('blind1') ], 'the copy is dumped');
pg_restored($node, 'blind2', "$dir/again");
same($node, 'blind2', 'a copy of the copy');
restored($node, 'blind3', dumped('backup', '--inserts', '--rows-per-insert=7'));
same($node, 'blind3', 'as INSERTs');

# Sections by themselves, the keys first: so many processes can restore at once.
$file = dumped('backup', '-Fd', '-j2');
pg_restored($node, 'blind4', $file, '--section=pre-data');
pg_restored($node, 'blind4', $file, '--section=data', '-n', '_ward');
pg_restored($node, 'blind4', $file, '--section=data', '-N', '_ward', '-j2');
pg_restored($node, 'blind4', $file, '--section=post-data', '-j2');
same($node, 'blind4', 'a directory, by two processes');
sample_works($node, 'blind4', 'a directory, by two processes');

# Structure and data apart.
restored($node, 'blind5', dumped('backup', '--schema-only'));
is($node->safe_psql('blind5', 'SELECT count(*) FROM app.person, _ward.key'), '0', 'the structure alone');
restored($node, 'blind5', dumped('backup', '--data-only', '--disable-triggers'));
$node->safe_psql('blind5', 'REFRESH MATERIALIZED VIEW app.codes');
same($node, 'blind5', 'structure and data apart');

# With the right.
$node->safe_psql('postgres', q{SELECT ward.grant_unseal(k, 'backup', 'test') FROM unnest('{dump.a,dump.b,dump.none}'::text[]) k});
$file = dumped('backup');
like(slurp_file($file), qr/planted plaintext.*planted body/s, 'with the right the dump is in clear');
restored($node, 'clear1', $file);
same($node, 'clear1', 'plain, with the right', 1);
sample_works($node, 'clear1', 'plain, with the right');
pg_restored($node, 'clear2', dumped('backup', '-Fc'));
same($node, 'clear2', 'custom, with the right', 1);
restored($node, 'clear3', dumped('backup', '--column-inserts'));
same($node, 'clear3', 'as INSERTs, with the right', 1);
my $parallel = dumped('backup', '-Fd', '-j2');
pg_restored($node, 'clear4', $parallel, '--section=pre-data');
pg_restored($node, 'clear4', $parallel, '--section=data', '-n', '_ward');
pg_restored($node, 'clear4', $parallel, '--section=data', '-N', '_ward', '-j2');
pg_restored($node, 'clear4', $parallel, '--section=post-data', '-j2');
same($node, 'clear4', 'a directory, with the right', 1);

# An ordinary owner restores where the keys are, what was dumped without the right.
$node->safe_psql('postgres', q{REVOKE pg_read_all_data FROM owner});
$node->command_ok([ 'pg_dump', '-U', 'postgres', '-n', 'app', '-Fc', '-f', "$dir/app", $node->connstr('postgres') ], 'the schema alone is dumped');
$node->command_ok([ 'pg_dump', '-U', 'postgres', '--data-only', '-t', '_ward.key', '-t', '_ward.key_version', '-t', '_ward.unseal_grant', '-f', "$dir/keys", $node->connstr('postgres') ], 'and the keys');
$node->command_ok([ 'pg_dump', '-U', 'postgres', '--data-only', '-t', '_ward.watch', '-t', '_ward.sealed_column', '-f', "$dir/rest", $node->connstr('postgres') ], 'and the rest of the configuration');
$node->safe_psql('owned', 'CREATE EXTENSION pg_ward; GRANT CREATE ON DATABASE owned TO owner');
my $armor = sample_as($node, 'postgres', 'blind', 'SELECT code FROM app.person WHERE id = 1');
my ($status, $out, $err) = $node->psql('owned', "SET ROLE owner; CREATE TEMP TABLE early (x sealed_text('dump.a')); INSERT INTO early VALUES ('$armor')");
like($err, qr/sealed value is not accepted as input/, 'without the keys an owner can not restore') or diag($out);
restored($node, 'owned', "$dir/keys");
pg_restored($node, 'owned', "$dir/app", '-U', 'owner', '--no-owner', '--no-acl');
restored($node, 'owned', "$dir/rest");
$node->safe_psql('owned', 'GRANT USAGE ON SCHEMA app TO reader, blind');
same($node, 'owned', 'by an ordinary owner');
sample_works($node, 'owned', 'by an ordinary owner');

# Row security: what the policy hides is not dumped, and without the option it is refused.
my $limited = [ 'pg_dump', '-U', 'blind', '-t', 'app.note', '--data-only', $node->connstr('postgres') ];
$node->command_fails_like($limited, qr/row-level security/, 'row security stops a dump');
my $rows = `pg_dump -U blind -t app.note --data-only --enable-row-security '@{[ $node->connstr('postgres') ]}'`;
is(scalar(() = $rows =~ /^\d+\t\\\\sealed:/mg), 199, 'with it, what the policy shows is dumped, sealed');

# Another cluster: the same key-encryption key, and another one.
my $other = sample_node('other', "$dir/kek");
$node->safe_psql('postgres', q{SELECT ward.revoke_unseal(k, 'backup', 'test') FROM unnest('{dump.a,dump.b,dump.none}'::text[]) k});
my $blind = dumped('backup');
command_ok([ 'pg_dumpall', '-r', '--no-role-passwords', '-f', "$dir/roles", '-d', $node->connstr('postgres') ], 'the roles are dumped');
restored($other, 'postgres', "$dir/roles", '-v', 'ON_ERROR_STOP=0');
$other->safe_psql('postgres', 'CREATE DATABASE blind; CREATE DATABASE clear');
restored($other, 'blind', $blind);
same($other, 'blind', 'another cluster');
sample_works($other, 'blind', 'another cluster');
restored($other, 'clear', $file);
same($other, 'clear', 'another cluster, with the right', 1);
is($other->safe_psql('blind', 'SELECT DISTINCT state FROM ward.kek_check()'), 'good', 'its keys fit');

my $stranger = sample_node('stranger', sample_kek("$dir/kek2"));
restored($stranger, 'postgres', "$dir/roles", '-v', 'ON_ERROR_STOP=0');
$stranger->safe_psql('postgres', 'CREATE DATABASE blind; CREATE DATABASE clear');
$stranger->command_fails_like([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-o', '/dev/null', '-d', $stranger->connstr('blind'), '-f', $blind ],
	qr/ERROR:  WD104: /, 'under another key-encryption key a restore is refused');
$stranger->command_fails_like([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-o', '/dev/null', '-d', $stranger->connstr('clear'), '-f', $file ],
	qr/ERROR:  WD104: /, 'as is one of plaintext');
is($stranger->safe_psql('clear', 'SELECT count(*) FROM app.kinds'), '0', 'and nothing is stored');

# Without any of it on disk.
$_->stop for $node, $other, $stranger;
for my $data (map { $_->data_dir } $node, $other, $stranger)
{
	is(`grep -r -a -l 'planted' '$data' || true`, '', 'no data directory holds plaintext');
}
done_testing();
