# The trail's format is what docs/trail.md says: the page's example, byte by byte, is
# a trail that the server takes up and that tools/ward-verify reads, with the page's root.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = slurp_file("$ENV{WARD_ROOT}/docs/trail.md");
my @vectors = $page =~ /<!-- vector: \w+ -->\n```\n(.*?)```/sg;
is(scalar(@vectors), 4, 'the page has a header and three frames');
my ($root) = $page =~ /^\| root \| `([0-9a-f]{64})` \|$/m;
my ($root_of_two) = $page =~ /^\| root of two \| `([0-9a-f]{64})` \|$/m;
my ($key) = $page =~ /`(pg_ward\S+\+\S+)`/;

my $node = PostgreSQL::Test::Cluster->new('trail_format');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\n");
my $trail = $node->data_dir . '/ward_trail';
mkdir $trail, 0700 or die;
open(my $file, '>:raw', "$trail/0000000000000000.trail") or die;
print $file pack('H*', s/\s//gr) for @vectors;
close($file);
my ($out) = run_command([ "$ENV{WARD_ROOT}/tools/ward-verify", '--key', $key, $trail ]);
is($out, "node 000102030405060708090a0b0c0d0e0f: 3 records in 1 segments, 1 checkpoints; the first 2 records are signed\nroot $root\nfirst key $key",
	'ward-verify reads the example, with root and key of the page');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_ward');
is($node->safe_psql('postgres', 'SELECT node FROM ward.trail_status'),
	'000102030405060708090a0b0c0d0e0f', 'the server goes on with it');
is($node->safe_psql('postgres', 'SELECT from_root FROM ward.prove_consistency(2) UNION ALL SELECT from_root FROM ward.prove_consistency(3)'),
	"$root_of_two\n$root", 'and reads the same roots');
is($node->safe_psql('postgres', 'SELECT encode(leaf, \'hex\') FROM ward.prove_inclusion(1)'), substr($vectors[2] =~ s/\s//gr, 16), 'and the same record');
# It has not the example's key, and says so.
$node->poll_query_until("postgres", "SELECT first_key IS NOT NULL FROM ward.trail_status") or die;
is($node->safe_psql('postgres', 'SELECT first_key FROM ward.trail_status'), $key, 'the first key is the page\'s');
is($node->safe_psql('postgres', "SELECT problem FROM ward.verify_trail(ARRAY['$key'])"),
	'the chain of keys is broken: a key begins that none before announced and that is not pinned', 'a key of the server\'s own is another chain');
is($node->safe_psql('postgres', "SELECT v.verified, v.signed_records > 2 FROM ward.trail_status t, ward.verify_trail(ARRAY['$key', t.key]) v"), 't|t',
	'with both keys pinned, all is well');

$node->stop;
done_testing();
