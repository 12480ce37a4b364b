# A server that did not preload the library gets a clear refusal and no half
# installation; preloaded later, it works.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('plain');
$node->init;
$node->start;

my ($status, $out, $err) = $node->psql('postgres', '\set VERBOSITY verbose
CREATE EXTENSION pg_ward');
isnt($status, 0, 'CREATE EXTENSION is refused');
like($err, qr/WD001: +pg_ward must be loaded by shared_preload_libraries/, 'says what is missing');
like($err, qr/HINT: +Set shared_preload_libraries = 'pg_ward'/, 'says what to do');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_namespace WHERE nspname IN ('ward', '_ward')}),
	'0', 'nothing is left behind');

# LOAD into one session is no substitute.
($status, $out, $err) = $node->psql('postgres', q{LOAD 'pg_ward'; CREATE EXTENSION pg_ward});
like($err, qr/must be loaded by shared_preload_libraries/, 'LOAD does not count');

$node->append_conf('postgresql.conf', q{shared_preload_libraries = 'pg_ward'});
$node->restart;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_ward');
is($node->safe_psql('postgres', 'SELECT ward.version() IS NOT NULL'), 't', 'works once preloaded');

# Created, and then the setting is lost: what depends on it says so.
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', q{''});
$node->restart;
($status, $out, $err) = $node->psql('postgres', 'SELECT * FROM ward.verify_trail()');
like($err, qr/must be loaded by shared_preload_libraries/, 'no trail without preloading');
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'other work goes on');

done_testing();
