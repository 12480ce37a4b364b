# Changing the key-encryption key: nothing sealed is touched, sessions go on, a crash
# leaves all old or all new, and afterwards the old key is not needed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WardKek;

my $node = PostgreSQL::Test::Cluster->new('change');
my $dir = PostgreSQL::Test::Utils::tempdir();
for my $name (qw(a b))
{
	system_or_bail('openssl', 'rand', '-out', "$dir/$name", '32');
	chmod 0600, "$dir/$name";
}
my %a = (kek_file => "$dir/a");
my %b = (kek_file => "$dir/b");
my %previous_a = (kek_previous_provider => 'file', kek_previous_file => "$dir/a");

$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
include = 'kek.conf'
});
kek_conf($node, %a);
$node->start;
kek_populate($node);
$node->safe_psql('postgres', q{
	SELECT ward.create_key('second', 'none');
	SELECT ward.grant_unseal('second', 'reader', 'test');
	CREATE TABLE other (x sealed_text('second'));
	INSERT INTO other SELECT 'v' || i FROM generate_series(1, 100) i;
	GRANT SELECT ON other TO reader;
});
my $bytes = q{SELECT md5(string_agg(sealed_text_send(x)::text, ',' ORDER BY ctid)) FROM other};
my $stored = $node->safe_psql('postgres', $bytes);

sub check { return $node->safe_psql('postgres', q{SELECT state, coalesce(kek, 'neither'), count(*) FROM ward.kek_check() GROUP BY 1, 2 ORDER BY 1, 2}); }
sub opens
{
	my ($what) = @_;
	my ($status, $out, $err) = kek_reader($node, q{SELECT count(x::text) FROM other; SELECT x FROM sealed});
	is($out, "100\nplanted plaintext", $what) or diag($err);
	return;
}

is(check(), 'good|current|4', 'all is under the current key');
is($node->safe_psql('postgres', 'SELECT ward.rewrap_keys()'), '0', 'and nothing is to be done');

