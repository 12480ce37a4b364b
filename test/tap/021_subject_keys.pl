# The dictionary of subject keys outlives what makes it: a failed statement's keys are in
# the trail, a server that starts with an empty filter writes them again, a trail
# that refuses them stops the reader, and a parallel worker's keys are there as well.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('subject_keys');
$node->init;
my $kek = $node->basedir . '/kek';
open(my $file, '>:raw', $kek) or die;
print $file join('', map { chr($_ * 7 % 256) } 1 .. 32);
close($file);
chmod 0600, $kek;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nward.kek_file = '$kek'\n"
	. "restart_after_crash = on\nward.subject_cache = '64kB'\n");
$node->start;
sub sql { return $node->safe_psql('postgres', shift); }
sub keys_of { return sql("SELECT ward.sync(); SELECT count(*) FROM _ward.subject_key WHERE class = '$_[0]'") =~ s/^\d+\n//r; }

sql(q{
	CREATE EXTENSION pg_ward;
	SELECT ward.create_key('k');
	CREATE TABLE citizen (nid text PRIMARY KEY, name text);
	INSERT INTO citizen SELECT 'N' || i, 'n' FROM generate_series(1, 3000) i;
	CREATE TABLE device (id uuid, n int);
	INSERT INTO device SELECT gen_random_uuid(), i FROM generate_series(1, 5000) i;
	ANALYZE;
	SELECT ward.watch('citizen', 'nid', 'citizen');
	SELECT ward.watch('device', 'id', 'device');
});
is(keys_of('citizen'), 0, 'nobody is in the dictionary before anybody is disclosed');
sql("SELECT name FROM citizen WHERE nid = 'N7'");
is(keys_of('citizen'), 1, 'one look-up, one key');

# A crash: the filter is empty afterwards, the trail is not.
$node->stop('immediate');
$node->start;
sql("SELECT name FROM citizen WHERE nid = 'N7'");
is(keys_of('citizen'), 1, 'a key that is written again is one key');
sql("SELECT name FROM citizen WHERE nid = 'N8'");
sql('SELECT ward.rebuild_index()');
is(keys_of('citizen'), 2, 'an index made anew has the keys of before the crash');

# More keys than the filter has room for.
sql('SELECT count(*) FROM citizen');
sql('SELECT count(*) FROM citizen');
is(keys_of('citizen'), 3000, 'a filter that forgets loses no key');
is(sql(q{SELECT count(*) FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), subject_class => 'citizen') WHERE subject LIKE '\\\\sealed:%'}),
	3000, 'and each person is named once, by a sealed text without the right');
sql(q{SELECT ward.grant_unseal('k', current_user::name, 'test')});
is(sql(q{SELECT count(DISTINCT subject) FROM ward.breach_scope(tstzrange(now() - interval '1 hour', NULL), subject_class => 'citizen') WHERE subject ~ '^N[0-9]+$'}),
	3000, 'by the text with it');

# A statement that fails leaves the keys of those it has shown.
$node->psql('postgres', 'SELECT 1 / (n - 4000) FROM device');
my $named = sql(q{SELECT count(*) FROM _ward.disclosure d, _ward.subject_set_members(d.subjects) m
	WHERE d.subject_class = 'device' AND NOT EXISTS (SELECT FROM _ward.subject_key k WHERE k.class = 'device' AND k.number = m)});
is($named, 0, 'no number without its key');

# Workers.
sql(q{SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
	SET min_parallel_table_scan_size = 0; SELECT count(*) FROM device WHERE n > 0});
is(keys_of('device'), 5000, 'keys that workers have met');

# A trail that can't be written stops whoever needs a new key.
sql("INSERT INTO device VALUES ('00000000-0000-4000-8000-000000000001', 0)");
my $trail = $node->data_dir . '/ward_trail';
rename($trail, "$trail.away") or die;
my ($code, $out, $error) = $node->psql('postgres', "SELECT n FROM device WHERE id = '00000000-0000-4000-8000-000000000001'");
isnt($code, 0, 'without the trail nobody is read');
is($out, '', 'and no row is shown');
rename("$trail.away", $trail) or die;
is(sql("SELECT n FROM device WHERE id = '00000000-0000-4000-8000-000000000001'"), '0', 'with it again');
is(sql('SELECT verified FROM ward.verify_trail()'), 't', 'the trail is whole');
$node->stop;
done_testing();
