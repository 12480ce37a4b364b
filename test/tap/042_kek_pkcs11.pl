# A key-encryption key in a token (SoftHSM): the four errors, a PIN that is never
# tried too often, sessions that get lost, and the same key in a file.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use WardKek;

my ($softhsm) = grep { -e } glob('/usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so');
die 'SoftHSM is not installed (package softhsm2)' unless $softhsm;

my $node = PostgreSQL::Test::Cluster->new('pkcs11');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $wish = "$dir/wish";
my $logins = "$dir/logins";
my $pin_file = "$dir/pin";
my $module = "$dir/fault.so";
$ENV{SOFTHSM2_CONF} = "$dir/softhsm2.conf";
$ENV{PKCS11_FAULT_MODULE} = $softhsm;
$ENV{PKCS11_FAULT_WISH} = $wish;
$ENV{PKCS11_FAULT_LOGINS} = $logins;
mkdir "$dir/tokens";
kek_write($ENV{SOFTHSM2_CONF}, "directories.tokendir = $dir/tokens\nobjectstore.backend = file\nlog.level = ERROR\n");

sub quietly { run_log([@_], '>', '/dev/null', '2>&1') or die "@_"; return; }
quietly('gcc', '-shared', '-fPIC', '-o', $module, "$FindBin::RealBin/lib/pkcs11_fault.c");
quietly('softhsm2-util', '--init-token', '--free', '--label', 'ward', '--so-pin', '12345678', '--pin', '87654321');
quietly('openssl', 'rand', '-out', "$dir/kek", '32');
chmod 0600, "$dir/kek";
sub import_key
{
	my ($file, $label, $id) = @_;
	my $size = -s $file;
	# softhsm2-util would end a binary key at its first zero byte.
	quietly('pkcs11-tool', '--module', $softhsm, '--token-label', 'ward', '--login', '--pin', '87654321',
		'--write-object', $file, '--type', 'secrkey', '--key-type', "AES:$size", '--usage-wrap',
		'--private', '--sensitive', '--label', $label, '--id', $id);
	return;
}
import_key("$dir/kek", 'kek', '01');
kek_write($pin_file, "87654321\n");

my %file = (kek_provider => 'file', kek_file => "$dir/kek");
my %token = (
	kek_provider => 'pkcs11',
	kek_pkcs11_module => $softhsm,
	kek_pkcs11_token => 'ward',
	kek_pkcs11_key => 'kek',
	kek_pkcs11_pin_file => $pin_file);

$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
include = 'kek.conf'
});
kek_conf($node, %token);
$node->start;
kek_populate($node);
kek_served($node, 'what the token wrapped, it unwraps');

# The same key in a file wraps and identifies alike, both ways.
my $fingerprint = $node->safe_psql('postgres', 'SELECT _ward.kek_fingerprint()');
kek_conf($node, %file);
kek_served($node, 'what the token wrapped, the same key in a file unwraps');
is($node->safe_psql('postgres', 'SELECT _ward.kek_fingerprint()'), $fingerprint, 'with the same fingerprint');
$node->safe_psql('postgres', q{
	SELECT ward.create_key('from file');
	SELECT ward.grant_unseal('from file', 'reader', 'test');
	CREATE TABLE other (x sealed_text('from file'));
	INSERT INTO other VALUES ('wrapped in a file');
	GRANT SELECT ON other TO reader;
});
kek_conf($node, %token);
$node->restart;
my ($status, $out, $err) = kek_reader($node, 'SELECT x FROM other');
is($out, 'wrapped in a file', 'what a file wrapped, the same key in the token unwraps');
is($node->safe_psql('postgres', q{SELECT DISTINCT state FROM ward.kek_check()}), 'good', 'the check agrees');

# A process that had a token open ends as usual: a crash here would take all down.
for (1 .. 5) { $node->safe_psql('postgres', 'SELECT _ward.kek_fingerprint()'); }
unlike(slurp_file($node->logfile), qr/terminated by signal|was terminated/, 'no process died of its token');