# The new key without the old one: refused, clearly.
kek_conf($node, %b);
kek_refused($node, 'WD104', 'the old key is not configured');
is(check(), 'wrapped by another key-encryption key|neither|4', 'the check says so');
my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT ward.rewrap_keys()");
like($err, qr/\bWD104: .*\n.*\nHINT: .*kek_previous/, 'rewrapping is refused and names the settings');
kek_conf($node, %b, kek_previous_provider => 'file', kek_previous_file => "$dir/nowhere");
kek_refused($node, 'WD101', 'the old key is absent');
($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT ward.rewrap_keys()");
like($err, qr/\bWD101: /, 'so is rewrapping');
like(($node->psql('postgres', 'SELECT * FROM ward.kek_check()'))[2], qr/WARNING: .*previous.*does not exist/, 'the check warns');

# Both: what either wrapped opens.
kek_conf($node, %b, %previous_a);
kek_served($node, 'with both configured, what the old key wrapped opens');
$node->safe_psql('postgres', q{SELECT ward.create_key('new'); SELECT ward.grant_unseal('new', 'reader', 'test');
	CREATE TABLE fresh (x sealed_text('new')); INSERT INTO fresh VALUES ('under the new one'); GRANT SELECT ON fresh TO reader});
is(check(), "good|current|2\ngood|previous|4", 'a new key is wrapped by the current one');
$node->restart;
is((kek_reader($node, 'SELECT x FROM fresh'))[1], 'under the new one', 'and opens after a restart');
opens('as do the old ones');

# One of the two out of reach does not take what the other wrapped along.
kek_conf($node, kek_file => "$dir/nowhere", %previous_a);
$node->restart;
opens('the old key serves where the new one can not be had');
like((kek_reader($node, 'SELECT x FROM fresh'))[2], qr/\bWD101: /, 'what the new one wrapped does not open');
like(($node->psql('postgres', 'SELECT ward.rewrap_keys()'))[2], qr/does not exist/, 'nothing is rewrapped without the new key');
kek_conf($node, %b, %previous_a);
$node->restart;

# Who may not, may not.
like((kek_reader($node, 'SELECT ward.rewrap_keys()'))[2], qr/permission denied/, 'a reader may not rewrap');

# A crash before the commit: all old. Nothing of it stays.
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
is($session->query_safe('SELECT ward.rewrap_keys()'), '4', 'four secrets are rewrapped');
$node->stop('immediate');
eval { $session->quit };
$node->start;
is(check(), "good|current|2\ngood|previous|4", 'after a crash before the commit all are old');
opens('and open');

# A damaged secret stops it, with nothing changed.
my $spoil = q{UPDATE _ward.key_version v SET wrapped = set_byte(v.wrapped, 20, get_byte(v.wrapped, 20) # 1)
	FROM _ward.key k WHERE k.id = v.key AND k.name = 'second'};
$node->safe_psql('postgres', $spoil);
($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT ward.rewrap_keys()");
like($err, qr/\bWD204: .*"second" is damaged/, 'a damaged secret is named');
is(check(), "damaged|neither|1\ngood|current|2\ngood|previous|3", 'and nothing was changed');
$node->safe_psql('postgres', $spoil);

# A statement that began under the old settings goes on: they are read again only
# between statements, so it knows the old key alone, and not even that is left.
kek_conf($node, %a);
$node->safe_psql('postgres', q{DELETE FROM _ward.key WHERE name = 'new'; DROP TABLE fresh});
$node->restart;
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
my $reader = $node->background_psql('postgres', extra_params => [ '-U', 'reader' ]);
$reader->query_until(qr/started/, qq{\\echo started
SELECT count(x::text) FROM other WHERE (SELECT true FROM pg_advisory_lock_shared(1)) OR x::text = '';
SELECT x FROM sealed;
\\echo finished
});
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)}) or die;
kek_conf($node, %b, %previous_a);
$node->reload;
my $idle = $node->background_psql('postgres', extra_params => [ '-U', 'reader' ]);
is($idle->query_safe('SELECT x FROM sealed'), 'planted plaintext', 'a session reads before');
$node->poll_query_until('postgres', q{SELECT current_setting('ward.kek_previous_provider') = 'file'}) or die;
is($node->safe_psql('postgres', 'SELECT ward.rewrap_keys()'), '4', 'all secrets are rewrapped');
rename "$dir/a", "$dir/a.away" or die;
$gate->quit;
($out) = $reader->query_until(qr/finished/, "\n");
like($out, qr/^100\nplanted plaintext\nfinished/m, 'the statement that ran goes on, and so does its session') or diag($reader->{stderr});
is($idle->query_safe('SELECT x FROM sealed'), 'planted plaintext', 'a session reads after');
$_->quit for $reader, $idle;

is(check(), 'good|current|4', 'all is under the new key');
is($node->safe_psql('postgres', 'SELECT ward.rewrap_keys()'), '0', 'again there is nothing to be done');
is($node->safe_psql('postgres', $bytes), $stored, 'no sealed value was touched');
$node->stop('immediate');
kek_conf($node, %b);
$node->start;
opens('after a crash and without the old key everything opens');
is(check(), 'good|current|4', 'all of it is new');
is($node->safe_psql('postgres', q{SELECT verified FROM ward.verify_trail()}), 't', 'the trail is whole');
my $trail = $node->data_dir;
isnt(`grep -r -a -l 'kek.rewrapped' '$trail'/*trail*`, '', 'and has the event');

# To another provider.
my $hex = join '', map { sprintf '%02x', int rand 256 } 1 .. 32;
kek_write("$dir/c", "$hex\n");
my %c = (kek_provider => 'command', kek_command => "cat '$dir/c'");
kek_conf($node, %c, kek_previous_provider => 'file', kek_previous_file => "$dir/b");
$node->restart;
opens('with the next key in a command');
is($node->safe_psql('postgres', 'SELECT ward.rewrap_keys()'), '4', 'to a command');
unlink "$dir/b";
kek_conf($node, %c);
$node->restart;
opens('what the command wrapped opens');

$node->stop;
done_testing();
