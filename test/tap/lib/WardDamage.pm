# Damage to files, as a disk or somebody may do it.
package WardDamage;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(flip);

# Changes a byte of a file, or changes it back. One byte alone: whoever is at work may
# append meanwhile.
sub flip
{
	my ($path, $at) = @_;
	open(my $file, '+<:raw', $path) or die "$path: $!";
	seek($file, $at, 0);
	read($file, my $byte, 1);
	seek($file, $at, 0);
	print $file $byte ^ "\x01";
	close($file);
	return;
}

1;
