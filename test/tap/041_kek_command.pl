# A key-encryption key that a command prints: the four errors, and a command that
# hangs neither holds up a cancel nor outlives it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use WardKek;

my $node = PostgreSQL::Test::Cluster->new('command');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $hex = join '', map { sprintf '%02x', int rand 256 } 1 .. 32;
my $script = "$dir/kms";

# The command's script; $1 is a word that finds its processes.
sub kms
{
	my ($body) = @_;
	kek_write($script, "#!/bin/sh\n$body\n");
	chmod 0700, $script;
	return;
}

$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_ward'
include = 'kek.conf'
});
my %conf = (kek_provider => 'command', kek_command => $script, kek_command_timeout => '3s');
kek_conf($node, %conf);
kms("echo $hex");
$node->start;
kek_populate($node);
is($node->safe_psql('postgres', 'SELECT state FROM ward.kek_check() WHERE version = 1'), 'good', 'it wraps');
kek_served($node, 'and unwraps');

kms("printf '" . join('', map { sprintf '\\%03o', hex } $hex =~ /../g) . "'");
kek_served($node, 'the same key as bytes');
kms("printf '$hex\\r\\n'");
kek_served($node, 'with a carriage return');

# Absent.
kek_conf($node, %conf, kek_command => '');
kek_refused($node, 'WD101', 'not configured');
kek_conf($node, %conf, kek_command => "$dir/nowhere");
kek_refused($node, 'WD101', 'not installed');
kek_conf($node, %conf);

# Unreachable.
kms("echo $hex; exit 69");
kek_refused($node, 'WD102', 'a key, but a status of failure');
kms("kill -9 \$\$");
kek_refused($node, 'WD102', 'ended by a signal');

# Refused.
kms("echo denied by policy >&2; exit 77");
kek_refused($node, 'WD103', 'refused by the service');
my ($status, $out, $err) = kek_reader($node, 'SELECT x FROM sealed');
unlike($err, qr/denied by policy|\Q$script\E/, 'the client sees neither its error output nor the command');
like(slurp_file($node->logfile), qr/denied by policy/, 'the server log has its error output');

# Corrupt.
kms('true');
kek_refused($node, 'WD104', 'it prints nothing');
kms("echo ${hex}00");
kek_refused($node, 'WD104', 'it prints more than a key');
kms("yes $hex");
kek_refused($node, 'WD104', 'it never stops printing');
kms("echo " . substr($hex, 0, 62));
kek_refused($node, 'WD104', 'it prints less than a key');
kms("echo " . ('g' x 64));
kek_refused($node, 'WD104', 'it prints no key');
kms("echo " . ('42' x 32));
kek_refused($node, 'WD104', 'it prints another key');
unlike(slurp_file($node->logfile), qr/$hex/, 'no output of it is in the log');

# A command that hangs: in a pipeline, so that there is more than one process to end.
my $word = "$dir/pid";
sub hang
{
	unlink $word;
	# The group's number: the shell that runs the command need not be the script's.
	kms("ps -o pgid= -p \$\$ | tr -d ' ' > '$word.new'; mv '$word.new' '$word'; sleep 600 | cat");
	$node->restart;
	return;
}
sub leader
{
	for (1 .. 1000) { last if -s $word; usleep(10_000); }
	chomp(my $pid = slurp_file($word));
	return $pid;
}
sub gone
{
	my ($pid, $what) = @_;
	my $left;
	for (1 .. 500)
	{
		# Killed members of the group may wait for init to reap them.
		$left = `ps -eo pgid=,pid=,stat=,args=`;
		$left = join "\n", grep { /^\s*$pid\s/ && !/^\s*\d+\s+\d+\s+Z/ } split /\n/, $left;
		last if $left eq '';
		usleep(10_000);
	}
	is($left, '', "$what: its processes are gone");
	return;
}

hang();
kek_conf($node, %conf, kek_command_timeout => '500ms');
$node->restart;
my $began = time;
($status, $out, $err) = kek_reader($node, 'SELECT x FROM sealed');
like($err, qr/\bWD102: .*took too long/, 'a command that hangs is stopped');
cmp_ok(time - $began, '<', 60, 'long before it would have ended');
gone(leader(), 'timeout');
kms('exec 1>&-; sleep 600');
kek_refused($node, 'WD102', 'it closes its output and hangs');

kek_conf($node, %conf, kek_command_timeout => '600s');
hang();
($status, $out, $err) = kek_reader($node, "SET statement_timeout = '500ms'; SELECT x FROM sealed");
like($err, qr/\b57014: /, 'a cancel ends the wait');
gone(leader(), 'cancel');

hang();
my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'reader' ]);
$session->query_until(qr/started/, "\\echo started\nSELECT x FROM sealed;\n");
my $pid = leader();
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = 'reader'});
gone($pid, 'termination');
eval { $session->quit };

# It has no file of the server's.
kms("ls -l /proc/self/fd > '$dir/fds'; echo $hex");
kek_served($node, 'with a command that looks at its files');
my @fds = grep { m{-> /} || m{socket:} } split /\n/, slurp_file("$dir/fds");
is(scalar(grep { m{socket:|base/|pg_wal|global/} } @fds), 0, 'the command holds none of the server\'s files')
  or diag(join "\n", @fds);

$node->stop;
done_testing();