# Damage is told from a token that fails.
$node->safe_psql('postgres', q{
	SELECT ward.create_key('hurt');
	UPDATE _ward.key_version v SET wrapped = set_byte(v.wrapped, 20, get_byte(v.wrapped, 20) # 1)
	  FROM _ward.key k WHERE k.id = v.key AND k.name = 'hurt';
});
is($node->safe_psql('postgres', q{SELECT state FROM ward.kek_check() WHERE key = 'hurt' AND version = 1}),
	'damaged', 'a damaged key is found out in the token');
$node->safe_psql('postgres', q{DELETE FROM _ward.key WHERE name = 'hurt'});

# Absent.
for my $name (qw(kek_pkcs11_module kek_pkcs11_token kek_pkcs11_key kek_pkcs11_pin_file))
{
	kek_conf($node, %token, $name => '');
	kek_refused($node, 'WD101', "$name is not set");
}
kek_conf($node, %token, kek_pkcs11_module => "$dir/nowhere.so");
kek_refused($node, 'WD101', 'no such module');
kek_conf($node, %token, kek_pkcs11_token => 'other');
kek_refused($node, 'WD101', 'no such token');
kek_conf($node, %token, kek_pkcs11_key => 'other');
kek_refused($node, 'WD101', 'no such key');
kek_conf($node, %token, kek_pkcs11_pin_file => "$dir/nowhere");
kek_refused($node, 'WD101', 'no such PIN file');

# Unreachable.
kek_write("$dir/text.so", "no module\n");
kek_conf($node, %token, kek_pkcs11_module => "$dir/text.so");
kek_refused($node, 'WD102', 'what is no module');
my %faulty = (%token, kek_pkcs11_module => $module);
kek_conf($node, %faulty);
kek_write($wish, 'device');
kek_refused($node, 'WD102', 'a token with a fault');
kek_write($wish, 'unwrap');
$node->restart;
($status, $out, $err) = kek_reader($node, 'SELECT x FROM sealed');
like($err, qr/\bWD102: /, 'a token that fails to unwrap anything is unreachable, and the key not called damaged');
unlink $wish;
kek_served($node, 'a token that works again');

# Refused.
kek_conf($node, %token, kek_pkcs11_module => 'libsofthsm2.so');
kek_refused($node, 'WD103', 'a module without its path');
chmod 0640, $pin_file;
kek_conf($node, %token);
kek_refused($node, 'WD103', 'a PIN file that others can read');
chmod 0600, $pin_file;
my $inside = $node->data_dir . '/pin';
kek_write($inside, "87654321\n");
kek_conf($node, %token, kek_pkcs11_pin_file => $inside);
kek_refused($node, 'WD103', 'a PIN file in the data directory');
unlink $inside;
import_key("$dir/kek", 'twice', '02');
import_key("$dir/kek", 'twice', '03');
kek_conf($node, %token, kek_pkcs11_key => 'twice');
kek_refused($node, 'WD103', 'two keys of one label');
kek_conf($node, %faulty);
kek_write($wish, 'mechanism');
kek_refused($node, 'WD103', 'a token without AES-KWP');

# Refused: a wrong PIN is tried once, whoever comes, until its file changes.
sub logins { return -e $logins ? scalar(split /\n/, slurp_file($logins)) : 0; }
unlink $wish;
kek_write($pin_file, "11112222\n");
unlink $logins;
kek_refused($node, 'WD103', 'a wrong PIN');
$node->psql('postgres', 'SELECT _ward.kek_fingerprint()') for 1 .. 3;
is(logins(), 1, 'a wrong PIN is tried once by the whole server');
kek_write($pin_file, "33334444\n");
($status, $out, $err) = kek_reader($node, 'SELECT x FROM sealed');
like($err, qr/\bWD103: /, 'another wrong PIN');
is(logins(), 2, 'a PIN file that changed is tried again');
unlike($err, qr/11112222|33334444/, 'the error does not show it');
kek_write($pin_file, "87654321");
($status, $out, $err) = kek_reader($node, 'SELECT x FROM sealed WHERE id = 1');
is($out, 'planted plaintext', 'the right PIN works without a restart');
unlike(slurp_file($node->logfile), qr/11112222|33334444|87654321/, 'the log shows no PIN');
kek_write($wish, 'final');
unlink $logins;
kek_refused($node, 'WD103', 'a token whose PIN has one try left');
is(logins(), 0, 'the last try is not taken');
unlink $wish;

# Corrupt.
kek_write("$dir/empty", '');
kek_conf($node, %token, kek_pkcs11_pin_file => "$dir/empty");
kek_refused($node, 'WD104', 'an empty PIN file');
quietly('openssl', 'rand', '-out', "$dir/short", '16');
import_key("$dir/short", 'short', '04');
kek_conf($node, %token, kek_pkcs11_key => 'short');
kek_refused($node, 'WD104', 'a key of AES-128');
quietly('openssl', 'rand', '-out', "$dir/wrong", '32');
import_key("$dir/wrong", 'wrong', '05');
kek_conf($node, %token, kek_pkcs11_key => 'wrong');
kek_refused($node, 'WD104', 'another key');

# A session that is lost is opened again, once, in the process that had it.
kek_conf($node, %faulty);
$node->restart;
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe('SELECT _ward.kek_fingerprint()');
unlink $logins;
kek_write($wish, 'lost');
is($session->query_safe('SELECT _ward.kek_fingerprint()'), $fingerprint, 'a lost session is opened again');
is(logins(), 1, 'with one log-in');
kek_write($wish, 'device');
$session->query('SELECT _ward.kek_fingerprint()');
like($session->{stderr}, qr/could not identify/, 'a token that stays away is an error');
$session->{stderr} = '';
unlink $wish;
is($session->query_safe('SELECT _ward.kek_fingerprint()'), $fingerprint, 'and serves when it is back');

# A change of settings reaches a process that has a token open.
kek_conf($node, %faulty, kek_pkcs11_key => 'wrong');
$node->reload;
my $now = $fingerprint;
for (1 .. 600)
{
	# The signal reaches the process when it will.
	last if ($now = $session->query_safe('SELECT _ward.kek_fingerprint()')) ne $fingerprint;
	usleep(50_000);
}
isnt($now, $fingerprint, 'a changed setting takes effect');
$session->quit;

# From one key to another in the same token, and from there to a file.
quietly('openssl', 'rand', '-out', "$dir/kek2", '32');
chmod 0600, "$dir/kek2";
import_key("$dir/kek2", 'kek2', '06');
my %previous = map { (my $name = $_) =~ s/^kek_/kek_previous_/; $name => $faulty{$_} } keys %faulty;
kek_conf($node, %faulty, kek_pkcs11_key => 'kek2', %previous);
kek_served($node, 'the previous key is in the same token');
kek_write($wish, 'lost');
is($node->safe_psql('postgres', 'SELECT ward.rewrap_keys()'), '4', 'from key to key in one token, a session lost between');
is($node->safe_psql('postgres', q{SELECT DISTINCT state, kek FROM ward.kek_check()}), 'good|current', 'all of it');
kek_conf($node, kek_file => "$dir/kek2");
kek_served($node, 'the same key in a file opens what the token rewrapped');

unlike(slurp_file($node->logfile), qr/terminated by signal|was terminated/, 'no process died of its token');
$node->stop;
done_testing();
