"""Verifies an evidence bundle of Keyward without any code of Keyward.

usage: verify_evidence.py BUNDLE KEY        (KEY is the line of GET /v1/checkpoint/key, or a file with it; never take it from the bundle)

Needs the package `cryptography`. Checks that the manifest is signed by the key, that every file is the one that it was
signed for, that every entry is in the ledger of the signed checkpoint (RFC 9162, section 2.1.3.2), and, for an agent or
operator, that no entry of the range is missing. For an incident, it checks this for each of its agents and operators.
"""

import base64
import hashlib
import io
import json
import os
import struct
import sys
import zipfile

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


BYTES_MAX = 64 * 1024 * 1024


def check(holds, why):
    """Not `assert`, which Python can be told to leave out."""
    if not holds:
        raise ValueError(why)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def lines_of(raw):
    """Lines that end with a line feed, and with nothing else that Python takes for an end."""
    *lines, rest = raw.decode().split("\n")
    check(rest == "", "a line has no end")
    return lines


def read_json(text):
    """A JSON value in which no field occurs twice."""
    def fields(pairs):
        check(len({name for name, _ in pairs}) == len(pairs), "a field occurs twice")
        return dict(pairs)
    return json.loads(text, object_pairs_hook=fields)


def parse_key(line):
    """Name and public key of `NAME+HASH+KEY` (C2SP signed-note)."""
    name, key_hash, key = line.strip().split("+", 2)
    raw = base64.b64decode(key, validate=True)
    check(raw[0] == 1 and sha256(name.encode(), b"\n", raw)[:4].hex() == key_hash, "not a key of this form")
    return name, key_hash, Ed25519PublicKey.from_public_bytes(raw[1:])


def signed_lines(note, key):
    """The lines of a note that the key signed, without the first one, which names the ledger."""
    name, key_hash, public = key
    text, signatures = note.split("\n\n", 1)
    for line in signatures.split("\n"):
        dash, _, rest = line.partition(" ")
        signer, _, signature = rest.rpartition(" ")
        if dash == "\u2014" and signer == name:
            signature = base64.b64decode(signature, validate=True)
            if signature[:4].hex() == key_hash:
                public.verify(signature[4:], text.encode() + b"\n")
                check(text.startswith(name + "\n"), "another ledger")
                return text.split("\n")[1:]
    raise ValueError("not signed by the key, or by the last one that took over from it")


def last_key(trusted, takeovers):
    """The last key that took over from the trusted one, one after the other; both keys sign each announcement."""
    current = trusted
    for line in takeovers:
        note = read_json(line)["note"]
        what, before, after = note.split("\n\n", 1)[0].split("\n")[1:]
        if what == "checkpoint key takes over" and parse_key(before)[:2] == current[:2]:
            following = parse_key(after)
            check(signed_lines(note, current) == signed_lines(note, following), "an announcement has two signatures")
            current = following
    return current


def node(entry):
    """The hash of the entry's leaf: docs/reference/ledger-format.md."""
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
    check(0 <= at <= last, "not in the tree")
    for beside in map(bytes.fromhex, entry["path"]):
        check(last > 0, "the proof is too long")
        if at & 1 or at == last:
            root = sha256(b"\x01", beside, root)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            root = sha256(b"\x01", root, beside)
        at, last = at >> 1, last >> 1
    check(last == 0, "the proof is too short")
    return root


def check_complete(scope, entries):
    """Each entry of the subject links to the one before it in the bundle, and the range is bounded."""
    kind, name = scope["subject"]["kind"].encode(), scope["subject"]["name"].encode()
    link = sha256(struct.pack(">Q", len(kind)), kind, name)[:16].hex()
    entries = [entry for entry in entries if entry["place"] != "related"]
    first, last = entries[0], entries[-1]
    check(last["seq"] == scope["through"], "the range does not end with its last entry")
    if "until_ms" in scope:
        check(last["place"] == "after" and last["time_ms"] > scope["until_ms"], "the range ends later")
    before = None
    for entry in entries:
        [previous] = [one["previous"] for one in entry["links"] if one["subject"] == link]
        if entry["place"] == "before":
            check(entry is first and entry["time_ms"] < scope["since_ms"], "the range begins earlier")
        elif entry["place"] == "after":
            check(entry is last and "until_ms" in scope, "the range ends later")
        else:
            check(entry["place"] == "subject", "not a place in a bundle")
        is_begin = before is None and (previous == 0 or entry["place"] == "before")
        check(is_begin or previous == before, f"entry {previous} is missing")
        before = entry["seq"]


