# The key-encryption key: absent, out of reach, refused, wrong. Four errors, none of
# which stores or shows plaintext, and the server serves what is not sealed in all.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WardKek;

my $node = PostgreSQL::Test::Cluster->new('kek');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $kek = "$dir/kek";
system_or_bail('openssl', 'rand', '-out', $kek, '32');
chmod 0600, $kek;
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
ward.kek_file = '$kek'
});
$node->start;
kek_populate($node);

rename $kek, "$kek.away" or die;
kek_refused($node, 'WD101', 'absent');

mkdir $kek or die;
kek_refused($node, 'WD103', 'a directory in its place');
rmdir $kek;

system_or_bail('cp', "$kek.away", $kek);
chmod 0000, $kek;
kek_refused($node, 'WD102', 'not readable by the server');
chmod 0644, $kek;
kek_refused($node, 'WD103', 'readable by others');
unlink $kek;

system_or_bail('sh', '-c', "umask 077; head -c 31 '$kek.away' > '$kek'");
kek_refused($node, 'WD104', 'too short');
unlink $kek;

system_or_bail('sh', '-c', "umask 077; openssl rand -out '$kek' 32");
kek_refused($node, 'WD104', 'another key');
unlink $kek;

my $inside = $node->data_dir . '/kek';
system_or_bail('sh', '-c', "umask 077; cat '$kek.away' > '$inside'");
$node->append_conf('postgresql.conf', "ward.kek_file = '$inside'");
kek_refused($node, 'WD103', 'inside the data directory');
unlink $inside;
# A link does not hide where it is.
symlink $node->data_dir, "$dir/link" or die;
system_or_bail('sh', '-c', "umask 077; cat '$kek.away' > '$inside'");
$node->append_conf('postgresql.conf', "ward.kek_file = '$dir/link/kek'");
kek_refused($node, 'WD103', 'inside it through a link');
unlink $inside;

$node->append_conf('postgresql.conf', "ward.kek_file = ''");
kek_refused($node, 'WD101', 'not configured');

# Put back, also as hexadecimal digits, everything opens.
$node->append_conf('postgresql.conf', "ward.kek_file = '$kek'");
system_or_bail('sh', '-c', "umask 077; od -An -v -tx1 '$kek.away' | tr -d ' \\n' > '$kek'; echo >> '$kek'");
kek_served($node, 'with the key back, values open');

# A frozen key stops a statement that runs.
$node->safe_psql('postgres', "INSERT INTO sealed SELECT i, 'v' || i FROM generate_series(10, 3000) i");
my $session = $node->background_psql('postgres', extra_params => [ '-U', 'reader' ], on_error_stop => 0);
$session->query_safe('BEGIN');
$session->query_safe('DECLARE c CURSOR FOR SELECT x FROM sealed');
$session->query_safe('FETCH 5 FROM c');
$node->safe_psql('postgres', "SELECT ward.freeze_key('k', 'test')");
$session->query('FETCH 5 FROM c');
like($session->{stderr}, qr/is frozen/, 'a freeze reaches an open cursor');
$session->quit;
$node->safe_psql('postgres', "SELECT ward.thaw_key('k', 'test')");

# Dumped without the right and restored: bit for bit, and never plaintext.
my $dump = "$dir/dump.sql";
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'a superuser without the right dumps');
unlike(slurp_file($dump), qr/planted plaintext/, 'the dump holds no plaintext');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', $dump, $node->connstr('restored') ], 'it restores');
is($node->safe_psql('restored', 'SELECT x FROM sealed WHERE id = 1', extra_params => [ '-U', 'reader' ]),
	'planted plaintext', 'and opens with the same key');
my $bytes = q{SELECT md5(string_agg(sealed_text_send(x)::text, ',' ORDER BY id)) FROM sealed};
is($node->safe_psql('restored', $bytes), $node->safe_psql('postgres', $bytes), 'bit for bit');

# Nothing on disk holds it: heap, WAL, log, trail.
$node->safe_psql('postgres', 'CHECKPOINT');
my $data = $node->data_dir;
my $hits = `grep -r -a -l 'planted plaintext' '$data' || true`;
is($hits, '', 'the data directory holds no plaintext');

done_testing();
