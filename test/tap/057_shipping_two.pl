# Two standbys deliver their trails. What is wrong with one copy limits the answer and
# nothing else: the other's is indexed, and the primary's own. A standby with an older
# trail, and one that was removed, are found out.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WardDamage;
use WardShip;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $primary = primary();
my $one = standby('one');
my $two = standby('two');
isnt(node_of($one), node_of($two), 'each standby is a node of its own');
see($one, 1);
see($two, 2);
see($primary, 3);
delivered($one, 'one', 'one delivers');
delivered($two, 'two', 'and so does the other');
is(scope(), '1,2,3', 'the scope names who was read on each');
is(query($primary, q{SELECT string_agg(DISTINCT s || ':' || coalesce(node, 'here'), ' ' ORDER BY s || ':' || coalesce(node, 'here'))
	FROM ward.disclosures, _ward.subject_set_members(subject_set) s WHERE role = 'reader'}), '1:one 2:two 3:here', 'and a view on which');
is(query($primary, q{SELECT string_agg(DISTINCT coalesce(node, 'here'), ' ') FROM ward.sessions WHERE role = 'reader'}), 'here one two', 'so do sessions');
is(query($primary, q{SELECT string_agg(DISTINCT node, ' ') FROM ward.subject_history('person', 2) WHERE role = 'reader'}), 'two', 'and one person\'s history');
is(query($primary, q{SELECT count(*), count(problem), bool_and(percent > 0) FROM ward.index_status}), '3|0|t', 'three trails are indexed');

# One copy is damaged behind what is indexed: all is read anew.
my ($first) = sort glob(copy_of(node_of($one)) . '/*.trail');
my $at = 300;
flip($first, $at);
like(query($primary, q{SELECT verified, problem FROM ward.verify_standby('one')}), qr/^f\|/, 'damage of a copy is told');
query($primary, 'SELECT ward.rebuild_index()');
see($primary, 4);
see($two, 5);
delivered($two, 'two', 'the other goes on delivering');
my ($rc, $out, $err) = $primary->psql('postgres', 'SELECT ward.sync() > 0');
is($out, 't', 'nobody waits for what is damaged');
like($err, qr/WARNING:  the trail that a standby delivered can't be read to its end/, 'but is warned');
like(scope(), qr/^2,3,4,5$/, 'the scope names who was read elsewhere');
my ($summary, @more) = split /\n/, query($primary, q{SELECT note FROM ward.breach_summary(tstzrange(NULL, NULL), roles => '{reader}')});
like($summary, qr/the trail of standby one is not to be relied upon, so who read what there may be missing/, 'the summary says what is missing');
unlike($summary, qr/standby two|trail does not verify/, 'and only that');
is(query($primary, q{SELECT count(*) FROM ward.breach_summary(tstzrange('2001-01-01', '2001-01-02')) WHERE note LIKE '%standby one%'}), '1', 'also where it has nobody');
is(query($primary, q{SELECT string_agg(ground || ' ' || state || ' ' || widens, ', ' ORDER BY ground) FROM ward.scope_basis(tstzrange(NULL, NULL)) WHERE explanation LIKE '%standby one%'}),
	'index complete fails true, standbys fails true', 'and so does the basis');
is(query($primary, q{SELECT state FROM ward.scope_basis(tstzrange(NULL, now() - interval '1 hour')) WHERE explanation LIKE '%standby two%'}), 'holds', 'which holds for the other');
is(query($primary, q{SELECT count(*) FROM ward.index_status WHERE problem IS NOT NULL}), '1', 'the index shows it');
# It may have been met before the index was emptied, too.
my $told = q{SELECT ward.sync() > 0; SELECT count(*), min(detail ->> 'node') FROM ward.events WHERE kind = 'standby.damaged'};
my $first_told = query($primary, $told);
like($first_told, qr/^t\n[12]\|@{[ node_of($one) ]}$/, 'the trail tells it');
is(query($primary, $told), $first_told, 'once');
# Which sees what was folded before it: a heartbeat may come between.
ok((grep { $primary->psql('postgres', 'SELECT ward.sync(); BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ward.sync(); COMMIT') == 0 } 1 .. 10) > 0, 'nor does a transaction with one snapshot');
# Put back.
flip($first, $at);
is(query($primary, q{SELECT ward.sync() > 0; SELECT count(*) FROM ward.index_status WHERE problem IS NOT NULL}), "t\n0", 'put back, it is read on');
is(scope(), '1,2,3,4,5', 'and nothing is missing');
is(query($primary, q{SELECT sum(records) FROM ward.disclosures WHERE role = 'reader'}), '5', 'or twice there');
is(query($primary, q{SELECT count(*) FROM ward.scope_basis(tstzrange(NULL, now() - interval '1 hour')) WHERE widens AND explanation LIKE '%standby %'}), '0', 'nothing limits the answer any more');
# A copy that is gone. (While it delivers, a standby would make it anew.)
my $gone = node_of($one);
$one->stop;
rename(copy_of($gone), "$dir/gone") or die;
query($primary, 'SELECT ward.rebuild_index()');
is(query($primary, 'SELECT ward.sync() > 0'), 't', 'nor does anybody wait for what is gone');
like(query($primary, q{SELECT note FROM ward.breach_summary(tstzrange(NULL, NULL), roles => '{reader}') LIMIT 1}), qr/the trail of standby one is not to be relied upon/, 'which is told, too');
rename("$dir/gone", copy_of($gone)) or die;
is(query($primary, q{SELECT ward.sync() > 0; SELECT sum(records) FROM ward.disclosures WHERE role = 'reader'}), "t\n5", 'until it is back');
$one->start;

# A standby that goes on from an older copy of its trail.
my $before = node_of($two);
$two->stop;
my @state = map { $two->data_dir . "/$_" } qw(ward_trail ward_trail.node pgsql_tmp_ward_signing);
system_or_bail('mkdir', "$dir/old");
system_or_bail('cp', '-a', @state, "$dir/old");
$two->start;
see($two, 81);
delivered($two, 'two', 'a standby goes on after a restart');
$two->stop;
# The inode by which a copy is known is its own again.
system_or_bail('sh', '-c', "cat $dir/old/$_ > " . $two->data_dir . "/$_") for qw(ward_trail.node pgsql_tmp_ward_signing);
system_or_bail('rm', '-rf', $state[0]);
system_or_bail('cp', '-a', "$dir/old/ward_trail", $state[0]);
$two->start;
is(node_of($two), $before, 'with an older copy of its trail it is the same node');
my $found = q{SELECT problem ~ 'has more of this trail|not take what follows|has no record where|refused' FROM ward.shipping_status};
awaits($two, $found, 'and is found out');
see($two, 82) for 1 .. 20;
awaits($two, $found, 'also when it writes on');
is(scope(), '1,2,3,4,5,81', 'what it told before stays, what it tells then is not taken');
isnt(query($primary, q{SELECT string_agg(state, ',') FROM ward.scope_basis(tstzrange(NULL, NULL)) WHERE ground = 'standbys' AND explanation LIKE '%standby two%' AND widens}), '', 'the basis says that it is not known further');
query($primary, q{SELECT ward.remove_standby('two', 'test')});
awaits($two, q{SELECT problem LIKE '%not registered%' FROM ward.shipping_status}, 'a standby that is removed is refused');
see($one, 6);
delivered($one, 'one', 'the other is not');
is(scope(), '1,2,3,4,5,6,81', 'and is known');

$_->stop for $one, $two, $primary;
done_testing();
