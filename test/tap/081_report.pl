# The report of an incident: well-formed, self-contained and accessible in HTML, the same
# figures in all formats, hostile names escaped, nothing sealed in clear; and where the
# trail was tampered with, every answer says that it is not to be relied upon.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('report');
my $kek = PostgreSQL::Test::Utils::tempdir() . '/kek';
system_or_bail('openssl', 'rand', '-out', $kek, '32');
chmod 0600, $kek;
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_ward'\nward.kek_file = '$kek'\nfsync = off\n");
$node->start;

my $evil = 'evil <img src=x onerror=alert(1)>';
$node->safe_psql('postgres', qq{
	CREATE EXTENSION pg_ward;
	SELECT ward.create_key('k');
	CREATE TABLE person (id int PRIMARY KEY, name sealed_text('k'), phone sealed_text('k'));
	INSERT INTO person SELECT i, 'secretname' || i, 'secretphone' || i FROM generate_series(1, 500) i;
	SELECT ward.watch('person', 'id');
	CREATE VIEW dossier AS SELECT id AS subject, (ARRAY['missing', 'detained <b>&"''</b>'])[1 + id % 2] AS category,
		(ARRAY['Ελλάδα', 'société | <script>alert(3)</script>'])[1 + id % 2] AS society, id % 100 = 0 AS unsafe_to_contact FROM person;
	SELECT ward.describe_subjects('person', 'dossier');
	CREATE ROLE "$evil" LOGIN;
	GRANT SELECT ON person TO "$evil";
	SELECT ward.grant_unseal('k', '$evil', 'test');
	CREATE ROLE analyst LOGIN IN ROLE ward_analyst;
	GRANT SELECT ON dossier TO analyst;
});
$node->safe_psql('postgres', qq{
	SELECT phone FROM person WHERE id = 450;
	SET SESSION AUTHORIZATION "$evil";
	SET ward.actor = 'x"><script>alert(2)</script>';
	SELECT id, name FROM person WHERE id BETWEEN 1 AND 120;
	SELECT count(*) FROM person WHERE id <= 200;
});
my $as = 'SET ROLE analyst;';
my $id = $node->safe_psql('postgres', qq{$as SELECT ward.open_incident('Stolen <b>session</b> & more', tstzrange(NULL, NULL),
	roles => ARRAY['$evil']::name[], known_at => now() - interval '20 hours')});
$node->safe_psql('postgres', qq{$as SELECT ward.describe_incident($id, nature => 'Stolen <i>by phishing</i>', contact => 'dpo\@example.org');
	SELECT ward.set_notification($id, subject, 'notified', 'letter') FROM ward.claim_notifications($id, 7);});

my %report;
for my $format ('json', 'markdown', 'html')
{
	$report{$format} = $node->safe_psql('postgres', "$as SELECT ward.incident_report($id, '$format')");
	unlike($report{$format}, qr/secretname|secretphone/, "no plaintext of a sealed column in $format");
	like($report{$format}, qr/dpo/, "contact in $format");
}
my $file = PostgreSQL::Test::Utils::tempdir() . '/report.html';
append_to_file($file, $report{html});
my ($out, $err) = run_command([ 'python3', "$ENV{WARD_ROOT}/test/tap/lib/check_report.py", $file ]);
is("$out$err", '', 'the page is well-formed, self-contained and accessible');
unlike($report{html}, qr/<(script|img|b>session|i>by)/, 'no name becomes an element');
like($report{html}, qr/Stolen &lt;b&gt;session&lt;\/b&gt; &amp; more/, 'the title is there, escaped');
like($report{html}, qr/x&quot;&gt;&lt;script&gt;alert\(2\)/, 'the actor is there, escaped');
unlike($report{markdown}, qr/<(script|img|b>|i>)/, 'no name becomes an element in Markdown');
like($report{markdown}, qr/^\| société \\\| &lt;script/m, 'a bar in a name does not end a cell');

# The page prints: on paper the text is all there, and each table's head is on each of its pages.
my $pdf = PostgreSQL::Test::Utils::tempdir() . '/report.pdf';
my $home = PostgreSQL::Test::Utils::tempdir();
# What it says on its standard error is not about the page.
run_command([ 'env', "HOME=$home", 'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--no-pdf-header-footer',
		"--user-data-dir=$home", "--print-to-pdf=$pdf", "file://$file" ]);