def check_recorded(scope, entries):
    """A range without an end ends with the entry that records the bundle, and that names the same subjects."""
    last = [entry for entry in entries if entry["place"] != "related"][-1]
    check(last["seq"] == scope["through"] and last["kind"] == 0x0D01, "the range does not end with the bundle's entry")
    event = read_json(last["event"])
    check(event["subject"] == scope["subject"], "the bundle was recorded for another subject")
    check(event.get("subjects", []) == scope.get("subjects", []), "the bundle was recorded for other subjects")


def check_incident(scope, entries):
    """For each subject with links: from the last entry back to its first one of all, or to one before the range."""
    entries = [entry for entry in entries if entry["place"] != "related"]
    check(entries and entries[-1]["seq"] == scope["through"] and "until_ms" not in scope, "another range")
    for entry in entries:
        is_in_range = entry["time_ms"] >= scope["since_ms"] or entry["seq"] == scope["through"]
        check(entry["place"] == ("subject" if is_in_range else "before"), "another range")
    by_seq, proved, others = {entry["seq"]: entry for entry in entries}, [], []
    for subject in scope["subjects"]:
        kind, name = subject["kind"].encode(), subject["name"].encode()
        if subject["kind"] not in ("agent", "operator"):
            others.append(f"{subject['kind']} {subject['name']}")
            continue
        link, entry = sha256(struct.pack(">Q", len(kind)), kind, name)[:16].hex(), entries[-1]
        while True:
            [previous] = [one["previous"] for one in entry["links"] if one["subject"] == link]
            if previous == 0 or entry["place"] == "before":
                break
            check(previous < entry["seq"] and previous in by_seq, f"entry {previous} is missing")
            entry = by_seq[previous]
        proved.append(f"{subject['kind']} {subject['name']}")
    return proved, others


def unpack(raw):
    """The files of the one archive of these files: stored in order, without times."""
    check(len(raw) <= BYTES_MAX, "too large")
    files, again = {}, io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive, zipfile.ZipFile(again, "w") as written:
        for info in archive.infolist():
            check(info.compress_type == zipfile.ZIP_STORED and info.filename not in files, "not this kind of archive")
            files[info.filename] = archive.read(info)
        for name in sorted(files):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            info.create_version = info.extract_version = 10
            written.writestr(info, files[name])
    return files, again.getvalue()


def verify(bundle, key):
    with open(bundle, "rb") as file:
        raw = file.read(BYTES_MAX + 1)
    files, again = unpack(raw)
    check(raw == again, "other bytes than those of its files")
    signer = last_key(parse_key(key), lines_of(files["checkpoint-keys.jsonl"]))
    manifest = files["manifest.txt"].decode()
    what, *lines = signed_lines(manifest, signer)
    check(what == "keyward evidence 1" and manifest.split("\n\n", 1)[1].count("\n") == 1, "not a manifest")
    others = sorted(name for name in files if name != "manifest.txt")
    hashes = [f"{sha256(files[name]).hex()} {name}" for name in others]
    check(lines == hashes, "a file was changed, added or removed")
    size, root = signed_lines(files["checkpoint.txt"].decode(), signer)
    scope = read_json(files["scope.json"].decode())
    entries = [read_json(line) for line in lines_of(files["entries.jsonl"])]
    check([one["seq"] for one in entries] == sorted({one["seq"] for one in entries}), "not in order")
    for entry in entries:
        check(root_of(entry, int(size)) == base64.b64decode(root), f"entry {entry['seq']} is not in the ledger")
    if "until_ms" not in scope:
        check_recorded(scope, entries)
    subject = f"{scope['subject']['kind']} {scope['subject']['name']}"
    count = sum(entry["place"] == "subject" for entry in entries)
    if "subjects" in scope:
        check(scope["subject"]["kind"] == "incident", "subjects of something else than an incident")
        proved, others = check_incident(scope, entries)
        said = f"ok: {count} entries about {subject}; none is missing about: {', '.join(proved) or 'nothing'}"
        return said + (f"; completeness is not proved for: {', '.join(others)}" if others else "")
    if scope["subject"]["kind"] not in ("agent", "operator"):
        return f"ok: {count} entries about {subject}; completeness is not proved"
    check_complete(scope, entries)
    return f"ok: {count} entries about {subject}, and none that names it is missing in the range"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    key = sys.argv[2]
    if os.path.isfile(key):
        with open(key, encoding="ascii") as file:
            key = file.read().strip()
    try:
        print(verify(sys.argv[1], key))
    except Exception as error:
        sys.exit(f"refused: {type(error).__name__}: {error}")
