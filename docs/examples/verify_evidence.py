"""Verifies an evidence bundle of Keyward with nothing of Keyward's.

usage: verify_evidence.py BUNDLE KEY        (KEY is the line of GET /v1/checkpoint/key, got by another way)

Needs the package `cryptography`. Checks that the manifest is signed by the key, that every file is the one that it was
signed for, that every entry is in the ledger of the signed checkpoint (RFC 9162, section 2.1.3.2), and, for an agent or
operator, that no entry of the range is missing.
"""

import base64
import hashlib
import io
import json
import struct
import sys
import zipfile

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def parse_key(line):
    """Name and public key of `NAME+HASH+KEY` (C2SP signed-note)."""
    name, key_hash, key = line.strip().split("+", 2)
    raw = base64.b64decode(key, validate=True)
    assert raw[0] == 1 and sha256(name.encode(), b"\n", raw)[:4].hex() == key_hash, "not a key of this form"
    return name, key_hash, Ed25519PublicKey.from_public_bytes(raw[1:])


def signed_lines(note, keys):
    """The lines of a note that one of the keys signed."""
    text, signatures = note.split("\n\n", 1)
    for name, key_hash, key in keys:
        for line in signatures.splitlines():
            dash, signer, signature = line.split(" ")
            signature = base64.b64decode(signature, validate=True)
            if dash == "\u2014" and signer == name and signature[:4].hex() == key_hash:
                key.verify(signature[4:], text.encode() + b"\n")
                assert text.startswith(name + "\n"), "another ledger"
                return text.split("\n")[1:], signatures
    raise ValueError("not signed by the key, or by one that took over from it")


def keys_from(trusted, takeovers):
    """The trusted key, and those that took over from it one after the other; each announcement has both signatures."""
    keys = [trusted]
    for line in takeovers.splitlines():
        note = json.loads(line)["note"]
        what, before, after = signed_lines(note, keys[-1:])[0]
        assert what == "checkpoint key takes over" and parse_key(before)[1] == keys[-1][1]
        following = parse_key(after)
        signed_lines(note, [following])
        keys.append(following)
    return keys


def node(entry):
    """The hash of the entry's leaf: docs/reference/ledger.md."""
    salt, reason = bytes.fromhex(entry["salt"]), entry.get("reason", "").encode()
    incident = b""
    if "incident" in entry:
        text = entry["incident"].removeprefix("inc_").upper()
        incident = base64.b32hexdecode(text + "=" * (-len(text) % 8))
    links = b"".join(bytes.fromhex(one["subject"]) + struct.pack(">Q", one["previous"]) for one in entry["links"])
    said = sha256(
        salt, struct.pack(">q", entry["time_ms"]), bytes([bool(incident)]), incident,
        struct.pack(">H", len(reason)), reason, entry["event"].encode(),
    )
    linked = sha256(sha256(salt), struct.pack(">I", len(entry["links"])), links)
    leaf = b"\x02" + struct.pack(">H", entry["kind"]) + said + linked + bytes.fromhex(entry["state_sha256"])
    return sha256(b"\x00", leaf)


def root_of(entry, size):
    """The root of the tree of this size that the entry's proof leads to."""
    at, last, root = entry["seq"] - 1, size - 1, node(entry)
    assert 0 <= at <= last, "not in the tree"
    for beside in map(bytes.fromhex, entry["path"]):
        assert last > 0, "the proof is too long"
        if at & 1 or at == last:
            root = sha256(b"\x01", beside, root)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            root = sha256(b"\x01", root, beside)
        at, last = at >> 1, last >> 1
    assert last == 0, "the proof is too short"
    return root


def check_complete(scope, entries):
    """Each entry of the subject links to the one before it in the bundle."""
    kind, name = scope["subject"]["kind"].encode(), scope["subject"]["name"].encode()
    link = sha256(struct.pack(">Q", len(kind)), kind, name)[:16].hex()
    entries = [entry for entry in entries if entry["place"] != "related"]
    assert entries[-1]["seq"] == scope["through"], "the range does not end with the entry that records the bundle"
    before = 0
    for entry in entries:
        [previous] = [one["previous"] for one in entry["links"] if one["subject"] == link]
        if entry["place"] == "before":
            assert before == 0 and entry["time_ms"] < scope["since_ms"], "the range begins earlier"
        else:
            assert previous == before, f"entry {previous} is missing"
        before = entry["seq"]


def verify(bundle, key):
    with open(bundle, "rb") as file:
        raw = file.read()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
        assert len(files) == len(archive.namelist()), "a file occurs twice"
    keys = keys_from(parse_key(key), files["checkpoint-keys.jsonl"].decode())
    (what, *lines), signatures = signed_lines(files["manifest.txt"].decode(), keys)
    assert what == "keyward evidence 1" and signatures.count("\n") == 1, "not a manifest"
    others = sorted(name for name in files if name != "manifest.txt")
    assert lines == [f"{sha256(files[name]).hex()} {name}" for name in others], "a file was changed, added or removed"
    size, root = signed_lines(files["checkpoint.txt"].decode(), keys)[0]
    scope = json.loads(files["scope.json"])
    entries = [json.loads(line) for line in files["entries.jsonl"].decode().splitlines()]
    assert [one["seq"] for one in entries] == sorted({one["seq"] for one in entries}), "not in order"
    for entry in entries:
        assert root_of(entry, int(size)) == base64.b64decode(root), f"entry {entry['seq']} is not in the ledger"
    subject = f"{scope['subject']['kind']} {scope['subject']['name']}"
    if scope["subject"]["kind"] not in ("agent", "operator"):
        return f"ok: {len(entries)} entries about {subject}; completeness is not proved"
    check_complete(scope, entries)
    return f"ok: {len(entries)} entries about {subject}, and none of the range is missing"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(verify(sys.argv[1], sys.argv[2]))
