# Who the end user is, and how that is known: by a signed token, by the statement's comment,
# or by what the session claims. A token that was forged, changed, moved or has expired is
# refused, and nobody reads one back.
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256_hex);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $secret = join '', map { chr(($_ * 37) % 251) } 1 .. 40;
open(my $file, '>:raw', "$dir/key") or die;
print $file $secret;
close($file);
chmod 0600, "$dir/key" or die;

my $node = PostgreSQL::Test::Cluster->new('actor');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'n' || i FROM generate_series(1, 1000) i;
	ANALYZE person;
	SELECT ward.watch('person', 'id');});

my $id = 0;
# Runs statements that read one person more, and says under whose name that was recorded.
my $actor = sub {
	my ($before, $after) = @_;
	$id++;
	$node->psql('postgres', "$before; SELECT name FROM person WHERE id = $id" . ($after // ''), on_error_stop => 0);
	return $node->safe_psql('postgres', qq{
		SELECT ward.sync() IS NULL;
		SELECT actor, actor_source FROM ward.disclosures WHERE _ward.subject_set_contains(subject_set, $id) AND subjects = 1}) =~ s/^f\n?//r;
};
my $token = sub {
	my ($name, $expires, $session, $key) = @_;
	my $text = "1:$name:" . (time + $expires) . ":$session";
	return "$text:" . hmac_sha256_hex($text, $key // $secret);
};
my $refused = sub {
	my ($token) = @_;
	my ($out, $err);
	$node->psql('postgres', "\\set VERBOSITY verbose\nSET ward.actor_token = '$token'", stderr => \$err);
	return $err =~ /ERROR:  (WD\d+): (.*)/ ? "$1 $2" : $err;
};

# Claims.
is($actor->('SELECT 1'), '|', 'nobody');
is($actor->("SET ward.actor = 'jane'"), 'jane|claimed', 'a claim');
is($actor->('SELECT 1', " /*actor='joe%40example.org'*/"), 'joe@example.org|comment', 'a comment');
is($actor->('SELECT 1', " /*action='show',actor='o\%27neil',route='\%2Fx'*/ ;"), q{o'neil|comment}, 'among other keys');
is($actor->("SET ward.actor = 'jane'", " /*actor='joe'*/"), 'joe|comment', 'the comment goes before the claim');
is($actor->("SET ward.actor = 'jane'", " /* actor is joe */"), 'jane|claimed', 'another comment is none');
is($actor->("SET ward.actor = 'jane'", " /*factor='joe'*/"), 'jane|claimed', 'another key neither');
is($actor->("SET ward.actor = 'jane'", " /*actor='%zz'*/"), 'jane|claimed', 'nor one that is malformed');
is($actor->("SET ward.actor = 'jane'", " AND name <> '/*actor=''joe''*/'"), 'jane|claimed', 'nor a literal');
is($actor->("SELECT 1 /*actor='joe'*/", ''), '|', 'the comment of another statement does not stick');

# Without a key there are no tokens.
is($refused->($token->('jane', 60, '*')), 'WD410 there is no key to verify an actor\'s token', 'no key');
my $key = sub { $node->safe_psql('postgres', "ALTER SYSTEM SET ward.actor_key_file = '$_[0]'"); $node->reload; $node->poll_query_until('postgres', "SELECT current_setting('ward.actor_key_file') = '$_[0]'") or die; return };
$key->("$dir/none");
is($refused->($token->('jane', 60, '*')), 'WD410 could not open the key that verifies an actor\'s token', 'no file');
chmod 0644, "$dir/key" or die;
$key->("$dir/key");
is($refused->($token->('jane', 60, '*')), 'WD411 the key that verifies an actor\'s token is refused', 'one that others may read');
chmod 0600, "$dir/key" or die;
is($refused->($token->('jane', 60, '*')), '', 'the key');

# Tokens.
my $good = $token->('jane%40example.org', 600, '*');
is($actor->("SET ward.actor_token = '$good'"), 'jane@example.org|token', 'a token');
is($actor->("SET ward.actor_token = '$good'; SET ward.actor = 'joe'", " /*actor='joe'*/"), 'jane@example.org|token', 'goes before all claims');
is($actor->("SET ward.actor_token = '$good'; RESET ward.actor_token; SET ward.actor = 'joe'"), 'joe|claimed', 'until it is reset');
is($refused->($token->('jane', 600, '*', 'x' x 40)), "WD413 the actor's token is not authentic", 'signed with another key');
is($refused->($good =~ s/jane/joan/r), "WD413 the actor's token is not authentic", 'a changed name');
is($refused->($good =~ s/:(\d+):/':' . ($1 + 1) . ':'/er), "WD413 the actor's token is not authentic", 'a changed end');
is($refused->(substr($good, 0, -1)), "WD413 the actor's token is not authentic", 'one that is cut');
is($refused->($token->('jane', -1, '*')), "WD413 the actor's token has expired", 'one that has ended');
is($refused->($token->('jane', 600, '65000000.1')), "WD413 the actor's token is for another session", 'of another session');
is($refused->($_), "WD413 the actor's token is malformed", "malformed: $_") for 'x', '1:a:b', '2:a:1:*:00', '1::99999999999:*:00', '1:a:-5:*:00';
is($actor->("SET ward.actor_token = '" . $token->('jane', 600, '*', 'x' x 40) . "'; SET ward.actor = 'joe'"), 'joe|claimed', 'what was refused does not count');
is($node->safe_psql('postgres', "SET ward.actor_token = '$good'; SHOW ward.actor_token; SELECT current_setting('ward.actor_token')"), "(set)\n(set)", 'it is not shown');

my $session = $node->background_psql('postgres');
$session->query_safe("SELECT 1");
my $name = $session->query_safe(q{SELECT to_hex(trunc(extract(epoch FROM backend_start))::int8) || '.' || to_hex(pid) FROM pg_stat_activity WHERE pid = pg_backend_pid()});
my $bound = $token->('bound', 4, $name);
$session->query_safe("SET ward.actor = 'claims'; SET ward.actor_token = '$bound'; SELECT name FROM person WHERE id = 900");
like($refused->($bound), qr/for another session/, 'a session\'s token is not good in another');
# In parallel workers too.
$session->query_safe('SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off; SELECT count(*) FROM person');
sleep 5;
$session->query_safe("SELECT name FROM person WHERE id = 901");
$session->quit;
$node->safe_psql('postgres', 'SELECT ward.sync()');
is($node->safe_psql('postgres', "SELECT string_agg(DISTINCT actor || ' ' || actor_source, ', ') FROM ward.disclosures WHERE _ward.subject_set_contains(subject_set, 900) AND subjects IN (1, 1000)"), 'bound token', 'its session, workers included');
is($node->safe_psql('postgres', "SELECT actor, actor_source FROM ward.disclosures WHERE _ward.subject_set_contains(subject_set, 901) AND subjects = 1"), 'claims|claimed', 'and when it has ended, what is claimed');

my $bytes = join '', map { slurp_file($_) } glob($node->data_dir . '/ward_trail/*');
unlike($bytes, qr/\Q@{[ substr($good, -64) ]}\E/, 'no token is in the trail');
is($node->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'which is whole');

$node->stop;
done_testing();
