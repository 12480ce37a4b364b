#!/usr/bin/python3
"""Measures what limits cost whoever does not meet them: each pair is run in turn by a role
that three limits apply to and by one that none does. Nothing is asserted."""
import argparse
import os
import statistics

from pairs import connect, note, pgbench, seconds, table


def connect_as(role):
    os.environ["PGOPTIONS"] = f"-c role={role}"
    return connect().cursor()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True, help="a directory for scripts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration", type=int, default=4)
    arguments = parser.parse_args()
    people = 515000
    cursor = connect().cursor()
    for statement in (
            "CREATE EXTENSION pg_ward", "CREATE ROLE limited", "CREATE ROLE free",
            "CREATE TABLE seen (id int PRIMARY KEY, v text)",
            f"INSERT INTO seen SELECT i, 'value ' || i FROM generate_series(1, {people}) i",
            "VACUUM ANALYZE seen", "GRANT SELECT ON seen TO limited, free", "GRANT pg_read_all_stats TO limited, free", "SELECT ward.watch('seen', 'id')",
            "ALTER DATABASE bench SET max_parallel_workers_per_gather = 0",
            "SELECT ward.limit('hourly', 'person', 600000, '1 hour', applies_to => '{limited}')",
            "SELECT ward.limit('daily', 'person', 700000, '1 day', applies_to => '{limited}')",
            "SELECT ward.limit('session', 'person', 800000, '1 hour', by => 'session', applies_to => '{limited}')"):
        cursor.execute(statement)

    print("guard")
    path = os.path.join(arguments.work, "seen.sql")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"\\set i random(1, {people})\nSELECT v FROM seen WHERE id = :i;\n")
    tps, spent = [], []
    for turn in range(arguments.rounds + 1):
        done = {}
        for role in ("limited", "free"):
            os.environ["PGOPTIONS"] = f"-c role={role}"
            done[role] = pgbench(path, 1, arguments.duration if turn else 1)
        if turn:
            tps.append(done["free"][0] / done["limited"][0])
            spent.append(done["limited"][1] / done["free"][1])
    note("look-up by key, three limits, time of none's", statistics.median(tps), "<= 1.05", statistics.median(tps) <= 1.05)
    note("the same, backend's processor time", statistics.median(spent), "<= 1.05", statistics.median(spent) <= 1.05)

    for drop in (None, "daily", "session"):
        if drop:
            cursor.execute(f"SELECT ward.drop_limit('{drop}')")
        if drop == "daily":
            continue
        limited, free = connect_as("limited"), connect_as("free")
        for what, statement in (
                ("in the server", "DO $x$ DECLARE r record; BEGIN FOR r IN SELECT id, v FROM seen OFFSET 0 LOOP END LOOP; END $x$"),
                ("count(*)", "SELECT count(*) FROM seen"),
                ("to the client", "SELECT id, v FROM seen")):
            seconds(limited, statement), seconds(free, statement)
            ratio = statistics.median(seconds(limited, statement) / seconds(free, statement) for _ in range(arguments.rounds))
            limits = "a limit" if drop else "three limits"
            note(f"scan of 515,000 {what}, {limits}, of none's", ratio, "<= 1.05", ratio <= 1.05)
    table()


if __name__ == "__main__":
    main()
