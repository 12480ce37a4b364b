# Many people work one list at once, one of them vanishes, and the incident grows
# meanwhile: nobody is told twice, nobody is lost.
use strict;
use warnings;
use lib $ENV{WARD_ROOT} . '/test/tap/lib';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use IPC::Run ();
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('worklist');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nfsync = off\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'p' || i FROM generate_series(1, 1000) i;
	SELECT ward.watch('person', 'id');
	CREATE ROLE worker LOGIN IN ROLE ward_analyst;
});
$node->safe_psql('postgres', q{SET ward.actor = 'intruder'; SELECT * FROM person WHERE id <= 300;});
my $id = $node->safe_psql('postgres', q{SELECT ward.open_incident('many', tstzrange(NULL, NULL), actors => '{intruder}')});

# A worker who claims and is never seen again.
$node->safe_psql('postgres', "SET ROLE worker; SET ward.actor = 'vanished'; SELECT count(*) FROM ward.claim_notifications($id, 40, claim_for => '2 seconds')");
is($node->safe_psql('postgres', "SELECT count(*) FROM ward.worklist WHERE claimed_by = 'worker/vanished'"), '40', 'claimed by somebody who vanishes');

# All begin together.
my $work = q{
	SET application_name = 'crew';
	DO $$
	BEGIN
		WHILE (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crew') < 6 LOOP
			-- What is seen of other sessions changes between transactions.
			COMMIT;
			PERFORM pg_sleep(0.02);
		END LOOP;
	END
	$$;
	SET ROLE worker;
	DO $$
	DECLARE
		people text[];
		who text;
		idle int := 0;
	BEGIN
		-- Claims of others run out, and the incident grows: so look again for a while.
		WHILE idle < 80 LOOP
			SELECT array_agg(subject) INTO people FROM ward.claim_notifications(INCIDENT, 7);
			COMMIT;
			IF people IS NULL THEN
				idle := idle + 1;
				PERFORM pg_sleep(0.05);
			ELSE
				idle := 0;
				FOREACH who IN ARRAY people LOOP
					PERFORM ward.set_notification(INCIDENT, who, 'notified', 'letter');
				END LOOP;
				COMMIT;
			END IF;
		END LOOP;
	END
	$$;
};
$work =~ s/INCIDENT/$id/g;
my @workers;
for my $i (1 .. 6)
{
	my ($out, $err) = ('', '');
	my $worker = { err => \$err };
	my $script = $node->basedir . "/worker_$i.sql";
	PostgreSQL::Test::Utils::append_to_file($script, "SET ward.actor = 'worker $i';$work");
	$worker->{run} = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', $script, '-d', $node->connstr('postgres') ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
	push @workers, $worker;
}
$node->safe_psql('postgres', q{SET ward.actor = 'second intruder'; SELECT * FROM person WHERE id BETWEEN 200 AND 500;});
is($node->safe_psql('postgres', "SELECT ward.extend_incident($id, 'another', tstzrange(NULL, NULL), actors => '{second intruder}')"),
	'2', 'the incident is extended while people work');
for my $worker (@workers)
{
	$worker->{run}->finish;
	is(${ $worker->{err} }, '', 'a worker meets no error');
}

is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT number) FROM _ward.notification_log WHERE incident = $id"),
	'500|500', 'everybody was told once');
is($node->safe_psql('postgres', "SELECT state, verdict, count(*) FROM ward.worklist WHERE incident = $id GROUP BY 1, 2"),
	'notified|certain|500', 'nobody was lost');
is($node->safe_psql('postgres', "SELECT certain, pending, notified FROM ward.incidents WHERE incident = $id"),
	'500|0|500', 'the incident says so');
cmp_ok($node->safe_psql('postgres', 'SELECT count(DISTINCT by) FROM _ward.notification_log'), '>', 1, 'more than one of them worked');

# Incidents are no derived data: a dump carries them, and numbers go on behind them.
$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/dump', 'postgres' ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('other'), '--exit-on-error', $node->basedir . '/dump' ], 'restored');
is($node->safe_psql('other', 'SELECT title, version, certain, notified FROM ward.incidents'), 'many|2|500|500', 'the incident is in the restored database');
is($node->safe_psql('other', "SELECT ward.open_incident('next', tstzrange(NULL, NULL))"), $id + 1, 'the next incident gets the next number');

$node->stop;
done_testing();
