#!/usr/bin/python3
"""The intruder, with a caseworker's stolen login.

Speaks PostgreSQL's protocol over a socket by itself and writes down each person of
each row that arrives, so that what was really received is known even where the
statement failed later.
"""
import argparse
import os
import random
import socket
import struct

SUBJECTS = {"id", "person_id", "relative_id"}


class Client:
    def __init__(self, user, database, application):
        self.socket = socket.create_connection((os.environ["PGHOST"], int(os.environ["PGPORT"])))
        self.file = self.socket.makefile("rb")
        self.received = set()
        body = struct.pack("!i", 196608)
        for name, value in (("user", user), ("database", database), ("application_name", application),
                            ("client_encoding", "UTF8")):
            body += name.encode() + b"\0" + value.encode() + b"\0"
        body += b"\0"
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self.drain()

    def message(self):
        kind = self.file.read(1)
        if not kind:
            raise ConnectionError("the server closed the connection")
        length = struct.unpack("!i", self.file.read(4))[0]
        return kind, self.file.read(length - 4)

    def query(self, text):
        """Runs a statement; returns the rows that arrived and the error, if any."""
        body = text.encode() + b"\0"
        self.socket.sendall(b"Q" + struct.pack("!i", len(body) + 4) + body)
        return self.drain()

    def drain(self):
        rows, error, subjects = 0, None, []
        while True:
            kind, body = self.message()
            if kind == b"T":
                subjects = [n for n, name in enumerate(self.columns(body)) if name in SUBJECTS]
            elif kind == b"D":
                values = self.values(body)
                self.received |= {int(values[n]) for n in subjects if values[n] is not None}
                rows += 1
            elif kind == b"d":
                self.received.add(int(body.split(b"\t")[0]))
                rows += 1
            elif kind == b"E":
                error = dict((part[:1].decode(), part[1:].decode()) for part in body.split(b"\0") if part).get("C")
            elif kind == b"Z":
                return rows, error

    @staticmethod
    def columns(body):
        names, at = [], 2
        for _ in range(struct.unpack("!h", body[:2])[0]):
            end = body.index(b"\0", at)
            names.append(body[at:end].decode())
            at = end + 19
        return names

    @staticmethod
    def values(body):
        values, at = [], 2
        for _ in range(struct.unpack("!h", body[:2])[0]):
            length = struct.unpack("!i", body[at:at + 4])[0]
            at += 4
            values.append(None if length < 0 else body[at:at + length])
            at += max(length, 0)
        return values


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--notes", required=True, help="file for the ids that were received")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    people = arguments.people
    source = random.Random(arguments.seed)
    client = Client("caseworker_07", os.environ["PGDATABASE"], "psql")

    def step(label, *texts):
        before, rows, error = len(client.received), 0, None
        for text in texts:
            got, failed = client.query(text)
            rows, error = rows + got, error or failed
        note = f"  ({len(texts)} statements)" if len(texts) > 1 else ""
        print(f"  {label:38} {rows:7,} rows {len(client.received) - before:7,} new people"
              f"{'  failed: ' + error if error else ''}{note}", flush=True)

    step("look-ups by guessed number", *(
        f"SELECT id, full_name, phone, address FROM registry.person WHERE id = {source.randrange(1, people * 11 // 10)}"
        for _ in range(150)))
    step("a paged listing", *(
        "SELECT id, full_name, status FROM registry.person WHERE society_id = 12 AND status = 'missing' "
        f"ORDER BY full_name, id LIMIT 50 OFFSET {page * 50}" for page in range(4)))
    step("a join with tracing requests",
         "SELECT p.id, p.full_name, t.opened_on FROM registry.tracing_request t JOIN registry.person p ON p.id = t.person_id "
         "WHERE p.status = 'unaccompanied_minor' AND t.state = 'open' ORDER BY t.opened_on DESC, t.id LIMIT 300")
    step("family links", f"SELECT person_id, relative_id, kind FROM registry.family_link WHERE person_id < {people // 1000 + 5}")
    step("a bulk COPY of one society", "COPY (SELECT id, full_name, phone, address FROM registry.person WHERE society_id = 7) TO STDOUT")
    step("a cursor, left half read", "BEGIN",
         "DECLARE c CURSOR FOR SELECT id, full_name FROM registry.person WHERE society_id = 21 ORDER BY id",
         "FETCH 40 FROM c", "FETCH 40 FROM c", "ROLLBACK")
    first = people // 3
    step("a statement that fails half-way",
         f"SELECT id, full_name, address, 1 / (id - {first + people // 500 + 300}) FROM registry.person WHERE id >= {first} AND id < {first + people // 100 + 600}")
    step("a transaction, rolled back", "BEGIN",
         "SELECT id, full_name FROM registry.person WHERE society_id = 40 AND status = 'detained'",
         "UPDATE registry.person SET phone = NULL WHERE society_id = 40 AND status = 'detained' AND id % 7 = 0", "ROLLBACK")
    step("a count over everybody", "SELECT count(*) FROM registry.person",
         "SELECT status, count(*) FROM registry.person GROUP BY status")
    with open(arguments.notes, "w", encoding="ascii") as notes:
        notes.writelines(f"{subject}\n" for subject in sorted(client.received))
    print(f"  received {len(client.received):,} different people in all")


if __name__ == "__main__":
    main()
