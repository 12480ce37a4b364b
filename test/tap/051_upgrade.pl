# pg_upgrade, by copy and by link: sealed values, keys and literals stay as they are; the
# trail goes on where it is carried over, and where it is not, the server says so.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WardSample;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $kek = sample_kek("$dir/kek");
my $bin = $ENV{PATH} =~ s/:.*//r;
my $node_of = sub { return $_[0]->safe_psql('postgres', 'SELECT node FROM ward.trail_state()') };
my $state = sub { return $_[0]->safe_psql('postgres', 'SELECT node, records FROM ward.trail_state()') };

for my $mode ('--copy', '--link')
{
	my $name = $mode =~ s/-//gr;
	my $outside = $mode eq '--link';
	my $old = sample_node("old_$name", $kek);
	my $setting = $outside ? "ward.trail_directory = '$dir/trail_$name'\n" : '';
	if ($outside)
	{
		$old->stop;
		unlink $old->data_dir . '/ward_trail.node';
		$old->append_conf('postgresql.conf', $setting);
		$old->start;
	}
	sample_populate($old);
	my $sealed = sample_sealed($old, 'postgres');
	my $plain = sample_plain($old, 'postgres');
	my $catalog = sample_catalog($old, 'postgres');
	$old->safe_psql('postgres', 'SELECT ward.sync()');
	my $disclosures = $old->safe_psql('postgres', q{SELECT count(*) FROM ward.disclosures WHERE role = 'reader'});
	cmp_ok($disclosures, '>', 0, "$mode: the old server has evidence");
	my $trail = $node_of->($old);
	$old->stop;

	my $new = PostgreSQL::Test::Cluster->new("new_$name");
	$new->init;
	$new->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nward.kek_file = '$kek'\n$setting");
	chdir $dir;
	command_ok([ 'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bin, '-B', $bin,
		'-s', $new->host, '-p', $old->port, '-P', $new->port, ($outside ? $mode : ()) ], "$mode: pg_upgrade");
	ok(!-e $new->data_dir . '/ward_trail', "$mode: pg_upgrade begins no trail in the new data directory");
	ok(!-e $new->data_dir . '/ward_trail.node', "$mode: nor takes one over");

	if ($mode eq '--copy')
	{
		# Carried over, as docs/replication.md says.
		system_or_bail('cp', '-a', $old->data_dir . '/ward_trail', $old->data_dir . '/ward_trail.node', $old->data_dir . '/pgsql_tmp_ward_signing', $new->data_dir);
	}
	# Outside of the data directory it is found where it was, but for the signing key.
	system_or_bail('cp', '-a', $old->data_dir . '/pgsql_tmp_ward_signing', $new->data_dir) if $outside;
	$new->start;
	is($node_of->($new), $trail, "$mode: the trail goes on");
	is(sample_sealed($new, 'postgres'), $sealed, "$mode: bit for bit");
	is(sample_plain($new, 'postgres'), $plain, "$mode: opens");
	is(sample_catalog($new, 'postgres'), $catalog, "$mode: the catalog is the same");
	sample_works($new, 'postgres', $mode);
	is($new->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', "$mode: the trail is whole");
	$new->safe_psql('postgres', 'SELECT ward.sync()');
	cmp_ok($new->safe_psql('postgres', q{SELECT count(*) FROM ward.disclosures WHERE role = 'reader'}), '>=', $disclosures, "$mode: the index goes on");
	is($new->safe_psql('postgres', q{SELECT count(*) FROM ward.events WHERE kind = 'trail.elsewhere'}), '0', "$mode: nothing is missed");
	$new->stop;

	# Forgotten: nothing is lost silently.
	next if $outside;
	system_or_bail('rm', '-rf', $new->data_dir . '/ward_trail', $new->data_dir . '/ward_trail.node');
	$new->start;
	$new->safe_psql('postgres', 'SELECT ward.sync()');
	isnt($node_of->($new), $trail, 'not carried over, the new server is another node');
	ok($new->wait_for_log(qr/WARNING: .*evidence of another trail.*\n.*$trail.*\n.*HINT: .*ward_trail/), 'the log says what to do');
	is($new->safe_psql('postgres', q{SELECT detail ->> 'node' FROM ward.events WHERE kind = 'trail.elsewhere'}), $trail, 'and the trail names the one that is elsewhere');
	cmp_ok($new->safe_psql('postgres', q{SELECT count(*) FROM ward.disclosures WHERE role = 'reader'}), '>=', $disclosures, 'what was indexed is still there');
	$new->stop;
}
done_testing();