my ($paper) = run_command([ 'pdftotext', '-layout', $pdf, '-' ]);
like($paper, qr/Stolen <b>session<\/b> & more.*People by category.*Basis and limits.*Versions of the scope/s, 'the page prints');
like($paper, qr/société/, 'with the names as they are');
like($paper, qr/limited/, 'no short word is cut in two');
my ($page) = grep { /^ *People by society/m } split(/\f/, $paper);
like($page, qr/People by society.*société.*Ελλάδα/s, 'a short table stands on one page with its heading and its head');
unlike($paper, qr/secretname|secretphone/, 'and no plaintext of a sealed column');
my ($fonts) = run_command([ 'pdffonts', $pdf ]);
unlike($fonts, qr/ no +(yes|no) +(yes|no) +\d+ +\d+$/m, 'all fonts are in the file');

my $facts = $node->safe_psql('postgres', "$as SELECT r ->> 'certain', r ->> 'possible', r -> 'progress' ->> 'notified', r ->> 'reliable',
	r -> 'columns' -> 0 ->> 'column', r -> 'columns' -> 1 ->> 'certain_clear', jsonb_array_length(r -> 'categories'), r -> 'sessions' -> 0 ->> 'role'
	FROM (SELECT ward.incident_report($id, 'json')::jsonb AS r) x");
is($facts, "120|80|7|true|person.id|120|2|$evil", 'figures');
like($report{html}, qr/<b>120<\/b> people certainly affected/, 'the same in HTML');
like($report{markdown}, qr/\*\*80\*\* people possibly affected/, 'the same in Markdown');
like($report{html}, qr/>trail verified<\/th><td>holds</, 'the basis is there');
is($node->safe_psql('postgres', "$as SELECT sum((b ->> 'people')::int) > 0, sum((b ->> 'other_people')::int) > 0
	FROM jsonb_array_elements(ward.incident_report($id, 'json')::jsonb -> 'timeline') b"), 't|t', 'the timeline shows the incident and the others');

# What limits the answer is said.
$node->safe_psql('postgres', 'SET ward.capture = off; SELECT count(*) FROM person;');
$node->safe_psql('postgres', q{SELECT ward.unwatch('person', 'id', 'test'); SELECT pg_sleep(0.1); SELECT ward.watch('person', 'id');});
is($node->safe_psql('postgres', "$as SELECT string_agg(DISTINCT ground || ' ' || state, ', ') FROM ward.scope_basis(tstzrange(now() - interval '1 hour', NULL), 'person')
	WHERE ground IN ('trail verified', 'index complete', 'capture on', 'tables watched', 'evidence reaches back')"),
	'capture on limited, evidence reaches back limited, index complete holds, tables watched limited, trail verified holds', 'basis');
is($node->safe_psql('postgres', "SELECT count(*) FROM ward.scope_basis(tstzrange(now() - interval '1 hour', NULL), 'person')
	WHERE ground = 'tables watched' AND since > now() - interval '5 minutes' AND until IS NOT NULL AND widens"), '1', 'the time without a watch');

# Somebody changes one byte of what was written.
$node->safe_psql('postgres', 'SELECT ward.sync()');
my ($segment) = sort glob($node->data_dir . '/ward_trail/*.trail');
open(my $fh, '+<:raw', $segment) or die "$segment: $!";
seek($fh, int((-s $segment) / 2), 0);
read($fh, my $byte, 1);
seek($fh, int((-s $segment) / 2), 0);
print $fh chr(ord($byte) ^ 1);
close($fh);
my ($code, $stdout, $stderr) = $node->psql('postgres', "$as SELECT bool_and(note LIKE '%not to be relied upon%') FROM ward.breach_summary(tstzrange(NULL, NULL))");
is($stdout, 't', 'each row of the summary says that it is not to be relied upon');
like($stderr, qr/WARNING: .*not to be relied upon/, 'and so does a warning');
($code, $stdout, $stderr) = $node->psql('postgres', "$as SELECT verdict, people, note LIKE '%not to be relied upon%' FROM ward.breach_summary(tstzrange(NULL, NULL), roles => '{nobody}')");
is($stdout, 'unknown|0|t', 'an empty answer says so, too');
($code, $stdout, $stderr) = $node->psql('postgres', "$as SELECT ward.incident_report($id, 'html')");
like($stdout, qr/class="warning" role="alert">This report is not to be relied upon/, 'the report says so');
like($stdout, qr/<tr class="fails"><th scope="row">trail verified/, 'and its basis why');

$node->stop('immediate');
done_testing();
