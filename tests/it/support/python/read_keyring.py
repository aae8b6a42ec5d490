"""Reads a keyring with nothing of Keyward's, as docs/reference/keyring-format.md says it.

usage: read_keyring.py KEYRING key-file|passphrase|shares FILE...

Prints JSON: the root key, its id, the ids of the ones before it, and each key.
"""

import base64
import hashlib
import hmac
import json
import re
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id


def base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def extract(salt, key):
    return hmac.new(salt or bytes(32), key, hashlib.sha256).digest()


def expand(secret, info, length):
    out, block = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.new(secret, block + info + bytes([number]), hashlib.sha256).digest()
        out += block
    return out[:length]


def hkdf(key, label, salt=b""):
    return expand(extract(salt, key), label.encode(), 32)


def number(value):
    return struct.pack(">Q", value)


def fields(*all_of_them):
    return b"".join(number(len(field)) + field for field in all_of_them)


def opened(key, key_id, bound, sealed):
    """Sealed bytes in clear. `bound` is a list: the domain and its fields."""
    assert sealed[0] == 1 and sealed[1:6] == key_id, "another format or key"
    return AESGCM(key).decrypt(sealed[6:18], sealed[18:], fields(*bound, b"\x01", key_id))


def key_id(family):
    return bytes([family]) + struct.pack(">I", 1)


def id_bytes(text, kind):
    prefix, letters = text.split("_")
    assert prefix == kind
    return base64.b32hexdecode(letters.upper() + "=" * (-len(letters) % 8))


def opened_by_hpke(private, aad, sealed):
    """RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""
    encapsulated, ciphertext = sealed[:32], sealed[32:]
    own = X25519PrivateKey.from_private_bytes(private)
    shared = own.exchange(X25519PublicKey.from_public_bytes(encapsulated))

    def labelled(suite):
        def extracted(salt, label, key):
            return extract(salt, b"HPKE-v1" + suite + label + key)

        def expanded(secret, label, info, length):
            return expand(secret, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)

        return extracted, expanded

    extracted, expanded = labelled(b"KEM" + struct.pack(">H", 0x20))
    context = encapsulated + own.public_key().public_bytes_raw()
    shared = expanded(extracted(b"", b"eae_prk", shared), b"shared_secret", context, 32)
    extracted, expanded = labelled(b"HPKE" + struct.pack(">HHH", 0x20, 1, 2))
    schedule = b"\0" + extracted(b"", b"psk_id_hash", b"") + extracted(b"", b"info_hash", b"keyward/hpke")
    secret = extracted(shared, b"secret", b"")
    key = expanded(secret, b"key", schedule, 32)
    return AESGCM(key).decrypt(expanded(secret, b"base_nonce", schedule, 12), ciphertext, aad)


def times(a, b):
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = (a << 1) ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


def over(a, b):
    """a divided by b: b to the 254th is its inverse."""
    inverse = 1
    for _ in range(254):
        inverse = times(inverse, b)
    return times(a, inverse)


def combined(points):
    key = bytearray(32)
    for at, point in points.items():
        weight = 1
        for other in points:
            if other != at:
                weight = times(weight, over(other, other ^ at))
        key = bytearray(byte ^ times(weight, value) for byte, value in zip(key, point))
    return bytes(key)


def share(line):
    letters = re.sub("[- ]", "", line.split(":", 3)[3]).upper().translate(str.maketrans("018", "OIB"))
    whole = base64.b32decode(letters + "=" * (-len(letters) % 8))
    head, point, checksum = whole[:19], whole[19:51], whole[51:]
    assert hkdf(point, "keyward/keyring/share/checksum", head)[:4] == checksum
    return head, point


def slot_key(slot, kind, files):
    texts = [open(file, encoding="utf-8").read().rstrip("\n") for file in files]
    if kind == "key-file":
        prefix, key = texts[0].split(":")
        assert prefix == "keyward-slot-key-1"
        key = base64url(key)
    elif kind == "passphrase":
        cost = slot["argon2id"]["cost"]
        key = Argon2id(
            salt=base64url(slot["argon2id"]["salt"]), length=32, iterations=cost["passes"],
            lanes=cost["lanes"], memory_cost=cost["memory_kib"],
        ).derive(texts[0].encode())
    else:
        points = {}
        for text in texts:
            head, point = share([line for line in text.splitlines() if not line.startswith("#")][0])
            mark = hkdf(point, "keyward/keyring/share/mark", head)
            if head[:16] != id_bytes(slot["id"], "slot") or base64url(slot["shares"]["marks"][head[18] - 1]) != mark:
                return None
            points[head[18]] = point
        assert len(points) >= slot["shares"]["threshold"]
        key = combined(points)
    return hkdf(key, "keyward/keyring/slot/" + kind)


def root_of(keyring, kind, files):
    ledger = id_bytes(keyring["ledger"], "ledger")
    for slot in keyring["slots"]:
        key = slot_key(slot, kind, files) if slot["kind"] == kind else None
        if key is None:
            continue
        place = [ledger, id_bytes(slot["id"], "slot"), kind.encode()]
        public = base64url(slot["recipient"]["public_key"])
        bound = [b"keyward/keyring/slot/private", *place, public]
        both = opened(key, key_id(0xFF), bound, base64url(slot["recipient"]["private_key"]))
        secret, private = both[:32], both[32:]
        bound = [b"keyward/keyring/slot/root", *place]
        by_secret = hkdf(secret, "keyward/keyring/slot/secret/root")
        sealed = opened(by_secret, key_id(0xFD), bound, base64url(slot["wrapped_root"]))
        root = opened_by_hpke(private, fields(*bound), sealed)
        bound = [b"keyward/keyring/slot/secret", *place, slot["recipient"]["public_key"].encode()]
        kept = hkdf(root, "keyward/keyring/slot/secrets")
        assert opened(kept, key_id(0xFD), bound, base64url(slot["recipient"]["secret"])) == secret
        return root
    raise ValueError("no slot opens")


def read(path, kind, files):
    line, tag, rest = open(path, "rb").read().split(b"\n")
    assert rest == b""
    keyring = json.loads(line)
    assert keyring["version"] == 2
    root = root_of(keyring, kind, files)
    mac = hmac.new(hkdf(root, "keyward/keyring/mac"), line, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(mac, tag.decode()), "it does not authenticate"
    ledger = id_bytes(keyring["ledger"], "ledger")
    root_id = lambda mark: hkdf(mark, "keyward/keyring/root/id").hex()
    marks, wrapping = hkdf(root, "keyward/keyring/root/marks"), hkdf(root, "keyward/keyring/wrap")
    bound = [b"keyward/keyring/root/mark", ledger]
    earlier = [opened(marks, key_id(0xFC), bound, base64url(mark)) for mark in keyring.get("earlier_roots", [])]
    keys = []
    for key in keyring["keys"]:
        bound = [b"keyward/keyring/key", ledger, number(key["family"]), number(key["generation"])]
        plain = opened(wrapping, key_id(0xFE), bound, base64url(key["wrapped"]))
        keys.append({"family": key["family"], "generation": key["generation"], "key": plain.hex()})
    return {
        "root": root.hex(), "root_id": root_id(hkdf(root, "keyward/keyring/root/mark")),
        "earlier_root_ids": [root_id(mark) for mark in earlier], "keys": keys,
    }


print(json.dumps(read(sys.argv[1], sys.argv[2], sys.argv[3:])))
