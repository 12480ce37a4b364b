#!/usr/bin/python3
"""Attacks on a trail by somebody who knows its format: checksums, headers and trees of
what is written are good, so that only signatures and what was kept elsewhere can tell.

    trail_forge.py DIRECTORY list
    trail_forge.py DIRECTORY change|remove|insert POSITION
    trail_forge.py DIRECTORY reorder POSITION        (with the one behind it)
    trail_forge.py DIRECTORY cut POSITION
    trail_forge.py DIRECTORY resign POSITION KEYFILE (changes it, and signs all
                                                      checkpoints behind it anew)
"""
import base64
import importlib.machinery
import importlib.util
import os
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

loader = importlib.machinery.SourceFileLoader("ward_verify", os.environ["WARD_ROOT"] + "/tools/ward-verify")
spec = importlib.util.spec_from_loader("ward_verify", loader)
ward = importlib.util.module_from_spec(spec)
sys.dont_write_bytecode = True
loader.exec_module(ward)


def seeds(path):
    """The keys that a thief finds in the signing key's file."""
    with open(path, "rb") as file:
        data = file.read()
    for offset in (4096, 8192):
        slot = data[offset:offset + 64]
        if slot[:8] == b"WARDSEED":
            yield Ed25519PrivateKey.from_private_bytes(slot[32:64])


def put_varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def put_string(value):
    return put_varint(len(value) + 1) + value


def resign(leaf, tree, key):
    """The same checkpoint, of another tree."""
    reason, interval, epoch, note = ward.parse_checkpoint(leaf[14:])
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    lines = note.signed.decode().split("\n")
    lines[1:3] = [str(tree.size), base64.b64encode(tree.root()).decode()]
    signed = "\n".join(lines).encode()
    signature = base64.b64encode(ward.key_id(note.node, public) + key.sign(signed)).decode()
    text = signed + f"\n— {ward.NAME}{note.node} {signature}\n".encode()
    return leaf[:14] + put_string(reason.encode()) + put_varint(interval) + put_varint(epoch) + put_string(text)


def header(node, tree, created):
    head = b"WARDTRL1" + struct.pack("<II", 1, 56 + 32 * len(tree.hashes)) + node
    head += struct.pack("<QqI", tree.size, created, len(tree.hashes)) + b"".join(tree.hashes)
    return head + struct.pack("<I", ward.crc32c(head))


def write(path, node, tree, leaves, resigning=None, since=0):
    with open(path, "wb") as file:
        file.write(header(node, tree, struct.unpack_from("<q", leaves[0], 2)[0]))
        for leaf in leaves:
            if leaf[0] == ward.CHECKPOINT and resigning and tree.size > since:
                leaf = resign(leaf, tree, resigning)
            length = struct.pack("<I", len(leaf))
            file.write(length + struct.pack("<I", ward.crc32c(length + leaf)) + leaf)
            tree.append(ward.leaf_hash(leaf))


def main():
    directory, what = sys.argv[1:3]
    names = sorted(name for name in os.listdir(directory) if ward.SEGMENT.fullmatch(name))
    segments = [ward.Segment(os.path.join(directory, name), int(name[:16], 16)) for name in names]
    node = bytes.fromhex(segments[0].node)
    leaves = [leaf for segment in segments for _, leaf in segment.frames(True)]
    if what == "list":
        for position, leaf in enumerate(leaves):
            note = ward.parse_checkpoint(leaf[14:]) if leaf[0] == ward.CHECKPOINT else None
            print(position, leaf[0], (note[0], "next" if note[3].key else "same") if note else "")
        return
    position = int(sys.argv[3])
    key = None
    if what in ("change", "resign"):
        leaf = bytearray(leaves[position])
        leaf[-1] ^= 1
        leaves[position] = bytes(leaf)
        key = list(seeds(sys.argv[4]))[0] if what == "resign" else None
    elif what == "remove":
        del leaves[position]
    elif what == "insert":
        leaves.insert(position, leaves[position])
    elif what == "reorder":
        leaves[position:position + 2] = leaves[position + 1], leaves[position]
    elif what == "cut":
        del leaves[position:]
    for segment in segments:
        os.unlink(segment.path)
    write(segments[0].path, node, ward.Tree(), leaves, key, position)


main()
