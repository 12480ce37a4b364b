#!/usr/bin/python3
"""Ordinary days: caseworkers look people up, search, write; a portal serves many."""
import argparse
import random
import threading

import psycopg2


def caseworker(login, people, rounds, seed):
    """One caseworker's own forty files, opened again and again, and some searches."""
    source = random.Random(seed)
    connection = psycopg2.connect(user=login, application_name="casework")
    connection.autocommit = True
    files = [source.randrange(1, people + 1) for _ in range(40)]
    with connection.cursor() as cursor:
        for _ in range(rounds):
            number = source.choice(files)
            cursor.execute("SELECT id, full_name, status, phone FROM registry.person WHERE id = %s", (number,))
            cursor.fetchall()
            kind = source.random()
            if kind < 0.3:
                cursor.execute("SELECT id, sent_on, body FROM registry.message WHERE person_id = %s", (number,))
            elif kind < 0.5:
                cursor.execute("SELECT id, full_name FROM registry.person WHERE national_id = %s",
                               (f"NID-{number * 7919 % 10**9:09d}",))
            elif kind < 0.7:
                cursor.execute("SELECT r.id, r.full_name, l.kind FROM registry.family_link l "
                               "JOIN registry.person r ON r.id = l.relative_id WHERE l.person_id = %s", (number,))
            elif kind < 0.8:
                cursor.execute("UPDATE registry.person SET contact_channel = 'telephone' WHERE id = %s", (number,))
            elif kind < 0.85:
                cursor.execute("SELECT status, count(*) FROM registry.person WHERE society_id = %s GROUP BY status",
                               (source.randrange(1, 61),))
    connection.close()


def portal(people, rounds, seed):
    """A pooled login: each request says for whom it works."""
    source = random.Random(seed)
    connection = psycopg2.connect(user="portal", application_name="portal")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for _ in range(rounds):
            relative = source.randrange(1, 200)
            cursor.execute("SELECT set_config('ward.actor', %s, false)", (f"relative-{relative}@example.org",))
            cursor.execute("SELECT t.id, t.state, p.full_name FROM registry.tracing_request t "
                           "JOIN registry.person p ON p.id = t.person_id WHERE t.person_id = %s",
                           (1 + relative * 31 % people,))
            cursor.fetchall()
    connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=2021)
    arguments = parser.parse_args()
    failures = []

    def guarded(function, *args):
        try:
            function(*args)
        except Exception as error:  # a thread's failure must fail the program
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(caseworker, f"caseworker_{n:02d}", arguments.people,
                                                      arguments.rounds, arguments.seed + n)) for n in range(1, 25)]
    threads.append(threading.Thread(target=guarded, args=(portal, arguments.people, arguments.rounds * 3, arguments.seed)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    print(f"  24 caseworkers and the portal: about {24 * arguments.rounds * 2 + arguments.rounds * 3:,} statements")


if __name__ == "__main__":
    main()
