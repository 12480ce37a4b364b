# Evidence older than ward.retention goes, with its rows of the index; never what a legal
# hold needs, or what an index has not folded. What stays verifies from the first key on,
# and whoever removes more than was signed is named by ward.verify_trail() and by
# tools/ward-verify.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tool = "$ENV{WARD_ROOT}/tools/ward-verify";
my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('retention');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
autovacuum = off
max_worker_processes = 16
ward.checkpoint_interval = 1
ward.trail_segment_size = '64kB'
ward.checkpoint_command = 'cat > $dir/checkpoint.\$\$'
});
$node->start;
my $trail = $node->data_dir . '/ward_trail';

sub sql { my ($query, $db) = @_; return $node->safe_psql($db // 'postgres', $query); }
sub fill
{
	my ($records, $db) = @_;
	return sql("SELECT count(_ward.record_event('test.fat', '{x}', ARRAY[repeat('x', 1000)])) FROM generate_series(1, $records)", $db);
}
sub begins { return sql('SELECT begins FROM ward.retention_status'); }
sub set
{
	$node->append_conf('postgresql.conf', join("\n", @_) . "\n");
	$node->reload;
	return;
}
# As psql shows an unaligned row: pruned, segments, begins, records, what holds back.
sub preview { return sql('SELECT pruned, segments, begins, records, held_back FROM ward.prune_trail(true)'); }
sub indexed { my ($query, $db) = @_; return sql('DO $$BEGIN PERFORM ward.sync(); END$$; ' . $query, $db); }

sql('CREATE EXTENSION pg_ward');
sql(q{
	CREATE TABLE person (id int PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'secret' || i FROM generate_series(1, 100) i;
	CREATE TABLE visitor (id uuid PRIMARY KEY, name text);
	INSERT INTO visitor SELECT md5(i::text)::uuid, 'secret' || i FROM generate_series(1, 100) i;
	CREATE ROLE clerk LOGIN;
	GRANT SELECT ON person, visitor TO clerk;
	SELECT ward.watch('person', 'id');
	SELECT ward.watch('visitor', 'id', 'visitor');
	CREATE ROLE officer LOGIN IN ROLE ward_officer;
	CREATE ROLE auditor LOGIN IN ROLE ward_auditor;});
my $first_key;
$node->poll_query_until('postgres', 'SELECT first_key IS NOT NULL FROM ward.trail_status') or die;
$first_key = sql('SELECT first_key FROM ward.trail_status');

# What only old evidence names, and what a session does that lives through it all.
sql(q{SET ROLE clerk; SELECT name FROM visitor WHERE id = md5('50')::uuid; SELECT name FROM person WHERE id = 50});
my ($in, $out, $err) = ('', '', '');
my $session = IPC::Run::start([ 'psql', '-XAtq', '-U', 'clerk', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);
sub live
{
	my ($query) = @_;
	$out = '';
	$in .= "$query;\n\\echo done\n";
	$session->pump until $out =~ /^done$/m || $err ne '';
	is($err, '', "the session lives: $query");
	$out =~ s/^done\n//m;
	return $out =~ s/\n$//r;
}
is(live('SELECT name FROM visitor WHERE id = md5($$7$$)::uuid'), 'secret7', 'a session begins');
my $secret = live('SELECT to_hex(trunc(extract(epoch FROM backend_start))::bigint) || $$.$$ || to_hex(pid) FROM pg_stat_activity WHERE pid = pg_backend_pid()');
fill(200);
my $boundary = sql('SELECT records FROM ward.trail_status');
fill(100);

# --- nothing is removed unless it is asked for
like(preview(), qr/^f\|0\|0\|0\|\{"ward\.retention is 0: evidence is kept for ever"\}$/, 'without a retention evidence is kept for ever');
set("ward.retention = '10d'");
$node->poll_query_until('postgres', q{SELECT retention = '10 days' FROM ward.retention_status}) or die;
like(preview(), qr/^f\|0\|0\|0\|\{\}$/, 'what is younger stays');
my ($rc, $o, $e) = $node->psql('postgres', 'SET ROLE auditor; SELECT ward.prune_trail(true)');
like($e, qr/permission denied for function prune_trail/, 'only an officer prunes');

# --- a legal hold, and a database that has not folded
sql('CREATE DATABASE other');
sql('CREATE EXTENSION pg_ward', 'other');
sql(q{INSERT INTO _ward.evidence_hold (holder, since, until, reason) VALUES ('test', '-infinity', 'infinity', 'test')}, 'other');
sleep 3;
set("ward.retention = '2s'");
$node->poll_query_until('postgres', q{SELECT retention = '2 s' FROM ward.retention_status}) or die;
like(preview(), qr/^f\|0\|0\|0\|\{"a legal hold in database \\"other\\" keeps what is since -infinity"\}$/, 'a legal hold in any database keeps evidence');
$node->poll_query_until('postgres', q{SELECT held_back LIKE 'a legal hold in database "other"%' FROM ward.retention_status}) or die;
is(begins(), '0', 'and nothing is pruned meanwhile');
my ($stop, $stopped) = ('', '');
my $blocker = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('other') ], '<', \$stop, '>', \$stopped);
$stop .= "BEGIN; LOCK TABLE _ward.index_state; DELETE FROM _ward.evidence_hold; SELECT 'locked';\n";
$blocker->pump until $stopped =~ /locked/;
$stop .= "COMMIT; BEGIN; LOCK TABLE _ward.index_state; SELECT 'again';\n";
$blocker->pump until $stopped =~ /again/;
sleep 4;
is(begins(), '0', 'nor while a database does not answer');
$stop .= "COMMIT;\n\\q\n";
$blocker->finish;

# --- pruned, by itself
$node->poll_query_until('postgres', "SELECT begins > 150 FROM ward.retention_status", 't') or die 'nothing is pruned';
pass('what is older is removed by itself');
my $begins = begins();
ok(!-e "$trail/0000000000000000.trail", 'the first segment is gone');
is(join(',', map { s/.*\///r } glob("$trail/*.carry")), sprintf('%016x.carry', $begins), 'one file has what was carried over');
set("ward.retention = '10d'");
$node->poll_query_until('postgres', q{SELECT retention = '10 days' AND NOT running FROM ward.retention_status}) or die;
$begins = begins();

sub both
{
	my ($name, $what, $where) = @_;
	# Later starts of what was restored go on differently.
	system("mkdir -p $dir/kept; cp $dir/checkpoint.* $dir/kept") if !-d "$dir/trail";
	my @kept = map { ('--checkpoint', $_) } glob("$dir/kept/checkpoint.*");
	my ($said) = run_command([ $tool, '--key', $first_key, @kept, $trail ]);
	my $row = sql("SELECT concat_ws(E'\\n', 'verified ' || verified, problem, place) FROM ward.verify_trail(ARRAY['$first_key'])");
	if (defined $what)
	{
		like($said, qr/PROBLEM: .*$what/, "$name: ward-verify says what");
		like($row, qr/^verified false\n.*$what/, "$name: verify_trail says what");
		like($_, $where, "$name: and where") for $where ? ($said, $row) : ();
	}
	else
	{
		unlike($said, qr/PROBLEM/, "$name: ward-verify finds nothing wrong");
		like($said, qr/^it begins at record $begins: what was before it was pruned$/m, "$name: ward-verify says where it begins");
		like($said, qr/NOTICE: of the checkpoints that were kept elsewhere \d+ can't be compared/, "$name: and what it can't compare");
		like($said, qr/^first key \Q$first_key\E$/m, "$name: from the first key on");
		is($row, 'verified true', "$name: verify_trail finds nothing wrong");
	}
	return;
}
both('after a prune');

# --- the session goes on, with records that are complete
is(live('SELECT name FROM visitor WHERE id = md5($$7$$)::uuid'), 'secret7', 'the session goes on');
is(live('SELECT name FROM person WHERE id = 8'), 'secret8', 'and reads another table');
is(indexed("SELECT role, relation, subjects, statement <> '' FROM ward.disclosures WHERE session = '$secret' AND last_position >= $begins ORDER BY relation"),
	"clerk|public.person|1|t\nclerk|public.visitor|1|t", 'its records say who, what and by which statement');
is(indexed(q{SELECT count(*) FROM ward.subject_history('visitor', md5('7')::uuid::text)}) > 0 ? 1 : 0, 1, 'its subject is known by its key');

# --- the index
is(indexed("SELECT count(*) FILTER (WHERE last_position < $begins), count(*) FILTER (WHERE last_position >= $begins) > 0 FROM _ward.disclosure"), '0|t', 'rows of pruned evidence are gone');
is(indexed(q{SELECT count(*) FROM _ward.subject_key WHERE fingerprint = decode(md5('50'), 'hex')}), '0', 'and with them the key of whom only they named');
is(indexed(q{SELECT count(*) FROM _ward.subject_key WHERE fingerprint = decode(md5('7'), 'hex')}), '1', 'that of others is there');
is(indexed("SELECT count(*), bool_and(position < $begins) FROM ward.events WHERE kind = 'watch.added'"), '2|t', 'what was watched is still known');
is(indexed("SELECT count(*) FROM ward.events WHERE kind = 'test.fat' AND position < $begins"), '0', 'other events are gone');
is(indexed("SELECT detail ->> 'cut', detail ->> 'carry' ~ '^[0-9a-f]{64}\$' FROM ward.events WHERE kind = 'trail.pruned' ORDER BY position DESC LIMIT 1"), "$begins|t", 'the trail says that it was pruned');
sub content
{
	return indexed(qq{SELECT md5(string_agg(x, ' ' ORDER BY x)) FROM (
		SELECT to_jsonb(e)::text FROM ward.events e WHERE position < $_[0] UNION ALL
		SELECT (to_jsonb(d) - 'relation')::text FROM _ward.disclosure d WHERE first_position >= $begins AND last_position < $_[0] UNION ALL
		SELECT to_jsonb(k)::text FROM _ward.subject_key k WHERE k.first_position < $_[0] UNION ALL
		SELECT to_jsonb(c)::text FROM _ward.context c WHERE c.position < $_[0]) x(x)});
}
my $until = sql('SELECT records FROM ward.trail_status');
my $content = content($until);
sql('SELECT ward.rebuild_index()');
is(content($until), $content, 'made anew from what is left it has the same content');

# --- answers
like(indexed(q{SELECT state, widens, explanation FROM ward.scope_basis(tstzrange(now() - interval '1 day', now())) WHERE ground = 'evidence reaches back'}),
	qr/^limited\|t\|evidence reaches back to \d{4}-.*: what was before was pruned/, 'the basis says how far evidence reaches back');
is(indexed(q{SELECT subject_class, people, reasons, note LIKE '%evidence of this time was pruned%' FROM ward.breach_summary(tstzrange(now() - interval '1 day', now()), subject_class => 'person') WHERE verdict = 'possible'}),
	'person|99|{trail.pruned}|t', 'of a time whose evidence was pruned everybody may have been seen');
is(indexed(q{SELECT count(*) FROM ward.breach_summary(tstzrange((SELECT max(until) + interval '1 us' FROM ward.blind_spots WHERE path = 'pruned'), now()), subject_class => 'person') WHERE verdict = 'possible'}),
	'0', 'of a later one the answer is as before');

# --- proofs
($rc, $o, $e) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM ward.prove_inclusion(3)");
like($e, qr/WD305: record 3 of the trail was pruned\nDETAIL:  The trail begins at record $begins;/, 'what was pruned has no proof');
($rc, $o, $e) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM ward.prove_consistency(3)");
like($e, qr/WD305: record 3 of the trail was pruned/, 'nor has a tree from before the cut');
like(sql("SELECT size > $begins, cardinality(proof) > 0 FROM ward.prove_inclusion($begins)"), qr/^t\|t$/, 'the first record that is left has one');
like(sql("SELECT size > $begins, from_root FROM ward.prove_consistency($begins)"), qr/^t\|[0-9a-f]{64}$/, 'and so has the tree at the cut');
is(sql("SELECT from_root = (SELECT detail ->> 'root' FROM _ward.event WHERE kind = 'trail.pruned' ORDER BY position DESC LIMIT 1) FROM ward.prove_consistency($begins)"), 't', 'with the root that the trail says');

# --- a restart, a second prune
$node->restart;
$session->kill_kill;
is(begins(), $begins, 'a restart knows where the trail begins');
is(sql('SELECT first_key FROM ward.trail_status WHERE first_key IS NOT NULL') || $first_key, $first_key, 'and its first key');
both('after a restart');
fill(150);
sleep 3;
set("ward.retention = '2s'");
$node->poll_query_until('postgres', "SELECT begins > $begins FROM ward.retention_status") or die;
set("ward.retention = '10d'");
$node->poll_query_until('postgres', q{SELECT retention = '10 days' AND NOT running FROM ward.retention_status}) or die;
$begins = begins();
both('after a second prune');
is(indexed("SELECT count(*) FROM ward.events WHERE kind = 'watch.added'"), '2', 'what was watched is carried over again');
is(indexed("SELECT count(*) >= 2 FROM ward.events WHERE kind = 'trail.pruned'"), 't', 'and that it was pruned before');
ok(!-e $_, 'what was carried over before is gone') for grep { !/@{[ sprintf('%016x', $begins) ]}/ } glob("$trail/*.carry");

# --- attacks
fill(150);
$node->poll_query_until('postgres', 'SELECT signed_records > (SELECT records - 20 FROM ward.trail_status) FROM ward.trail_status') or die;
$node->stop;
system_or_bail('cp', '-a', $trail, "$dir/trail");
system_or_bail('cp', '-a', $node->data_dir . '/pgsql_tmp_ward_signing', "$dir/secret");
sub restore
{
	$node->stop if -e $node->data_dir . '/postmaster.pid';
	system_or_bail('rm', '-rf', $trail);
	system_or_bail('cp', '-a', "$dir/trail", $trail);
	system_or_bail('cp', '-a', "$dir/secret", $node->data_dir . '/pgsql_tmp_ward_signing');
	return;
}
my ($carry) = glob("$trail/*.carry");
my @segments = sort glob("$trail/*.trail");
cmp_ok(scalar(@segments), '>=', 3, 'there are segments');
sub flip
{
	my ($file, $offset, $good) = @_;
	my $data = slurp_file($file);
	substr($data, $offset, 1) = chr(ord(substr($data, $offset, 1)) ^ 1);
	if ($good)
	{
		# With good checksums: the last record's.
		system_or_bail('python3', '-c', q{
import importlib.machinery, importlib.util, os, struct, sys
loader = importlib.machinery.SourceFileLoader("w", os.environ["WARD_ROOT"] + "/tools/ward-verify")
spec = importlib.util.spec_from_loader("w", loader); w = importlib.util.module_from_spec(spec); sys.dont_write_bytecode = True; loader.exec_module(w)
data = bytearray(open(sys.argv[1], "rb").read())
at = 100
while True:
    length = struct.unpack_from("<I", data, at + 8)[0]
    if at + 16 + length == len(data): break
    at += 16 + length
data[-1] ^= 1
struct.pack_into("<I", data, at + 12, w.crc32c(bytes(data[at + 8:at + 12] + data[at + 16:])))
open(sys.argv[1], "wb").write(data)
}, $file);
		return;
	}
	open(my $fh, '>:raw', $file) or die;
	print $fh $data;
	close $fh;
	return;
}
flip($carry, 0, 1);
$node->start;
both('what was carried over changed', qr/what the prune at record $begins carried over is not what was signed: its file was changed/);
restore();
flip($carry, 200, 0);
$node->start;
both('what was carried over damaged', qr/a record in it is damaged/, qr/\.carry, byte \d+/);
restore();
unlink $carry or die;
$node->start;
both('what was carried over removed', qr/what the prune at record $begins carried over is missing: its file was removed/);
($rc, $o, $e) = $node->psql('postgres', 'SELECT name FROM person WHERE id = 7');
is($o, 'secret7', 'evidence is still written');
restore();
unlink $segments[0] or die;
$node->start;
both('a segment removed beyond the cut', qr/the trail was pruned up to record $begins, but begins at record \d+: segments were removed|no record says that it was pruned: segments were removed/);
restore();
my $next = hex(($segments[1] =~ /([0-9a-f]{16})\.trail/)[0]);
unlink $segments[0] or die;
system_or_bail('python3', '-c', q{
import importlib.machinery, importlib.util, os, struct, sys
loader = importlib.machinery.SourceFileLoader("w", os.environ["WARD_ROOT"] + "/tools/ward-verify")
spec = importlib.util.spec_from_loader("w", loader); w = importlib.util.module_from_spec(spec); sys.dont_write_bytecode = True; loader.exec_module(w)
old, new, cut = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = bytearray(open(old, "rb").read())
segment = w.Segment(os.path.join(os.path.dirname(old), f"{cut:016x}.trail"), cut)
struct.pack_into("<Q", data, 32, cut)
data[56:88] = segment.tree.root()
struct.pack_into("<I", data, 96, w.crc32c(bytes(data[:96])))
open(new, "wb").write(data)
}, $carry, sprintf('%s/%016x.carry', $trail, $next), $next);
$node->start;
both('a cut further than was signed', qr/the trail was pruned up to record $begins, but begins at record $next: segments were removed|the trail begins at record $next, and no record says that it was pruned|checkpoint is not signed by the key/);
restore();
$node->start;
both('restored');

# --- limits count what stays, by the sessions and tables that were carried over
($in, $out, $err) = ('', '', '');
$session = IPC::Run::start([ 'psql', '-XAtq', '-U', 'clerk', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);
is(live('SELECT name FROM person WHERE id = 1'), 'secret1', 'a session begins again');
fill(200);
$begins = sql('SELECT records FROM ward.trail_status');
is(live('SELECT count(name) FROM (SELECT name FROM person WHERE id BETWEEN 2 AND 4 OFFSET 0) p'), '3', 'and reads on, by what it has said of itself');
sleep 3;
set("ward.retention = '2s'");
$node->poll_query_until('postgres', "SELECT begins > $begins - 100 FROM ward.retention_status") or die;
set("ward.retention = '10d'");
cmp_ok(begins(), '<=', $begins, 'what it read is still there');
sql(q{SELECT ward.limit('few', 'person', 90, '1 day', applies_to => '{clerk}')});
is($node->safe_psql('postgres', 'SELECT name FROM person WHERE id = 50', extra_params => [ '-U', 'clerk' ]), 'secret50', 'a limit is counted from a pruned trail');
is(sql(q{SELECT people FROM ward.limit_use WHERE name = 'few'}), '4', 'with whom the evidence that stays names');
$node->stop;

# --- of a trail that was never pruned
my $whole = PostgreSQL::Test::Cluster->new('whole');
$whole->init;
$whole->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nward.trail_segment_size = '64kB'\nward.checkpoint_interval = 1\n");
$whole->start;
$whole->safe_psql('postgres', 'CREATE EXTENSION pg_ward');
$whole->safe_psql('postgres', q{SELECT count(_ward.record_event('test.fat', '{x}', ARRAY[repeat('x', 1000)])) FROM generate_series(1, 200)});
my $key = $whole->safe_psql('postgres', 'SELECT first_key FROM ward.trail_status');
unlink $whole->data_dir . '/ward_trail/0000000000000000.trail' or die;
my ($said) = run_command([ $tool, '--key', $key, $whole->data_dir . '/ward_trail' ]);
like($said, qr/PROBLEM: the trail begins at record \d+, and no record says that it was pruned: segments were removed/, 'segments removed without a prune: ward-verify');
is($whole->safe_psql('postgres', "SELECT verified, problem LIKE 'the trail begins at record %, and no record says that it was pruned: segments were removed' FROM ward.verify_trail(ARRAY['$key'])"), 'f|t', 'segments removed without a prune: verify_trail');
$whole->stop;

done_testing();
