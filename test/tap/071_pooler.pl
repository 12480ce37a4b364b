# Behind PgBouncer in transaction mode, where many clients share few sessions: who acted is
# attributed by what a transaction says of itself, and every row a client got is in the trail.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($program) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
plan skip_all => 'PgBouncer is not installed' if !$program;

my $node = PostgreSQL::Test::Cluster->new('pooler');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE ROLE app LOGIN;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'name ' || i FROM generate_series(1, 1000) i;
	GRANT SELECT, UPDATE ON person TO app;
	SELECT ward.watch('person', 'id');});

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $port = $node->port;
my $host = $node->host;
open my $out, '>', "$directory/pgbouncer.ini" or die $!;
print $out <<"INI";
[databases]
postgres = host=$host port=$port dbname=postgres user=app
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $directory
auth_type = any
pool_mode = transaction
default_pool_size = 2
logfile = $directory/pgbouncer.log
pidfile = $directory/pgbouncer.pid
ignore_startup_parameters = extra_float_digits
INI
close $out;
system_or_bail($program, '-d', '-q', "$directory/pgbouncer.ini");

my $through = "host=$directory port=$port dbname=postgres user=app";
my $start = $node->safe_psql('postgres', 'SELECT _ward.trail_end()');

# Twenty clients over two sessions, each one its own actor, in turns.
my @clients;
for my $client (1 .. 20)
{
	my $file = "$directory/client$client.sql";
	open $out, '>', $file or die $!;
	for my $turn (0 .. 4)
	{
		my $id = $client * 10 + $turn;
		print $out "BEGIN; SET LOCAL ward.actor = 'actor $client'; SELECT name FROM person WHERE id = $id; COMMIT;\n";
	}
	# Outside a transaction that says so it is nobody's.
	print $out 'SELECT name FROM person WHERE id = ' . ($client * 10 + 9) . ";\n";
	close $out;
	push @clients, IPC::Run::start([ 'psql', '-qAtX', '-d', "$through application_name=client$client", '-f', $file ], '>', "$directory/out$client", '2>', "$directory/err$client");
}
$_->finish for @clients;
is(join('', map { slurp_file("$directory/err$_") } 1 .. 20), '', 'no client had an error');
is(join('', map { slurp_file("$directory/out$_") } 1 .. 20),
	join('', map { my $client = $_; map { 'name ' . ($client * 10 + $_) . "\n" } 0 .. 4, 9 } 1 .. 20), 'each client got its rows');

$node->safe_psql('postgres', 'SELECT ward.sync()');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT c.session) <= 2 FROM _ward.context c WHERE c.session_role = $$app$$'), 't', 'they shared two sessions');
is($node->safe_psql('postgres', q{
	SELECT count(*), count(*) FILTER (WHERE d.actor = 'actor ' || s.member / 10),
	       count(*) FILTER (WHERE d.application = 'client' || s.member / 10)
	  FROM ward.disclosures d, LATERAL _ward.subject_set_members(d.subject_set) s(member)
	 WHERE d.role = 'app' AND s.member % 10 < 5}), '100|100|100', 'each look-up is under its own actor and application');
is($node->safe_psql('postgres', q{
	SELECT count(*), count(*) FILTER (WHERE d.actor = '')
	  FROM ward.disclosures d, LATERAL _ward.subject_set_members(d.subject_set) s(member)
	 WHERE d.role = 'app' AND s.member % 10 = 9}), '20|20', 'what nobody claims is under nobody');

# A client that vanishes in the middle.
my $lost = IPC::Run::start([ 'psql', '-qAtX', '-v', 'FETCH_COUNT=5', '-d', $through, '-c', q{SELECT id, name, pg_sleep(0.01) FROM person WHERE id > 900 ORDER BY id} ], '>', "$directory/lost");
sleep 1;
$lost->kill_kill;
my $after = $node->safe_psql('postgres', q{SELECT name FROM person WHERE id = 1});
is($after, 'name 1', 'the server goes on');
my @received = slurp_file("$directory/lost") =~ /^(\d+)\|/mg;
ok(@received > 0, 'the lost client had received rows');
$node->safe_psql('postgres', 'SELECT ward.sync()');
is($node->safe_psql('postgres', q{
	SELECT count(DISTINCT s.member) FROM ward.disclosures d, LATERAL _ward.subject_set_members(d.subject_set) s(member)
	 WHERE d.role = 'app' AND s.member IN (} . join(',', @received, 0) . ')'), scalar(@received), 'and they are recorded');
is($node->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'the trail is whole');

kill 'INT', slurp_file("$directory/pgbouncer.pid") + 0;
$node->stop;
done_testing();
