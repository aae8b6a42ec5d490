"""Verifies a signed note (C2SP signed-note, tlog-checkpoint) with nothing of Keyward's.

usage: verify_note.py NOTE VERIFIER-KEY
"""

import base64
import hashlib
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def verify(note, verifier):
    name, key_hash, key = verifier.split("+", 2)
    key = base64.b64decode(key)
    assert key[0] == 1, "not Ed25519"
    assert hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_hash
    text, signatures = note.split("\n\n", 1)
    text += "\n"
    origin, size, root = text.splitlines()
    assert origin == name and int(size) > 0 and len(base64.b64decode(root)) == 32
    for line in signatures.splitlines():
        dash, signer, signature = line.split(" ")
        signature = base64.b64decode(signature)
        if dash == "\u2014" and signer == name and signature[:4].hex() == key_hash:
            Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode())
            return
    raise InvalidSignature


with open(sys.argv[1]) as file:
    given = file.read()
verify(given, sys.argv[2])
lines = given.split("\n")
lines[1] = str(int(lines[1]) + 1)
try:
    verify("\n".join(lines), sys.argv[2])
    sys.exit("an altered checkpoint was verified")
except InvalidSignature:
    print("ok: verified, and its altered twin refused")
