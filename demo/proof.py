#!/usr/bin/python3
"""Proves the answer: holds the scope against what the intruder's client received, and
searches everything on disk for plaintext."""
import argparse
import os
import subprocess
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


def search(label, path, needles_file):
    """Searches files for the needles; returns the number of hits. grep looks for all of
    them at once, which is what makes half a gigabyte a matter of seconds."""
    with open(needles_file, encoding="utf-8") as file:
        count = sum(1 for line in file if line.strip())
    size = int(subprocess.run(["du", "-sb", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.split()[0])
    found = subprocess.run(["grep", "-r", "-a", "-o", "-F", "-f", needles_file, path], env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    hits = found.stdout.decode(errors="replace").splitlines()
    print(f"  {label:34} {size / 1e6:9,.1f} MB searched for {count} names and numbers: {len(hits)} found")
    for hit in hits[:5]:
        print(f"    {hit}")
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
    # The search must be able to find: the needles' own file holds them all.
    if search("its own list, to see that it finds", arguments.needles, arguments.needles) == 0:
        print("  FAILED: the search finds nothing at all")
        failed = True
    found = search("the data directory, WAL and trail", arguments.data, arguments.needles)
    found += search("the server's log", arguments.log, arguments.needles)
    found += search("a dump made without the right", arguments.dump, arguments.needles)
    if found:
        print("  FAILED: plaintext of a sealed column was found")
        failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
