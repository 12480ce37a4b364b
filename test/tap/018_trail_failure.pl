# Fail closed: whatever becomes of the trail under a running server, what would disclose
# is refused, other work goes on, nothing that was written is lost, and it resumes by
# itself. ward.on_trail_failure = allow goes on without, and the trail tells the gap.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WardDamage;

my $node = PostgreSQL::Test::Cluster->new('failure');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
autovacuum = off
ward.checkpoint_interval = 1
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	CREATE ROLE somebody LOGIN;
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'secret' || i FROM generate_series(1, 3000) i;
	CREATE TABLE other AS SELECT 1 AS i;
	GRANT SELECT ON person, other TO somebody;
	SELECT ward.watch('person', 'id', 'person');
	-- Nobody ever reads this one.
	CREATE TABLE visit (id int PRIMARY KEY, visitor int, why text);
	INSERT INTO visit SELECT i, 9000 + i, 'why' FROM generate_series(1, 5) i;
	SELECT ward.watch('visit', 'visitor', 'visitor');});
$node->safe_psql('postgres', 'CREATE DATABASE beside');
$node->safe_psql('beside', q{
	CREATE EXTENSION pg_ward;
	CREATE TABLE pet (id int PRIMARY KEY);
	INSERT INTO pet VALUES (1), (2);
	SELECT ward.watch('pet', 'id', 'pet');});
my $trail = $node->data_dir . '/ward_trail';
my $first_key = $node->safe_psql('postgres', 'SELECT first_key FROM ward.trail_status');
my $spare = PostgreSQL::Test::Utils::tempdir();

sub segment { return (sort glob("$trail/*.trail"))[-1]; }
sub edit
{
	my ($do) = @_;
	open(my $file, '+<:raw', segment()) or die;
	my $bytes = do { local $/; <$file> };
	$bytes = $do->($bytes);
	seek($file, 0, 0);
	print $file $bytes;
	truncate($file, length $bytes);
	close($file);
	return;
}

# A record that stands well before the end: the signer has read it back once already.
sub middle
{
	my ($bytes) = @_;
	my $at = unpack('V', substr($bytes, 12, 4));
	my @frames;
	while ($at < length $bytes) { push @frames, $at; $at += 8 + unpack('V', substr($bytes, $at, 4)); }
	return $frames[-2];
}

my $limit = sub {
	my ($size) = @_;
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	system_or_bail('prlimit', '--pid', $_, "--fsize=$size:") for $postmaster, split(' ', `ps -o pid= --ppid $postmaster`);
};
my %kept;
my @causes = (
	[ 'missing', sub { rename($trail, "$trail.away") or die }, sub { rename("$trail.away", $trail) or die }, 'WD301' ],
	[ 'out of reach', sub { chmod 0000, $trail }, sub { chmod 0700, $trail }, 'WD302' ],
	[ 'read-only', sub { chmod 0400, segment() }, sub { chmod 0600, segment() }, 'WD302' ],
	[ 'cut', sub { $kept{bytes} = slurp_file(segment()); edit(sub { substr($_[0], 0, -7) }) }, sub { edit(sub { $kept{bytes} }) }, 'WD303' ],
	[ 'emptied', sub { $kept{bytes} = slurp_file(segment()); edit(sub { '' }) }, sub { edit(sub { $kept{bytes} }) }, 'WD303' ]);

sub refused
{
	my ($name, $state) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM person WHERE id = 7", extra_params => [ '-U', 'somebody' ]);
	like($err, qr/ERROR:  $state: /, "$name: a look-up is refused");
	is($out, '', "$name: no row leaves");
	is($node->safe_psql('postgres', 'INSERT INTO other VALUES (2); SELECT count(*) FROM other'), $node->safe_psql('postgres', 'SELECT count(*) FROM other'),
		"$name: other work goes on");
	return;
}

sub resumes
{
	my ($name) = @_;
	ok($node->poll_query_until('postgres', "SELECT name = 'secret9' FROM person WHERE id = 9"), "$name: it resumes by itself");
	is($node->safe_psql('postgres', "SELECT verified, problem FROM ward.verify_trail(ARRAY['$first_key'])"), 't|', "$name: and nothing is lost");
	return;
}

