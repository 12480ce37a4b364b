"""PostgreSQL's protocol, for tests that need what client libraries hide.

Portals with row limits, binary rows, Flush without Sync, several portals at once, and
each message as it comes off the wire: libraries keep a result to themselves until it is
whole.
"""
import socket
import struct

INTEGERS = {20: "!q", 21: "!h", 23: "!i"}


class Failed(Exception):
    """The server's error; rows are those that came before it."""

    def __init__(self, pgcode, rows):
        super().__init__(pgcode)
        self.pgcode = pgcode
        self.rows = rows


class Bound(str):
    """A statement for the extended protocol, executed once for each of its row limits (0: all).

    params are text. pipeline: everything is sent at once; otherwise Flush asks for the rows of
    each limit before the next, and Sync comes last. portal: keeps it open under this name until
    the transaction ends; without any text an open one is gone on with.
    """

    def __new__(cls, text="", *limits, params=(), binary=False, pipeline=False, portal="", statement=""):
        self = super().__new__(cls, text)
        self.limits = limits or (0,)
        self.params = params
        self.binary = binary
        self.pipeline = pipeline
        self.portal = portal
        self.statement = statement
        return self


def message(kind, body=b""):
    return kind + struct.pack("!I", len(body) + 4) + body


def string(text):
    return text.encode() + b"\0"


def code(body):
    return next(field[1:].decode() for field in body.split(b"\0") if field[:1] == b"C")


class Wire:
    def __init__(self, channel):
        """channel: a connected socket that has said ReadyForQuery."""
        self.socket = channel
        self.buffer = b""
        self.key = None      # what a cancel request says, of a session of its own
        self.failure = None  # SQLSTATE of the last error

    @classmethod
    def connect(cls, path, **startup):
        """A session of its own, where no password is asked."""
        self = cls(socket.socket(socket.AF_UNIX))
        self.socket.connect(path)
        body = struct.pack("!I", 196608) + b"".join(string(word) for pair in startup.items() for word in pair) + b"\0"
        self.send(struct.pack("!I", len(body) + 4) + body)
        self.key = dict(self.until(b"Z"))[b"K"]
        return self

    def send(self, *messages):
        self.socket.sendall(b"".join(messages))

    def receive(self):
        """The next message, as (kind, body)."""
        while len(self.buffer) < 5 or len(self.buffer) <= (size := struct.unpack_from("!I", self.buffer, 1)[0]):
            got = self.socket.recv(65536)
            if not got:
                raise ConnectionError("the server has closed the connection")
            self.buffer += got
        kind, body, self.buffer = self.buffer[:1], self.buffer[5:size + 1], self.buffer[size + 1:]
        return kind, body

    def until(self, *kinds):
        """Messages up to one of these kinds."""
        while True:
            kind, body = self.receive()
            yield kind, body
            if kind in kinds:
                return

    def execute(self, bound):
        """A Bound's rows; raises Failed."""
        formats = struct.pack("!HH", 1, bound.binary)
        prepare = []
        if bound:
            prepare = [
                message(b"P", string(bound.statement) + string(bound) + b"\0\0"),
                message(b"B", string(bound.portal) + string(bound.statement) + struct.pack("!HH", 0, len(bound.params)) +
                        b"".join(struct.pack("!I", len(p.encode())) + p.encode() for p in bound.params) + formats)]
        prepare.append(message(b"D", b"P" + string(bound.portal)))
        executes = [message(b"E", string(bound.portal) + struct.pack("!I", limit)) for limit in bound.limits]
        rows, types = [], []
        self.failure = None
        if bound.pipeline:
            self.send(*prepare, *executes, message(b"S"))
        else:
            self.send(*prepare)
            for execute in executes:
                self.send(execute, message(b"H"))
                kind = self.gather(rows, types, bound.binary, b"C", b"s", b"E", b"I")
                if kind != b"s":
                    break
            self.send(message(b"S"))
        self.gather(rows, types, bound.binary, b"Z")
        if self.failure:
            raise Failed(self.failure, rows)
        return rows

    def gather(self, rows, types, binary, *kinds):
        """Adds the rows that come before a message of one of these kinds."""
        for kind, body in self.until(*kinds):
            if kind == b"T":
                types[:] = described(body)
            elif kind == b"D":
                rows.append(taken_apart(body, types, binary))
            elif kind == b"d":
                rows.append((body.decode().rstrip("\n"),))
            elif kind == b"C" and not rows and not types:
                rows.append((body[:-1].decode(),))
            elif kind == b"E":
                self.failure = code(body)
        return kind


def described(body):
    types, at = [], 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        at = body.index(b"\0", at) + 1
        types.append(struct.unpack_from("!I", body, at + 6)[0])
        at += 18
    return types


def taken_apart(body, types, binary):
    row, at = [], 2
    for number in range(struct.unpack_from("!H", body)[0]):
        size = struct.unpack_from("!i", body, at)[0]
        at += 4
        if size < 0:
            row.append(None)
            continue
        value, at = body[at:at + size], at + size
        kind = types[number] if number < len(types) else 0
        if kind in INTEGERS:
            row.append(struct.unpack(INTEGERS[kind], value)[0] if binary else int(value))
        else:
            row.append(value.decode(errors="replace"))
    return tuple(row)
