#!/usr/bin/python3
"""Proves the answer: holds the scope against what the intruder's client received, and
searches everything on disk for plaintext."""
import argparse
import os
import sys

import psycopg2


def scope(since, until):
    connection = psycopg2.connect(user="postgres")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT subject_id, verdict FROM ward.breach_scope(tstzrange(%s, %s), roles => ARRAY['caseworker_07']::name[], "
            "applications => ARRAY['psql'])", (since, until))
        rows = cursor.fetchall()
    connection.close()
    return {s for s, verdict in rows if verdict == "certain"}, {s for s, verdict in rows if verdict == "possible"}


def needles(path):
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\n").encode() for line in file if line.strip()]


def search(label, paths, wanted):
    """Searches files for the needles; returns the number of hits."""
    size, hits = 0, []
    overlap = max(map(len, wanted))
    for top in paths:
        files = [top] if os.path.isfile(top) else [os.path.join(d, f) for d, _, fs in os.walk(top) for f in fs]
        for path in files:
            try:
                with open(path, "rb") as file:
                    rest = b""
                    while block := file.read(1 << 24):
                        size += len(block)
                        block = rest + block
                        hits += [(path, n.decode()) for n in wanted if n in block]
                        rest = block[-overlap:]
            except FileNotFoundError:
                continue  # a file that the server has just removed
    print(f"  {label:34} {size / 1e6:9,.1f} MB searched for {len(wanted)} names and numbers: {len(hits)} found")
    for path, needle in hits[:5]:
        print(f"    {needle} in {path}")
    return len(hits)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--since", required=True)
    parser.add_argument("--until", required=True)
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--notes", required=True)
    parser.add_argument("--needles", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--dump", required=True)
    arguments = parser.parse_args()

    with open(arguments.notes, encoding="ascii") as notes:
        received = {int(line) for line in notes}
    certain, possible = scope(arguments.since, arguments.until)
    missed = received - certain
    too_many = certain - received
    print(f"  the intruder's client received {len(received):,} people; the scope calls {len(certain):,} certain "
          f"and {len(possible):,} possible")
    print(f"  missed = {len(missed)}")
    print(f"  too many = {len(too_many)}")
    failed = False
    if missed:
        print(f"  FAILED: the scope misses people, such as {sorted(missed)[:5]}")
        failed = True
    if len(certain) > arguments.people // 2:
        print("  FAILED: nearly everybody is certain")
        failed = True
    if len(certain) + len(possible) < arguments.people:
        print("  FAILED: a count over everybody should make everybody possible")
        failed = True
    wanted = needles(arguments.needles)
    found = search("the data directory, WAL and trail", [arguments.data], wanted)
    found += search("the server's log", [arguments.log], wanted)
    found += search("a dump made without the right", [arguments.dump], wanted)
    if found:
        print("  FAILED: plaintext of a sealed column was found")
        failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
