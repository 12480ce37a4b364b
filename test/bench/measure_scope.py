#!/usr/bin/python3
"""Measures the answers after a breach over 70 days, 515,000 people, 2,000 roles and 1, 10 or 100
million statements. A trail can't be filled with the past, so the index's tables are filled
directly, a partition a day, as the worker would have left them. Nothing is asserted."""
import argparse
import os
import random
import statistics
import threading
import time

import psycopg2

from pairs import connect, note, processor, seconds, table

PEOPLE = 515000
ROLES = 2000
DAYS = 70
FIRST_DAY = "2021-09-01"
# An index row of look-ups holds so many: what one session does with one statement in a minute.
FOLD = 10
# The intruder reads everybody one by one, a hundred a minute, and on the last day copies the table.
SCRAPED = 100
SCRAPES = -(-PEOPLE // (DAYS * SCRAPED))
# Everybody by each of so many jobs a night, and a fifth of them by one more.
SCANS = 5
GENERATED = 10 ** 12  # positions from here on are no record's of the real trail

DURING = f"tstzrange('{FIRST_DAY} 00:00+00', timestamptz '{FIRST_DAY} 00:00+00' + interval '{DAYS} days')"
INTRUDER = f"{DURING}, roles => '{{intruder}}'"


def prepare(cursor):
    for statement in (
            "CREATE EXTENSION pg_ward",
            "CREATE TABLE person (id int PRIMARY KEY, name text)",
            f"INSERT INTO person SELECT i, 'name ' || i FROM generate_series(1, {PEOPLE}) i",
            "CREATE TABLE known AS SELECT id AS subject, 'category ' || id % 7 AS category, 'letter' AS channel, "
            "'society ' || id % 23 AS society, id % 5 AS priority, id % 1000 = 0 AS unsafe_to_contact FROM person",
            "VACUUM ANALYZE person, known",
            "SELECT ward.watch('person', 'id')",
            # Describes the table, and the statement that look-ups are said to be.
            "SELECT name FROM person WHERE id = 1",
            "SELECT ward.sync()",
            "SELECT ward.describe_subjects('person', 'known')",
            "CREATE UNLOGGED TABLE shape AS SELECT d.node, d.relation, d.subject_attnum, d.subject_class, d.columns_clear, "
            "d.columns_sealed, d.fingerprint, (SELECT _ward.subject_set_agg(id) FROM known p(id)) AS everybody FROM _ward.disclosure d WHERE d.manner = 1 LIMIT 1",
            f"""INSERT INTO _ward.context (node, position, at, session, session_role, current_role_name, application, client)
                SELECT s.node, {GENERATED} + d * 10000 + r, timestamptz '{FIRST_DAY} 07:00+00' + d * interval '1 day',
                       format('%s.%s', d, r), x.role, x.role, 'app', '10.0.0.0'::inet + r
                FROM shape s, generate_series(0, {DAYS} - 1) d, generate_series(0, {ROLES} + 1) r,
                     LATERAL (SELECT CASE r WHEN {ROLES} THEN 'intruder' WHEN {ROLES} + 1 THEN 'batch' ELSE 'role' || r END AS role) x""",
            "ANALYZE _ward.context"):
        cursor.execute(statement)
    rows = one(cursor, "SELECT count(*) FROM shape")
    if rows != 1:
        raise RuntimeError("the look-up left no evidence")


def one(cursor, statement):
    cursor.execute(statement)
    return cursor.fetchone()[0]


def day(cursor, number, rows):
    """One day's partition: so many rows of look-ups by the staff, lists, nightly jobs, the intruder."""
    name = one(cursor, f"SELECT to_char(date '{FIRST_DAY}' + {number}, 'YYYYMMDD')")
    minute = f"(timestamptz '{FIRST_DAY} 00:00+00' + {number} * interval '1 day' + ({{}}) * interval '1 minute')"
    somebody = f"1 + floor(random() * {PEOPLE})::bigint"

    def put(manner, fingerprint, role, at, subjects, statements, source):
        cursor.execute(f"""INSERT INTO _ward.disclosure_{name}
            SELECT s.node, {GENERATED} + {number} * 10000 + ({role}), s.fingerprint + {fingerprint}, s.relation, s.subject_attnum, s.subject_class,
                   t.at, {manner}, '', s.columns_clear, s.columns_sealed, ({subjects}), _ward.subject_set({statements}),
                   cardinality({statements}), 0, t.at + interval '1 second', t.at + interval '50 seconds',
                   {GENERATED} * 2 + {number} * 100000000::bigint + i * 10 + {fingerprint}, {GENERATED} * 2 + {number} * 100000000::bigint + i * 10 + {fingerprint}
            FROM shape s, generate_series(0, ({source}) - 1::bigint) i, LATERAL (SELECT {minute.format(at)} AS at) t""")
        return cursor.rowcount

    cursor.execute(f"CREATE TABLE _ward.disclosure_{name} (LIKE _ward.disclosure); ALTER EXTENSION pg_ward ADD TABLE _ward.disclosure_{name}")
    made = put(1, 0, f"i % {ROLES}", f"480 + i / {ROLES}",
               "_ward.subject_set(ARRAY[" + ", ".join([somebody] * FOLD) + "])",
               "ARRAY[" + ", ".join(f"i / {ROLES} * {FOLD} + {k}" for k in range(FOLD)) + "]", rows)
    made += put(1, 1, f"i % {ROLES}", f"480 + i / {ROLES}",
                "SELECT _ward.subject_set_agg(1 + (i * 7919 + k) % 515000) FROM generate_series(1, 100) k", "ARRAY[i]",
                max(rows // 100, 1))
    made += put("CASE WHEN i = 0 THEN 1 ELSE 2 END", 2, ROLES + 1, "120 + i",
                "s.everybody", "ARRAY[i]", SCANS)
    made += put(3, 3, ROLES + 1, "180 + i",
                f"SELECT _ward.subject_set_agg(k) FROM generate_series(1, {PEOPLE}) k WHERE random() < 0.2 + 0 * i", "ARRAY[i]", 1)
    made += put(1, 4, ROLES, "600 + i",
                f"SELECT _ward.subject_set_agg(1 + ({number * SCRAPES * SCRAPED} + i * {SCRAPED} + k)::bigint * 7919 % {PEOPLE}) "
                f"FROM generate_series(0, {SCRAPED} - 1) k", f"ARRAY(SELECT i * {SCRAPED} + k FROM generate_series(0, {SCRAPED} - 1) k)",
                SCRAPES)
    if number == DAYS - 1:
        made += put(1, 5, ROLES, "1200", "s.everybody", "ARRAY[1]", 1)
    cursor.execute(f"ALTER TABLE _ward.disclosure ATTACH PARTITION _ward.disclosure_{name} FOR VALUES "
                   f"FROM ({minute.format(0)}) TO ({minute.format(1440)})")
    return made


def generate(cursor, statements):
    """The days, by two sessions; returns how many statements and rows there are."""
    others = DAYS * SCRAPES * SCRAPED + 1
    rows = max(statements - others, DAYS * ROLES) // DAYS // FOLD
    made, days, failed = [], list(range(DAYS)), []

    def work():
        try:
            connection = connect()
            while days:
                made.append(day(connection.cursor(), days.pop(), rows))
            connection.close()
        except (psycopg2.Error, RuntimeError) as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    cursor.execute("VACUUM ANALYZE _ward.disclosure, _ward.context")
    cursor.execute("CHECKPOINT")
    return DAYS * (rows * FOLD + rows // 100 + SCANS + 1) + others, sum(made)


def peak(cursor, statement):
    """Seconds on the wall and of the server process, and the most memory of its own that it had, in MB."""
    most, done = [0], threading.Event()
    path = f"/proc/{cursor.connection.get_backend_pid()}/status"

    def watch():
        while not done.is_set():
            with open(path, encoding="ascii") as file:
                most[0] = max(most[0], next(int(line.split()[1]) for line in file if line.startswith("RssAnon")))
            done.wait(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        used = processor(cursor.connection)
        spent = seconds(cursor, statement, wall=True)
        used = processor(cursor.connection) - used
    finally:
        done.set()
        thread.join()
    return spent, used, most[0] / 1024


def measure(statements, rounds, work_mem):
    begun = time.perf_counter()
    connection = connect()
    cursor = connection.cursor()
    prepare(cursor)
    have, rows = generate(cursor, statements)
    size = one(cursor, "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c WHERE c.relnamespace = '_ward'::regnamespace AND c.relkind = 'r'")
    million = f"{statements / 1e6:g}M"
    print(f"{have:,} statements, {rows:,} rows, {size / 1e6:,.0f} MB of index, made in {time.perf_counter() - begun:.0f} s")
    connection.close()

    def ask(what, statement, budget=None, times=rounds):
        """The first is not counted: warm is what the budgets mean."""
        own = connect()
        cursor = own.cursor()
        cursor.execute(f"SET work_mem = '{work_mem}'")
        runs = [peak(cursor, statement() if callable(statement) else statement) for _ in range(times + 1)]
        own.close()
        spent, used = (statistics.median(run[i] for run in runs[1:]) for i in (0, 1))
        note(f"{million}: {what}, {max(run[2] for run in runs):.0f} MB", f"{spent:.3f} s ({used:.3f})",
             f"<= {budget} s" if budget else "", spent <= budget if budget else None)

    # The budgets are for ten million.
    budgets = statements == 10 ** 7
    random.seed(1)
    ask("breach_scope, an intruder who read everybody", f"SELECT count(*) FROM ward.breach_scope({INTRUDER})", 1 if budgets else None)
    ask("breach_scope, a clerk", f"SELECT count(*) FROM ward.breach_scope({DURING}, roles => '{{role17}}')")
    ask("breach_summary, the intruder", f"SELECT * FROM ward.breach_summary({INTRUDER})")
    ask("subject_history", lambda: f"SELECT * FROM ward.subject_history('person', {random.randint(1, PEOPLE)}::bigint)", 0.05 if budgets else None, 4 * rounds)
    ask("open_incident over everybody, described", f"SELECT ward.open_incident('bench', {INTRUDER})", 10 if budgets else None, 1)
    ask("breach_scope, anybody", f"SELECT count(*) FROM ward.breach_scope({DURING})", None, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--statements", default="1e6,1e7", help="how many, say 1e6,1e7,1e8; a database each (1e8 takes about 10 GB)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work-mem", default="64MB")
    parser.add_argument("--keep", action="store_true", help="keep the databases while the cluster runs")
    arguments = parser.parse_args()
    for statements in (int(float(n)) for n in arguments.statements.split(",")):
        name = f"scope_{statements}"
        os.environ["PGDATABASE"] = "bench"
        connection = connect()
        connection.cursor().execute(f"CREATE DATABASE {name}")
        os.environ["PGDATABASE"] = name
        measure(statements, arguments.rounds, arguments.work_mem)
        if not arguments.keep:
            connection.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.close()
    table()


if __name__ == "__main__":
    main()
