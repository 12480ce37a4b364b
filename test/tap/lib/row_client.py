#!/usr/bin/python3
"""A client that notes each row as it comes off the wire, until the server dies.

    row_client.py SOCKET NAME SECONDS SEED

Reads table person in every way the protocol has: simple and extended queries, portals
with row limits, Flush without Sync, cursors, COPY, parallel scans. Prints the numbers of
the people that it was shown. It speaks the protocol itself, because libraries
keep a result to themselves until it is whole.
"""
import random
import socket
import struct
import sys
import time


def message(kind, body=b""):
    return kind + struct.pack("!I", len(body) + 4) + body


def text(value):
    return value.encode() + b"\0"


class Client:
    def __init__(self, path, name):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.buffer = b""
        self.seen = set()
        body = struct.pack("!I", 196608) + b"".join(map(text, ("user", "postgres", "database", "postgres",
                                                              "application_name", name))) + b"\0"
        self.socket.sendall(struct.pack("!I", len(body) + 4) + body)
        self.until(b"Z")

    def until(self, *kinds):
        """Notes rows until a message of one of these kinds has come."""
        while True:
            while len(self.buffer) >= 5:
                length = struct.unpack_from("!I", self.buffer, 1)[0] + 1
                if len(self.buffer) < length:
                    break
                kind, body, self.buffer = self.buffer[:1], self.buffer[5:length], self.buffer[length:]
                if kind == b"D":
                    size = struct.unpack_from("!i", body, 2)[0]
                    self.seen.add(int(body[6:6 + size]))
                elif kind == b"d":
                    self.seen.add(int(body.split(b"\t")[0]))
                if kind in kinds or kind == b"E" and b"S" in kinds:
                    return kind
            got = self.socket.recv(65536)
            if not got:
                raise ConnectionError
            self.buffer += got

    def simple(self, sql):
        self.socket.sendall(message(b"Q", text(sql)))
        self.until(b"Z")

    def portal(self, sql, limit, flush):
        """Fetches a result in pieces; with flush, without ever telling that it is at its end."""
        self.socket.sendall(message(b"P", text("") + text(sql) + b"\0\0") +
                            message(b"B", text("") + text("") + b"\0\0\0\0\0\0"))
        for _ in range(random.randint(1, 5)):
            self.socket.sendall(message(b"E", text("") + struct.pack("!I", limit)) +
                                (message(b"H") if flush else b""))
            if flush and self.until(b"s", b"C", b"S") != b"s":
                break
            if not flush:
                break
        self.socket.sendall(message(b"S"))
        self.until(b"Z")


def main():
    path, name, seconds, seed = sys.argv[1:]
    random.seed(int(seed))
    end = time.time() + float(seconds)
    client = None
    try:
        client = Client(path, name)
        while time.time() < end:
            low = random.randint(1, 20000)
            some = f"SELECT id, name FROM person WHERE id BETWEEN {low} AND {low + random.choice((0, 0, 5, 900))}"
            way = random.randint(0, 7)
            if way < 2:
                client.simple(f"SELECT id, name FROM person WHERE id = {low}")
            elif way == 2:
                client.simple(some)
            elif way == 3:
                client.portal(some, random.choice((0, 1, 7)), True)
            elif way == 4:
                client.portal(some, random.choice((0, 3)), False)
            elif way == 5:
                client.simple(f"BEGIN; DECLARE c CURSOR FOR {some}; FETCH 5 FROM c; FETCH 40 FROM c; ROLLBACK")
            elif way == 6:
                client.simple(f"COPY ({some}) TO STDOUT")
            else:
                client.simple(f"SELECT id, name FROM person WHERE name LIKE '%{low % 1000}'")
    except OSError:
        pass
    if client is not None:
        print("\n".join(map(str, sorted(client.seen))))


main()
