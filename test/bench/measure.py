#!/usr/bin/python3
"""Measures pg_ward as ratios from one run: each pair is run in turn, A B A B, and the
median of the pairs' ratios is shown beside its budget. Nothing is asserted."""
import argparse
import os
import statistics
import subprocess

from pairs import connect, note, pair, pgbench_pair, seconds, table

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True, help="a directory for scripts")
    parser.add_argument("--evp", required=True, help="the compiled bare EVP loop")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration", type=int, default=4)
    arguments = parser.parse_args()
    rounds, people = arguments.rounds, 515000
    connection = connect()
    cursor = connection.cursor()

    def script(name, text):
        path = os.path.join(arguments.work, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    cursor.execute("CREATE EXTENSION pg_ward; CREATE EXTENSION pgcrypto")
    cursor.execute("SELECT ward.create_key('bench'), ward.grant_unseal('bench', current_user::name, 'bench')")
    cursor.execute("SET max_parallel_workers_per_gather = 0; SET work_mem = '256MB'")
    cursor.execute("ALTER DATABASE bench SET max_parallel_workers_per_gather = 0")
    for statement in (
            "CREATE TABLE plain (id int PRIMARY KEY, v text)",
            f"INSERT INTO plain SELECT i, lpad(i::text, 28, 'abcdefghijklmnop') FROM generate_series(1, {people}) i",
            "CREATE TABLE sealed (id int PRIMARY KEY, v sealed_text('bench'))", "INSERT INTO sealed SELECT * FROM plain",
            "CREATE TABLE pgc (id int PRIMARY KEY, v bytea)",
            "INSERT INTO pgc SELECT id, encrypt_iv(v::bytea, '0123456789abcdef0123456789abcdef', '0123456789abcdef', 'aes') FROM plain",
            "CREATE TABLE pgp (id int PRIMARY KEY, v bytea)",
            "INSERT INTO pgp SELECT id, pgp_sym_encrypt(v, 'key') FROM plain LIMIT 2000",
            "CREATE INDEX ON plain (v)", "CREATE INDEX ON sealed (v)",
            "VACUUM ANALYZE plain", "VACUUM ANALYZE sealed", "VACUUM ANALYZE pgc", "VACUUM ANALYZE pgp"):
        cursor.execute(statement)

    print("seal")
    base = statistics.median(seconds(cursor, "SELECT count(v) FROM plain") for _ in range(rounds))
    opened = statistics.median(seconds(cursor, "SELECT count(v::text) FROM sealed") for _ in range(rounds)) - base
    rate = people / opened
    evp = statistics.median(float(subprocess.run([arguments.evp, "1000000"], capture_output=True, text=True, check=True).stdout)
                            for _ in range(rounds))
    note("open a value, of a bare EVP loop's rate", evp / (opened / people * 1e9), ">= 0.60", evp / (opened / people * 1e9) >= 0.6)
    note("open a value, a second and core", f"{rate / 1e6:.2f}M", ">= 2.5M", rate >= 2.5e6)
    pgc = statistics.median(seconds(cursor, "SELECT count(decrypt_iv(v, '0123456789abcdef0123456789abcdef', '0123456789abcdef', 'aes')) FROM pgc")
                            for _ in range(3)) - base
    note("open a value, of pgcrypto decrypt_iv's rate", pgc / opened, "> 1", pgc > opened)
    pgp = seconds(cursor, "SELECT count(pgp_sym_decrypt(v, 'key')) FROM pgp") / 2000 * people
    note("open a value, of pgcrypto pgp_sym_decrypt's rate", pgp / opened, "> 1", pgp > opened)
    cursor.execute("SELECT avg(pg_column_size(s.v) - pg_column_size(p.v))::float FROM sealed s JOIN plain p USING (id)")
    overhead = cursor.fetchone()[0]
    note("bytes over the plaintext, with a tag", f"{overhead:.0f}", "<= 66", overhead <= 66)
    cursor.execute("SELECT ward.create_key('bare', 'none'), ward.grant_unseal('bare', current_user::name, 'bench')")
    cursor.execute("CREATE TABLE bare (id int, v sealed_text('bare')); INSERT INTO bare SELECT * FROM plain LIMIT 2000")
    cursor.execute("SELECT avg(pg_column_size(s.v) - pg_column_size(p.v))::float FROM bare s JOIN plain p USING (id)")
    overhead = cursor.fetchone()[0]
    note("bytes over the plaintext, without a tag", f"{overhead:.0f}", "<= 50", overhead <= 50)
    source, sink = os.path.join(arguments.work, "source"), os.path.join(arguments.work, "sink")
    cursor.execute(f"COPY plain TO '{source}'")
    cursor.execute("CREATE TABLE into_plain (id int, v text); CREATE TABLE into_sealed (id int, v sealed_text('bench'))")

    def copy_from(table):
        cursor.execute(f"TRUNCATE {table}")
        return seconds(cursor, f"COPY {table} FROM '{source}'")

    copy_from("into_sealed"), copy_from("into_plain")
    ratio = statistics.median(copy_from("into_sealed") / copy_from("into_plain") for _ in range(rounds))
    note("COPY FROM, one sealed column of 28 bytes", ratio, "<= 2.2", ratio <= 2.2)
    ratio = pair(cursor, f"COPY sealed TO '{sink}'", f"COPY plain TO '{sink}'", rounds)
    note("COPY TO, the same", ratio, "<= 3", ratio <= 3)
    ratio, spent = pgbench_pair(
        script("sealed.sql", f"\\set i random(1, {people})\nSELECT id FROM sealed WHERE v = lpad((:i)::text, 28, 'abcdefghijklmnop');\n"),
        script("plain.sql", f"\\set i random(1, {people})\nSELECT id FROM plain WHERE v = lpad((:i)::text, 28, 'abcdefghijklmnop');\n"),
        rounds, arguments.duration)
    note("index look-up, prepared, tps of text's", ratio, ">= 0.95", ratio >= 0.95)
    note("the same, backend's processor time of text's", spent, "<= 1 / 0.95", spent <= 1 / 0.95)

    print("witness and trail")
    for statement in ("CREATE TABLE seen (id int PRIMARY KEY, grp int, v text)",
                      f"INSERT INTO seen SELECT i, i % 1000, 'value ' || i FROM generate_series(1, {people}) i",
                      "CREATE TABLE unseen AS SELECT * FROM seen", "ALTER TABLE unseen ADD PRIMARY KEY (id)",
                      "CREATE TABLE dim AS SELECT g AS grp, 'group ' || g AS name FROM generate_series(0, 999) g",
                      "VACUUM ANALYZE seen", "VACUUM ANALYZE unseen", "ANALYZE dim", "SELECT ward.watch('seen', 'id')"):
        cursor.execute(statement)
    seen = script("seen.sql", f"\\set i random(1, {people})\nSELECT v FROM seen WHERE id = :i;\n")
    unseen = script("unseen.sql", f"\\set i random(1, {people})\nSELECT v FROM unseen WHERE id = :i;\n")
    for clients in (1, 2):
        ratio, spent = pgbench_pair(seen, unseen, rounds, arguments.duration, clients)
        note(f"primary-key SELECT, {clients} client{'s' if clients > 1 else ''}, tps of unwatched's", ratio, ">= 0.85", ratio >= 0.85)
        note("the same, backends' processor time of unwatched's", spent, "<= 1 / 0.85", spent <= 1 / 0.85)
    for what, statement, budget in (
            ("full scan", "SELECT id, v FROM {t} OFFSET 0", 1.10),
            ("full scan, filtered", "SELECT v FROM {t} WHERE grp = 7", 1.10),
            ("hash join", "SELECT d.name, t.v FROM {t} t JOIN dim d USING (grp) WHERE d.grp < 100", 1.10),
            ("ORDER BY LIMIT", "SELECT v FROM {t} ORDER BY v LIMIT 20", 1.10),
            ("count(*)", "SELECT count(*) FROM {t}", 1.25)):
        # Inside the server, so that the network and the client do not hide the cost.
        inside = "DO $x$ DECLARE r record; BEGIN FOR r IN " + statement + " LOOP END LOOP; END $x$" if "scan" in what or "join" in what else statement
        ratio = pair(cursor, inside.format(t="seen"), inside.format(t="unseen"), rounds)
        note(f"{what} over 515,000, watched of unwatched", ratio, f"<= {budget:.2f}", ratio <= budget)
    ratio = pair(cursor, f"COPY (SELECT id, v FROM seen) TO '{sink}'", f"COPY (SELECT id, v FROM unseen) TO '{sink}'", rounds)
    note("full scan, COPY to a file, watched of unwatched", ratio, "<= 1.10", ratio <= 1.10)
    loop = "DO $x$ DECLARE r text; BEGIN FOR i IN 1 .. 50000 LOOP SELECT v INTO r FROM {t} WHERE id = i; END LOOP; END $x$"
    extra = statistics.median(seconds(cursor, loop.format(t="seen")) - seconds(cursor, loop.format(t="unseen")) for _ in range(rounds)) / 50000 * 1e6
    base = statistics.median(seconds(cursor, loop.format(t="unseen")) for _ in range(rounds)) / 50000 * 1e6
    note("cached look-up inside the server, on top of unwatched", (extra + base) / base, f"<= {(base + 1.5) / base:.2f} (+1.5 us)", extra <= 1.5)
    spent = seconds(cursor, "SELECT count(_ward.record_event('bench', '{a}', '{b}')) FROM generate_series(1, 200000)")
    note("records a second into one trail", f"{200000 / spent / 1e3:.0f}k", ">= 100k", 200000 / spent >= 1e5)

    print("scope")
    cursor.execute("SELECT ward.sync()")
    during = "tstzrange(now() - interval '1 hour', NULL)"
    spent = min(seconds(cursor, f"SELECT count(*) FROM ward.breach_scope({during})", wall=True) for _ in range(3))
    note("breach_scope over this run (515,000 people), seconds", f"{spent:.2f}", "<= 1 (70 days)", spent <= 1)
    table()


if __name__ == "__main__":
    main()
