# A statement that is cut short after rows have left: whatever the client received is in the
# trail, as certain, though the executor never came to its end. Cancelled, timed out,
# terminated, killed, the client gone; in the middle of a result, a portal's piece, a COPY, a
# cursor's FETCH, a function's rows; and with a parallel worker cut off instead.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 20000;
my $node = PostgreSQL::Test::Cluster->new('cut_short');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
autovacuum = off
restart_after_crash = on
max_worker_processes = 16
});
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION pg_ward;
	CREATE TABLE person (id int PRIMARY KEY, pad text);
	INSERT INTO person SELECT i, repeat('x', 400) FROM generate_series(1, $rows) i;
	CREATE TABLE other AS SELECT * FROM person;
	ANALYZE person, other;
	CREATE FUNCTION each_person() RETURNS TABLE (id int, pad text) LANGUAGE plpgsql AS \$\$
	BEGIN
		FOR id, pad IN SELECT p.id, p.pad FROM person p LOOP RETURN NEXT; END LOOP;
	END \$\$;
	SELECT ward.watch('person', 'id');
	CREATE TABLE shown (client text, id int);});

# Runs a client; what it was shown, how it ended, and what of that the trail lacks.
sub cut_short
{
	my ($way, $cut, %more) = @_;
	my $name = "$way, $cut";
	my ($out, $err);
	IPC::Run::run([ 'python3', "$ENV{WARD_ROOT}/test/tap/lib/cut_client.py", $node->host . '/.s.PGSQL.' . $node->port, $name, $way, $cut ],
		'>', \$out, '2>', \$err);
	my @ids = split /\n/, $out;
	$err =~ s/\n/ /g;
	# The server itself goes down with a process that is killed.
	if ($cut =~ /kill/) { $node->poll_query_until('postgres', 'SELECT 1', '1') or BAIL_OUT('the server did not come back'); }
	# A backend that the client has left notices it as it writes.
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = '$name'") or die;
	my $manners = $more{manners} // q{'row'};
	my $result = $node->safe_psql('postgres', "TRUNCATE shown;\nCOPY shown (id) FROM STDIN;\n" . join('', map { "$_\n" } @ids) . "\\.\n" . qq{
		DO \$\$BEGIN PERFORM ward.sync(); END\$\$;
		CREATE TEMP TABLE told AS
			SELECT DISTINCT m AS id FROM ward.disclosures d, _ward.subject_set_members(d.subject_set) m
			 WHERE d.application = '$name' AND d.manner IN ($manners);
		SELECT count(*) FILTER (WHERE t.id IS NULL), (SELECT count(*) FROM told), count(*),
		       (SELECT count(*) FROM ward.disclosures d WHERE d.application = '$name' AND d.manner = 'all')
		  FROM shown s LEFT JOIN told t ON t.id = s.id});
	my ($lost, $told, $count, $all) = split /\|/, $result;
	cmp_ok($count, '>', 100, "$name: rows were shown ($count; $told recorded)");
	cmp_ok($count, '<', $rows, "$name: but not all");
	is($lost, 0, "$name: each of them is in the trail");
	is($all, 0, "$name: and not as everybody");
	like($err, $more{ends}, "$name: it ended so");
	# A function's rows are all there before the first one leaves.
	cmp_ok($told, '<', $rows, "$name: nor everybody by number") unless $more{wide};
	return;
}

my %ends = (cancel => qr/^57014 $/, timeout => qr/^57014 $/, terminate => qr/^57P01 closed $|^closed $/, kill => qr/closed $/, disconnect => qr/^closed $/);
for my $cut (sort keys %ends)
{
	for my $way ('simple', 'portal', 'copy', 'table', 'cursor')
	{
		# FETCH sends rows that it has put aside, and listens to nobody meanwhile.
		next if $way eq 'cursor' && $cut =~ /cancel|timeout/;
		cut_short($way, $cut, ends => $ends{$cut});
	}
}
cut_short('loop', $_, ends => $ends{$_}, wide => 1) for 'cancel', 'disconnect', 'kill';

# --- a worker is cut off, and its leader's statement fails with it
$node->append_conf('postgresql.conf', q{
parallel_setup_cost = 0
parallel_tuple_cost = 0
min_parallel_table_scan_size = 0
max_parallel_workers_per_gather = 2
enable_mergejoin = off
enable_nestloop = off
});
$node->reload;
for my $leader ('on', 'off')
{
	$node->append_conf('postgresql.conf', "parallel_leader_participation = $leader");
	$node->reload;
	$node->poll_query_until('postgres', "SELECT current_setting('parallel_leader_participation') = '$leader'") or die;
	like($node->safe_psql('postgres', q{EXPLAIN SELECT id, pad FROM person WHERE pad LIKE '%x'}), qr/Gather/, "workers read, the leader $leader");
	like($node->safe_psql('postgres', q{EXPLAIN SELECT o.id, o.pad FROM other o WHERE EXISTS (SELECT FROM person p WHERE p.id = o.id AND p.pad LIKE '%x')}),
		qr/Gather.*Join/s, 'and join');
	for my $cut ('worker terminate', 'worker cancel', 'worker kill')
	{
		my $ends = $cut =~ /kill/ ? qr/closed $/ : $cut =~ /cancel/ ? qr/^57014 $/ : qr/^57P01 $/;
		cut_short('worker', $cut, ends => $ends);
		# Whose rows decided that another table's are shown.
		cut_short('join', $cut, ends => $ends, manners => q{'influence', 'row'}, wide => 1);
	}
}
is($node->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'the trail is whole');
$node->stop;

done_testing();
