# What the trail tells besides disclosures: sessions, failed logins, roles, rights,
# definitions, code, settings, refusals; and that no literal, password or sealed plaintext
# is in any of it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WardSample;

my $kek = sample_kek(PostgreSQL::Test::Utils::tempdir() . '/kek');
my $node = sample_node('audit', $kek);
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_ward;
	SELECT ward.create_key('main');
	CREATE ROLE officer LOGIN;
	CREATE ROLE clerk LOGIN PASSWORD 'planted_password_1';
	CREATE TABLE person (id int PRIMARY KEY, name text, secret sealed_text('main'));
	CREATE TABLE plain (id int);
	SELECT ward.grant_unseal('main', current_user, 'test');
	INSERT INTO person VALUES (1, 'planted_name_1', 'planted_secret_1');
	SELECT ward.watch('person', 'id');});

my $last = 0;
my $events = sub {
	my ($sql, %options) = @_;
	$node->psql('postgres', $sql, %options) if $sql;
	my $list = $node->safe_psql('postgres', qq{
		SELECT ward.sync() IS NULL;
		SELECT kind || ' ' || (SELECT string_agg(key || '=' || value, ' ' ORDER BY key) FROM jsonb_each_text(detail - '{session,role,session_role,database,client}'::text[]))
		FROM _ward.event WHERE position >= $last AND kind !~ '^(session.started|trail)' ORDER BY position});
	$last = $node->safe_psql('postgres', 'SELECT _ward.trail_end()');
	$list =~ s/^f\n?//;
	return $list;
};
$events->();

# Roles and rights.
is($events->("CREATE ROLE new_one LOGIN SUPERUSER PASSWORD 'planted_password_2'"), 'role.changed changed=new_one command=CREATE ROLE options=canlogin, superuser, password', 'a role, without its password');
is($events->("ALTER ROLE new_one NOSUPERUSER PASSWORD 'planted_password_3'"), 'role.changed changed=new_one command=ALTER ROLE options=superuser off, password', 'altered');
is($events->('GRANT officer TO new_one'), 'role.granted command=GRANT granted=officer roles=new_one', 'a membership');
is($events->('GRANT SELECT (name), UPDATE ON person, plain TO clerk, PUBLIC'), 'grant.changed command=GRANT privileges=select (name), update relation=public.person roles=clerk, PUBLIC', 'rights on a watched table');
is($events->('REVOKE ALL ON person FROM PUBLIC'), 'grant.changed command=REVOKE privileges=ALL relation=public.person roles=PUBLIC', 'and revoked');
is($events->('GRANT SELECT ON plain TO clerk'), '', 'not those on others');
is($events->('GRANT SELECT ON ALL TABLES IN SCHEMA public TO officer'), 'grant.changed command=GRANT privileges=select roles=officer schema=public', 'a whole schema');
is($events->('DROP ROLE new_one'), 'role.changed changed=new_one command=DROP ROLE', 'a dropped role');

# Definitions.
is($events->("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"), '', 'a function in a trusted language');
is($events->('CREATE TRIGGER t BEFORE INSERT ON person FOR EACH ROW EXECUTE FUNCTION f()'), 'definition.changed command=CREATE TRIGGER object=t relation=public.person', 'a trigger');
is($events->('ALTER TABLE person DISABLE TRIGGER t'), 'definition.changed command=ALTER TABLE relation=public.person', 'ALTER TABLE');
is($events->('DROP TRIGGER t ON person'), 'definition.changed command=DROP TRIGGER object=t relation=public.person', 'a dropped trigger');
is($events->("CREATE POLICY p ON person USING (name <> 'planted_literal_1')"), 'definition.changed command=CREATE POLICY object=p relation=public.person', 'a policy');
is($events->('CREATE RULE r AS ON DELETE TO person DO ALSO NOTHING'), 'definition.changed command=CREATE RULE object=r relation=public.person', 'a rule');
is($events->("CREATE VIEW v AS SELECT * FROM person WHERE name <> 'planted_literal_2'"), 'definition.changed command=CREATE VIEW object=public.v relation=public.person', 'a view over it');
is($events->('CREATE VIEW w AS SELECT * FROM plain'), '', 'not over another');
is($events->('CREATE PUBLICATION pub FOR TABLE person, plain'), 'definition.changed command=CREATE PUBLICATION object=pub relation=public.person', 'a publication');
is($events->('CREATE TABLE child () INHERITS (person)'), 'definition.changed command=CREATE TABLE object=child relation=public.person', 'a child');

