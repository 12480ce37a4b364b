#!/usr/bin/python3
"""Measures the trail: what evidence costs look-ups by one, two and eight clients with each
durability, beside pgaudit; with and without the index that the witness advises; bytes a
statement; how fast the trail is indexed and verified. Nothing is asserted."""
import argparse
import os
import statistics
import subprocess
import time

from pairs import connect, note, pair, pgbench, seconds, table

PEOPLE = 515000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True, help="a directory for scripts, with the cluster in data/")
    parser.add_argument("--verify", required=True, help="tools/ward-verify")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=int, default=4)
    parser.add_argument("--records", type=int, default=10000000, help="records to verify")
    arguments = parser.parse_args()
    connection = connect()
    cursor = connection.cursor()

    def one(statement):
        cursor.execute(statement)
        return cursor.fetchone()[0]

    def script(name, text):
        path = os.path.join(arguments.work, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    for statement in ("CREATE EXTENSION pg_ward", "CREATE EXTENSION pgaudit", "CREATE EXTENSION pg_stat_statements",
                      "CREATE TABLE seen (id int PRIMARY KEY, grp int, v text)",
                      f"INSERT INTO seen SELECT i, i % 1000, 'value ' || i FROM generate_series(1, {PEOPLE}) i",
                      "CREATE TABLE unseen AS SELECT * FROM seen", "ALTER TABLE unseen ADD PRIMARY KEY (id)",
                      "VACUUM ANALYZE seen", "VACUUM ANALYZE unseen", "SELECT ward.watch('seen', 'id')"):
        cursor.execute(statement)
    look = "\\set i random(1, " + str(PEOPLE) + ")\nSELECT v FROM {} WHERE id = :i;\n"
    seen, unseen = script("seen.sql", look.format("seen")), script("unseen.sql", look.format("unseen"))

    print("look-ups by primary key, tps of unwatched's, in turn in one run")
    kinds = {
        "watched, write": (seen, "-c ward.durability=write"),
        "watched, fsync": (seen, "-c ward.durability=fsync"),
        "pgaudit, read": (unseen, "-c pgaudit.log=read"),
        "pgaudit, read, log_relation and log_rows": (unseen, "-c pgaudit.log=read -c pgaudit.log_relation=on -c pgaudit.log_rows=on"),
    }
    for clients in (1, 2, 8):
        ratios = {kind: [] for kind in kinds}
        for _ in range(arguments.rounds):
            os.environ["PGOPTIONS"] = ""
            plain = pgbench(unseen, clients, arguments.duration)[0]
            for kind, (path, options) in kinds.items():
                os.environ["PGOPTIONS"] = options
                ratios[kind].append(pgbench(path, clients, arguments.duration)[0] / plain)
        os.environ["PGOPTIONS"] = ""
        for kind, values in ratios.items():
            ratio = statistics.median(values)
            budget = ratio >= 0.85 if kind == "watched, write" else None
            note(f"{kind}, {clients} client{'s' if clients > 1 else ''}", ratio, ">= 0.85" if budget is not None else "", budget)

    print("index-only scans, watched of unwatched")
    for table_name in ("seen", "unseen"):
        cursor.execute(f"CREATE INDEX {table_name}_v ON {table_name} (v)")
        cursor.execute(f"VACUUM ANALYZE {table_name}")
    cursor.execute("SET max_parallel_workers_per_gather = 0; SET enable_seqscan = off; SET enable_sort = off")
    statement = "SELECT count(v) FROM (SELECT v FROM {} ORDER BY v OFFSET 0) s"
    ratio = pair(cursor, statement.format("seen"), statement.format("unseen"), arguments.rounds)
    note("index that lacks the subject", ratio, "", None)
    cursor.execute("DROP INDEX seen_v; CREATE INDEX seen_v ON seen (v) INCLUDE (id)")
    cursor.execute("VACUUM ANALYZE seen")
    ratio = pair(cursor, statement.format("seen"), statement.format("unseen"), arguments.rounds)
    note("index as advised (ward.watches)", ratio, "<= 1.10", ratio <= 1.1)
    cursor.execute("RESET enable_seqscan; RESET enable_sort")

    print("bytes and the index")
    cursor.execute("SELECT ward.sync()")
    size = "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c WHERE c.relnamespace = '_ward'::regnamespace AND c.relkind = 'r'"
    statements = 200000
    before, rows = one("SELECT bytes FROM ward.trail_status"), one(size)
    cursor.execute(f"DO $x$ DECLARE r text; BEGIN FOR i IN 1 .. {statements} LOOP SELECT v INTO r FROM seen WHERE id = 1 + i * 7919 % {PEOPLE}; END LOOP; END $x$")
    per = (one("SELECT bytes FROM ward.trail_status") - before) / statements
    note("bytes of evidence for a look-up", f"{per:.0f}", "", None)
    behind = one("SELECT max(behind) FROM ward.index_status")
    spent = seconds(cursor, "SELECT ward.sync()", wall=True)
    note("records a second into the index, while one look-up follows another", f"{behind / spent / 1e3:.0f}k", ">= 100k", behind / spent >= 1e5)
    note("bytes of the index for a look-up, folded", f"{(one(size) - rows) / statements:.1f}", "", None)

    print(f"verification of {arguments.records / 1e6:.0f} million records")
    have = one("SELECT records FROM ward.trail_status")
    left = max(arguments.records - have, 0)
    spent = seconds(cursor, f"SELECT count(_ward.record_event('bench', '{{a}}', '{{b}}')) FROM generate_series(1, {left})") if left else 1
    note("records a second into one trail", f"{left / spent / 1e3:.0f}k", ">= 100k", left / spent >= 1e5)
    have, size = one("SELECT records FROM ward.trail_status"), one("SELECT bytes FROM ward.trail_status")
    spent = seconds(cursor, "SELECT * FROM ward.verify_trail()", wall=True)
    note("ward.verify_trail(), records a second", f"{have / spent / 1e3:.0f}k", "", None)
    note("the same, bytes a second of sha256sum's", size / spent / hashed(arguments.work), "", None)
    key = one("SELECT first_key FROM ward.trail_status")
    directory = os.path.join(one("SHOW data_directory"), one("SELECT directory FROM ward.trail_status"))
    began = time.perf_counter()
    done = subprocess.run([arguments.verify, "--key", key, directory], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stdout)
    note("tools/ward-verify, records a second", f"{have / (time.perf_counter() - began) / 1e3:.0f}k", "", None)
    table()


def hashed(work):
    """Bytes a second of the system's own hash, for comparison."""
    path = os.path.join(work, "zeros")
    with open(path, "wb") as file:
        file.write(bytes(1 << 28))
    began = time.perf_counter()
    subprocess.run(["sha256sum", path], stdout=subprocess.DEVNULL, check=True)
    spent = time.perf_counter() - began
    os.unlink(path)
    return (1 << 28) / spent


if __name__ == "__main__":
    main()
