# The trail's format is what docs/trail.md says: the page's example, byte by byte, is
# a trail that the server takes up, and its root is the page's.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = slurp_file("$ENV{WARD_ROOT}/docs/trail.md");
my @vectors = $page =~ /<!-- vector: \w+ -->\n```\n(.*?)```/sg;
is(scalar(@vectors), 3, 'the page has a header and two frames');
my ($root) = $page =~ /^\| root \| `([0-9a-f]{64})` \|$/m;

my $node = PostgreSQL::Test::Cluster->new('trail_format');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\n");
my $trail = $node->data_dir . '/ward_trail';
mkdir $trail, 0700 or die;
open(my $file, '>:raw', "$trail/0000000000000000.trail") or die;
print $file pack('H*', s/\s//gr) for @vectors;
close($file);
$node->start;
$node->safe_psql('postgres', q{
	CREATE FUNCTION trail_verified(OUT verified boolean, OUT records bigint, OUT root text, OUT problem text, OUT place text)
		LANGUAGE c AS 'pg_ward', 'ward_verify_trail'});
is($node->safe_psql('postgres', 'SELECT verified, records, root, problem FROM trail_verified()'),
	"t|2|$root|", 'the server reads the example as a whole trail, with the root of the page');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_ward');
is($node->safe_psql('postgres', 'SELECT node FROM ward.trail_status'),
	'000102030405060708090a0b0c0d0e0f', 'and goes on with it');
like($node->safe_psql('postgres', 'SELECT verified, records FROM ward.verify_trail()'), qr/^t\|[3-9]$/, 'as the same trail');

$node->stop;
done_testing();