# Code.
like($events->("CREATE FUNCTION c() RETURNS int LANGUAGE c AS 'pg_ward', 'ward_version'"), qr/^code.created command=CREATE FUNCTION language=c name=c$/, 'a function in C');
is($events->('CREATE EXTENSION citext; DROP EXTENSION citext'), "extension.changed command=CREATE EXTENSION name=citext\nextension.changed command=DROP EXTENSION name=citext", 'an extension');

# Settings.
is($events->("SET ward.small_aggregate = 3"), 'setting.changed how=set setting=ward.small_aggregate value=3', 'SET');
is($events->("ALTER ROLE clerk SET ward.capture_memory = 1000"), 'setting.changed how=alter role setting=ward.capture_memory value=1000', 'ALTER ROLE SET');
is($events->("ALTER SYSTEM SET session_preload_libraries = ''"), 'setting.changed how=alter system setting=session_preload_libraries value=""', 'ALTER SYSTEM');
is($events->("ALTER SYSTEM RESET session_preload_libraries"), 'setting.changed how=alter system setting=session_preload_libraries', 'and reset');
is($events->("SET ward.kek_file = 'planted_literal_3'"), 'setting.changed how=set setting=ward.kek_file', 'a value that may be a secret is left out');
is($events->("SET ward.actor = 'jane'; SET work_mem = '4MB'"), '', 'who acts is in each context');

# Refusals.
is($events->("SELECT name FROM person WHERE secret = 'planted_secret_2'", extra_params => [ '-U', 'officer' ]), '', 'who may read is not refused');
$node->safe_psql('postgres', 'REVOKE SELECT ON person FROM officer');
$events->();
is($events->("SELECT name FROM person WHERE name = 'planted_literal_4'", extra_params => [ '-U', 'officer' ]), 'statement.refused relation=public.person sqlstate=42501', 'who may not is');
is($events->("DO \$\$ BEGIN PERFORM name FROM person; EXCEPTION WHEN insufficient_privilege THEN NULL; END \$\$", extra_params => [ '-U', 'officer' ]), 'statement.refused relation=public.person sqlstate=42501', 'also where a function hides it');
is($events->("SELECT count(*) FROM plain", extra_params => [ '-U', 'officer' ]), '', 'not on other tables');

# Sessions: one record each, at their first statement.
$node->safe_psql('postgres', 'SELECT 1; SELECT 2', extra_params => [ '-U', 'clerk' ]);
$node->safe_psql('postgres', 'SELECT ward.sync()');
is($node->safe_psql('postgres', "SELECT count(*), min(detail->>'client') FROM ward.events WHERE kind = 'session.started' AND detail->>'user' = 'clerk'"), '1|[local]', 'a session');

# SET ROLE is in the context of what is done then.
$node->safe_psql('postgres', "GRANT SELECT ON person TO clerk; SET ward.actor = 'switch'; SET ROLE clerk; SELECT count(*) FROM person");
$node->safe_psql('postgres', 'SELECT ward.sync()');
is($node->safe_psql('postgres', "SELECT DISTINCT current_role_name, role <> 'clerk' FROM ward.disclosures WHERE actor = 'switch'"), 'clerk|t', 'a switched role');

# Failed logins.
$events->();
my $hba = $node->data_dir . '/pg_hba.conf';
unlink $hba;
$node->append_conf('pg_hba.conf', "local all clerk scram-sha-256\nlocal all officer reject\nlocal all all trust\n");
$node->reload;
$node->poll_query_until('postgres', "SELECT count(*) = 3 FROM pg_hba_file_rules") or die;
{
	local $ENV{PGPASSWORD} = 'planted_password_wrong';
	isnt($node->psql('postgres', 'SELECT 1', extra_params => [ '-U', 'clerk' ]), 0, 'a wrong password');
}
isnt($node->psql('postgres', 'SELECT 1', extra_params => [ '-U', 'officer' ]), 0, 'one who is rejected');
isnt($node->psql('postgres', 'SELECT 1', extra_params => [ '-U', 'nobody' ]), 0, 'one who does not exist');
is($events->(), join("\n", map { "login.failed application=075_audit.pl user=$_ wanted=postgres" } qw(clerk officer nobody)), 'failed logins, one record each');

# Nothing planted anywhere in the trail.
my $bytes = join '', map { slurp_file($_) } glob($node->data_dir . '/ward_trail/*');
my @planted = $bytes =~ /(planted\w*)/g;
is("@planted", '', 'no password, literal or plaintext of a sealed column in the trail');
like($bytes, qr/statement\.refused/, 'which is the trail');
is($node->safe_psql('postgres', 'SELECT verified FROM ward.verify_trail()'), 't', 'and is whole');

$node->stop;
done_testing();
