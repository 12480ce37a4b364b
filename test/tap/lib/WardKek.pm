package WardKek;

# What the tests of the KEK's providers share: a server with something sealed and
# something clear, and what must hold while the KEK can't be had.
use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(kek_populate kek_refused kek_served kek_reader kek_write kek_conf);

# Settings that the tests change lie in a file of their own.
sub kek_conf
{
	my ($node, %settings) = @_;
	my $file = $node->data_dir . '/kek.conf';
	open my $out, '>', $file or die "$file: $!";
	for my $name (sort keys %settings)
	{
		(my $value = $settings{$name}) =~ s/'/''/g;
		print $out "ward.$name = '$value'\n";
	}
	close $out;
	return;
}

sub kek_populate
{
	my ($node) = @_;
	$node->safe_psql('postgres', q{
		CREATE EXTENSION pg_ward;
		CREATE ROLE reader LOGIN;
		CREATE TABLE clear (x text);
		INSERT INTO clear VALUES ('served');
		SELECT ward.create_key('k');
		SELECT ward.grant_unseal('k', 'reader', 'test');
		CREATE TABLE sealed (id int PRIMARY KEY, x sealed_text('k'));
		INSERT INTO sealed VALUES (1, 'planted plaintext');
		GRANT SELECT, INSERT ON sealed, clear TO reader;
	});
	return;
}

sub kek_reader
{
	my ($node, $query) = @_;
	return $node->psql('postgres', "\\set VERBOSITY verbose\n$query", extra_params => [ '-U', 'reader' ]);
}

# In a server that has forgotten all secrets: an error of this code, nothing shown,
# nothing stored, and whatever is not sealed is served.
sub kek_refused
{
	my ($node, $code, $what) = @_;
	$node->restart;
	for my $query (q{SELECT x FROM sealed}, q{INSERT INTO sealed VALUES (2, 'more')})
	{
		my ($status, $out, $err) = kek_reader($node, $query);
		like($err, qr/\b$code: /, "$what: $code");
		is($out, '', "$what: nothing is shown");
	}
	is($node->safe_psql('postgres', 'SELECT x FROM clear'), 'served', "$what: the rest is served");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM sealed'), '1', "$what: nothing is stored");
	return;
}

sub kek_served
{
	my ($node, $what) = @_;
	$node->restart;
	my ($status, $out, $err) = kek_reader($node, 'SELECT x FROM sealed WHERE id = 1');
	is($out, 'planted plaintext', $what) or diag($err);
	return;
}

# A file that the server's user alone can read.
sub kek_write
{
	my ($path, $content) = @_;
	my $mask = umask 0077;
	open my $out, '>:raw', $path or die "$path: $!";
	print $out $content;
	close $out;
	umask $mask;
	return;
}

1;
