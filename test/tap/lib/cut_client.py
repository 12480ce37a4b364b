#!/usr/bin/python3
"""A client whose statement is cut short after some of its rows have come.

    cut_client.py SOCKET NAME WAY CUT

Prints the first column of every row that it was shown, and to standard error the SQLSTATE
that ended it or "closed". The server is in the middle of the result then: the rest is more
than fits the sockets' buffers, and nobody reads it.
"""
import os
import signal
import struct
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
from wire import Wire, code, message, string  # noqa: E402

ROWS = "SELECT id, pad FROM person"
WAYS = {
    "simple": ROWS,
    "copy": f"COPY ({ROWS}) TO STDOUT",
    "table": "COPY person TO STDOUT",
    "cursor": f"BEGIN; DECLARE c CURSOR FOR {ROWS}; FETCH 2 FROM c; FETCH 15000 FROM c",
    "loop": "SELECT id, pad FROM each_person()",
    # Rows come from workers; of the second those of a table that nobody watches.
    "worker": f"{ROWS} WHERE pad LIKE '%x'",
    "join": "SELECT o.id, o.pad FROM other o WHERE EXISTS (SELECT FROM person p WHERE p.id = o.id AND p.pad LIKE '%x')",
}
ENOUGH = 100


def query(path, sql):
    """One value, in a session of its own."""
    client = Wire.connect(path, user="postgres", database="postgres")
    client.send(message(b"Q", string(sql)))
    return next((body[6:].decode() for kind, body in client.until(b"Z") if kind == b"D"), "")


def cut(path, client, how):
    pid = struct.unpack("!i", client.key[:4])[0]
    if how == "cancel":
        with socket.socket(socket.AF_UNIX) as request:
            request.connect(path)
            request.sendall(struct.pack("!II", 16, 80877102) + client.key)
            request.recv(1)
    elif how == "timeout":
        time.sleep(1.5)
    elif how in ("terminate", "kill"):
        os.kill(pid, signal.SIGTERM if how == "terminate" else signal.SIGKILL)
    elif how.startswith("worker"):
        worker = query(path, f"SELECT pid FROM pg_stat_activity WHERE leader_pid = {pid} LIMIT 1")
        if how == "worker kill":
            os.kill(int(worker), signal.SIGKILL)
        else:
            query(path, f"SELECT pg_{how.split()[1]}_backend({worker})")


def main():
    path, name, way, how = sys.argv[1:]
    options = "-c statement_timeout=1s" if how == "timeout" else ""
    client = Wire.connect(path, user="postgres", database="postgres", application_name=name, options=options)
    client.socket.settimeout(120)
    seen = 0
    pieces = 0
    if way == "portal":
        client.send(message(b"P", string("") + string(ROWS) + b"\0\0"), message(b"B", string("") + string("") + b"\0" * 6),
                    message(b"E", string("") + struct.pack("!I", 40)), message(b"H"))
    else:
        client.send(message(b"Q", string(WAYS[way])))
    done = False
    try:
        while True:
            kind, body = client.receive()
            if kind in (b"D", b"d"):
                seen += 1
                print(body[6:6 + struct.unpack_from("!i", body, 2)[0]].decode() if kind == b"D" else body.split(b"\t")[0].decode())
            elif kind == b"s":
                # The last piece is as large as what the others return at once.
                pieces += 1
                client.send(message(b"E", string("") + struct.pack("!I", 30 if pieces < 3 else 15000)), message(b"H"))
            elif kind == b"E":
                print(code(body), file=sys.stderr)
                if way == "portal":
                    client.send(message(b"S"))
            elif kind == b"Z":
                return
            if seen >= ENOUGH + 20 and not done:
                done = True
                if how == "disconnect":
                    # What has come with the last read was received, too.
                    client.socket.shutdown(socket.SHUT_RDWR)
                    continue
                cut(path, client, how)
    except OSError:
        print("closed", file=sys.stderr)


main()