for my $cause (@causes)
{
	my ($name, $break, $mend, $state) = @$cause;
	$node->safe_psql('postgres', 'SELECT count(*) FROM person');
	$break->();
	refused($name, $state);
	$mend->();
	resumes($name);
}

# A record that was changed is found when the signer reads back what it is to sign.
for my $how ([ 'a flipped bit', 24 ], [ 'a flipped bit in a length', 1 ])
{
	my ($name, $offset) = @$how;
	# Between two checkpoints.
	my $signer = (map { /^\s*(\d+)/ } grep { /pg_ward trail signer/ } `ps -o pid,args --ppid @{[ (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0] ]}`)[0];
	kill 'STOP', $signer;
	$node->safe_psql('postgres', 'SELECT count(*) FROM person');
	my $at = middle(slurp_file(segment())) + $offset;
	flip(segment(), $at);
	kill 'CONT', $signer;
	ok($node->poll_query_until('postgres', q{SELECT signing_problem LIKE '%can''t be read back as it was' FROM ward.trail_status}), "$name: the signer finds it");
	refused($name, 'WD303');
	flip(segment(), $at);
	ok($node->poll_query_until('postgres', 'SELECT signing_problem IS NULL FROM ward.trail_status'), "$name: and that it was put back");
	resumes($name);
}

# Full, for the trail alone.
SKIP:
{
	skip 'no prlimit', 5 if system('prlimit --pid $$ >/dev/null 2>&1') != 0;
	# Nothing else of the server outgrows this: WAL segments are preallocated.
	$node->append_conf('postgresql.conf', "ward.trail_segment_size = '1GB'");
	$node->reload;
	$limit->(17 * 1024 * 1024);
	my ($rc, $out, $err) = $node->psql('postgres', q{\set VERBOSITY verbose
		SELECT count(_ward.record_event('test.fat', '{x}', ARRAY[repeat('x', 8000)])) FROM generate_series(1, 4000)});
	like($err, qr/WD302/, 'full: told');
	# Room for a short record may be left.
	$node->psql('postgres', "SELECT count(_ward.record_event('test.fat', '{x}', ARRAY[repeat('x', $_)])) FROM generate_series(1, 1000)") for 1000, 100, 1;
	refused('full', 'WD302');
	$limit->('unlimited');
	resumes('full');
}

