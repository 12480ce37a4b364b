# Beside other extensions that hook into the planner, the executor and utility statements,
# loaded before it or after it: everybody is recorded, each neighbour does its work, and
# query ids and plans are the same as without pg_ward.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @neighbours = qw(pg_stat_statements auto_explain pgaudit pg_cron);
my $directory = `pg_config --pkglibdir`;
chomp $directory;
my @missing = grep { !-e "$directory/$_.so" } @neighbours;
plan skip_all => "not installed: @missing" if @missing;

my $node = PostgreSQL::Test::Cluster->new('neighbours');
$node->init;
$node->append_conf('postgresql.conf', q{
compute_query_id = on
log_min_messages = log
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_nested_statements = on
pgaudit.log = 'read, write'
cron.database_name = 'postgres'
include_if_exists = 'preload.conf'
});

my @statements = (
	'SELECT name FROM person WHERE id = 3',
	'SELECT count(*) FROM person WHERE id BETWEEN 10 AND 12',
	'SELECT p.name FROM person p JOIN person q ON q.id = p.id + 1 WHERE p.id = 20',
	'UPDATE person SET name = name WHERE id = 30',
	'COPY (SELECT name FROM person WHERE id = 40) TO STDOUT',
	'SELECT p.name FROM person p ORDER BY p.name LIMIT 1',
	"DO \$\$BEGIN PERFORM name FROM person WHERE id = 50; END\$\$");

sub preload
{
	my (@libraries) = @_;
	open my $out, '>', $node->data_dir . '/preload.conf' or die $!;
	print $out "shared_preload_libraries = '" . join(',', @libraries) . "'\n";
	close $out;
	$node->restart;
	return;
}

# The plans and the ids of the statements' texts.
sub run_statements
{
	my (%seen);
	$node->safe_psql('postgres', 'SELECT pg_stat_statements_reset()');
	$node->safe_psql('postgres', join(";\n", @statements));
	$seen{ids} = $node->safe_psql('postgres', q{
		SELECT queryid, calls, rows, query FROM pg_stat_statements
		 WHERE query LIKE '%person%' AND query NOT LIKE '%pg_stat%' AND query NOT LIKE 'COPY%' ORDER BY query, queryid});
	$seen{plans} = join "\n", map { $node->safe_psql('postgres', "EXPLAIN (COSTS OFF) $_") } grep { /^(SELECT|UPDATE)/ } @statements;
	return \%seen;
}

open my $out, '>', $node->data_dir . '/preload.conf' or die $!;
print $out "shared_preload_libraries = 'pg_stat_statements,auto_explain,pgaudit,pg_cron'\n";
close $out;
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_stat_statements;
	CREATE EXTENSION pgaudit;
	CREATE EXTENSION pg_cron;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'name ' || i FROM generate_series(1, 1000) i;
	ANALYZE person;});
my $before = run_statements();

preload('pg_ward', @neighbours);
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	SELECT ward.watch('person', 'id');});

for my $order (
	[ 'pg_ward', @neighbours ],
	[ @neighbours, 'pg_ward' ],
	[ reverse(@neighbours), 'pg_ward' ],
	[ 'auto_explain', 'pg_ward', 'pg_stat_statements', 'pg_cron', 'pgaudit' ])
{
	my $name = join ', ', @$order;
	preload(@$order);
	my $log = -s $node->logfile;
	my $start = $node->safe_psql('postgres', 'SELECT _ward.trail_end()');
	my $seen = run_statements();
	is($seen->{ids}, $before->{ids}, "$name: pg_stat_statements counts the same statements under the same ids");
	is($seen->{plans}, $before->{plans}, "$name: the plans are the same");

	my $recorded = $node->safe_psql('postgres', qq{
		SELECT ward.sync();
		SELECT string_agg(DISTINCT format('%s:%s', d.manner, s.member), ' ' ORDER BY format('%s:%s', d.manner, s.member))
		  FROM ward.disclosures d, LATERAL _ward.subject_set_members(d.subject_set) s(member)
		 WHERE d.first_position >= $start});
	my %people = map { (split /:/)[1] => 1 } split / /, $recorded;
	is(join(' ', sort { $a <=> $b } grep { $_ != 1 } keys %people), '3 10 11 12 20 21 30 40 50', "$name: exactly these people are recorded");
	my $text = slurp_file($node->logfile, $log);
	like($text, qr/AUDIT: SESSION,\d+,\d+,READ,SELECT,,,SELECT name FROM person WHERE id = 3/, "$name: pgaudit logs the reads");
	like($text, qr/duration: [\d.]+ ms  plan:\s+Query Text: SELECT name FROM person WHERE id = 3/, "$name: auto_explain logs the plans");
}

is($node->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'the trail is whole');

$node->stop;
done_testing();