# --- on without evidence, for those who must
my ($rc, $out, $err) = $node->psql('postgres', "SET ward.on_trail_failure = allow", extra_params => [ '-U', 'somebody' ]);
like($err, qr/permission denied to set parameter "ward\.on_trail_failure"/, 'only a superuser may allow it');
sub events
{
	my ($kind) = @_;
	return $node->safe_psql('postgres', qq{DO \$\$BEGIN PERFORM ward.sync(); END\$\$;
		SELECT count(*), min(detail ->> 'from') IS NOT NULL, min(detail ->> 'until') > min(detail ->> 'from'), sum((detail ->> 'records_lost')::int) > 0 FROM ward.events WHERE kind = '$kind'});
}
is(events('trail.gap'), '0|f||', 'there is no gap so far');
$node->append_conf('postgresql.conf', 'ward.on_trail_failure = allow');
$node->reload;
$node->poll_query_until('postgres', q{SELECT setting = 'allow' FROM pg_settings WHERE name = 'ward.on_trail_failure'}) or die;
# Who asks about a role that did nothing: who is possible, and why.
my $before = $node->safe_psql('postgres', 'SELECT now()');
sub widened
{
	my ($database, $during, $more) = @_;
	return $node->safe_psql($database, "SELECT string_agg(concat_ws(' ', subject_class, verdict, people, columns_clear, reasons, sessions, note LIKE '%went on without evidence%'), ';' ORDER BY subject_class)
		FROM ward.breach_summary($during, roles => '{nobody_at_all}'" . ($more // '') . ')');
}
my $everybody = 'person possible 3000 {person.id,person.name} {trail.gap} 0 t;visitor possible 5 {visit.id,visit.visitor,visit.why} {trail.gap} 0 t';
is(widened('postgres', 'tstzrange(NULL, NULL)'), '', 'without a gap nobody is possible for somebody who did nothing');
# Readers still can.
my $last = segment();
chmod 0400, $last;
($rc, $out, $err) = $node->psql('postgres', 'SELECT name FROM person WHERE id = 7; SELECT count(*) FROM person', extra_params => [ '-U', 'somebody' ]);
is(widened('postgres', "tstzrange('$before', NULL)"), $everybody, 'while the gap is open, all of each watched table are');
is($out, "secret7\n3000", 'allowed: statements go on');
like($err, qr/WARNING:  going on without evidence/, 'and are warned');
my $warned = () = $err =~ /WARNING/g;
sleep 1;
chmod 0600, $last;
$node->safe_psql('postgres', 'SELECT name FROM person WHERE id = 8');
like(events('trail.gap'), qr/^[1-9]\d*\|t\|t\|t$/, 'the trail tells the gap, from when to when');
my $told = (split /\|/, events('trail.gap'))[0];
# Who has the file open still, as the signer, can end a gap, and the next statement begins one.
cmp_ok($warned, '<=', $told, 'a session is warned once a gap');
is($node->safe_psql('postgres', "SELECT verified, problem FROM ward.verify_trail(ARRAY['$first_key'])"), 't|', 'and is whole');
# The scope is as wide as the gap.
my $after = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
is(widened('postgres', "tstzrange('$before', '$after')"), $everybody, 'told, all of each watched table are possible');
is(widened('postgres', "tstzrange('$before', '$after')", ", subject_class => 'visitor', relations => '{visit}'"), (split /;/, $everybody)[1], 'or of the one that is asked about');
is(widened('postgres', "tstzrange(NULL, '$before')"), '', 'not before');
is(widened('postgres', "tstzrange('$after', NULL)"), '', 'and not after');
is(widened('beside', "tstzrange('$before', '$after')"), 'pet possible 2 {pet.id} {trail.gap} 0 t', 'also in another database');
is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT verdict), min(sessions::text) FROM ward.breach_scope(tstzrange('$before', '$after'), roles => '{nobody_at_all}')"), '3005|1|{}', 'each by name');
is(widened('postgres', "tstzrange('$before', '$after')", ", sessions => ARRAY[(SELECT to_hex(extract(epoch FROM now() + interval '1 hour')::bigint) || '.1')]"), '', 'but for sessions that began later');
is($node->safe_psql('postgres', "SELECT DISTINCT path, widens, since >= '$before', until <= '$after' FROM ward.blind_spots WHERE path = 'gap'"), 'gap|t|t|t', 'it is a blind spot');
is($node->safe_psql('postgres', "SELECT DISTINCT state, widens FROM ward.scope_basis(tstzrange('$before', '$after')) WHERE explanation LIKE 'gap: %'"), 'limited|t', 'and limits the basis');
is($node->safe_psql('postgres', q{SELECT DISTINCT relation, verdict, manner, session IS NULL, columns_clear FROM ward.subject_history('visitor', 9003) WHERE session IS NULL}), 'public.visit|possible|all|t|{visit.id,visit.visitor,visit.why}', 'one person\'s history tells it');
is($node->safe_psql('postgres', "DO \$\$BEGIN PERFORM ward.unwatch('visit', 'visitor', 'test'); END\$\$; SELECT people FROM ward.breach_summary(tstzrange('$before', '$after'), subject_class => 'visitor')"), '5', 'also of a table that is no longer watched');
$node->safe_psql('postgres', q{SELECT ward.watch('visit', 'visitor', 'visitor')});
ok(!-e $node->data_dir . '/ward_trail.gap', 'and nothing remembers it any more');

# Over a crash.
rename($trail, "$trail.away") or die;
$node->safe_psql('postgres', 'SELECT name FROM person WHERE id = 7');
ok(-e $node->data_dir . '/ward_trail.gap', 'a gap is remembered outside of the trail');
$node->stop('immediate');
rename("$trail.away", $trail) or die;
$node->append_conf('postgresql.conf', 'ward.on_trail_failure = refuse');
$node->start;
is($node->safe_psql('postgres', q{DO $$BEGIN PERFORM ward.sync(); END$$; SELECT count(*), count(detail ->> 'from') FROM ward.events WHERE kind = 'trail.gap'}), join('|', ($told + 1) x 2), 'and told after a crash');
rename($trail, "$trail.away") or die;
refused('refused again', 'WD301');
rename("$trail.away", $trail) or die;
resumes('refused again');
$node->stop;

done_testing();
