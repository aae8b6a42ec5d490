"""Verifies an evidence bundle of Keyward without any code of Keyward.

usage: verify_evidence.py BUNDLE KEY        (KEY is the line of GET /v1/checkpoint/key, or a file with it; never take it from the bundle)

Needs the package `cryptography`. Checks that the manifest is signed by the key, that every file is the one that it was
signed for, that every entry is in the ledger of the signed checkpoint (RFC 9162, section 2.1.3.2), that each approval by
an operator has the signature of the operator's accepted approval key, and, for an agent or operator, that no entry of the range is
missing. For an incident, it checks this for each of its agents and operators.
"""

import base64
import bisect
import hashlib
import io
import json
import os
import struct
import sys
import zipfile

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key


BYTES_MAX = 64 * 1024 * 1024
FILES = ("checkpoint-keys.jsonl", "checkpoint.txt", "entries.jsonl", "manifest.txt", "scope.json")
# Kinds of entries: docs/reference/events.md has their names.
DECLARATIONS_APPLIED, SENSITIVITY_LOWERED, EVIDENCE_EXPORTED, APPROVAL_APPROVED = 0x0101, 0x0308, 0x0D01, 0x0F02
APPROVAL_KEY_ACCEPTED, APPROVAL_KEYS_REMOVED = 0x0221, 0x0222


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


def decode(text):
    """The bytes of base64url without padding, in its one form."""
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    check(base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == text, "not base64url")
    return raw


def canonical(value):
    """The form of RFC 8785 of a value without fractions, whose names of fields are ASCII."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def check_request(event, where):
    """The signed request is one of the agent and for the capabilities that the entry names: people read the entry."""
    text = event["canonical_request"]
    check(sha256(text.encode()).hex() == event["digest"], f"{where} has the digest of another request")
    request = read_json(text)
    is_known = canonical(request) == text and request["type"] == "keyward-approval-request-1"
    check(is_known, f"{where} has a request of another form")
    agent = request["agent"].removeprefix("spiffe://").partition("/agent/")[2]
    names = [one["name"] for one in request["capabilities"]]
    check(agent == event["agent"] and names == event["capabilities"], f"{where} has another request than it names")


def signed_by_operator(entry, where):
    """The operator, the signed bytes and the signature's fields of an approval; None for an entry without one."""
    if entry["kind"] == APPROVAL_APPROVED:
        event = read_json(entry["event"])
        check(("canonical_request" in event) == ("public_key" in event), f"{where} has only a part of its fields")
        if "canonical_request" in event:
            check_request(event, where)
        signed = {"approval": event["approval"], "digest": event["digest"], "rules": event["rules_hash"],
                  "type": "keyward-approval-vote-1"}
        by, fields = event["by"], event
    elif entry["kind"] == DECLARATIONS_APPLIED and "approved" in (event := read_json(entry["event"])):
        fields = event["approved"]
        by = fields["operator"]
        signed = {"digest": fields["digest"], "operator": by, "type": "keyward-plan-approval-1"}
    elif entry["kind"] == SENSITIVITY_LOWERED and "approved" in (event := read_json(entry["event"])):
        fields = event["approved"]
        by = fields["operator"]
        signed = {"classified_seq": str(fields["classified_seq"]), "expires_at": fields["expires_at"], "operator": by,
                  "secret": event["secret"], "sensitivity": event["to"], "type": "keyward-sensitivity-approval-1"}
    else:
        return None
    return by, canonical({**signed, "verdict": "approve"}).encode(), fields


def key_changes(entries):
    """The changes of approval keys in the bundle, by operator: entries with the accepted key, or None after a removal."""
    changes = {}
    for entry in entries:
        if entry["kind"] in (APPROVAL_KEY_ACCEPTED, APPROVAL_KEYS_REMOVED):
            event = read_json(entry["event"])
            key = event["key"] if entry["kind"] == APPROVAL_KEY_ACCEPTED else None
            changes.setdefault(event["operator"], []).append((entry["seq"], key))
    return changes


def check_signatures(entries):
    """Each approval by an operator has a signature by the operator's approval key; also counts those without the key."""
    changes, verified, without_key = key_changes(entries), 0, 0
    for entry in entries:
        where = f"the approval in entry {entry['seq']}"
        found = signed_by_operator(entry, where)
        if found is None:
            continue
        by, signed, fields = found
        check(("public_key" in fields) == ("key_seq" in fields), f"{where} has only a part of its fields")
        if "public_key" not in fields:
            without_key += 1  # an entry of an earlier version
            continue
        public = decode(fields["public_key"])
        check(sha256(public).hex() == fields["approval_key"], f"{where} names another key than it has")
        own = changes.get(by, [])
        # The last change before the approval: entries are in order.
        before = bisect.bisect_left(own, entry["seq"], key=lambda one: one[0])
        is_it = before > 0 and own[before - 1] == (fields["key_seq"], fields["approval_key"])
        check(is_it, f"{where}: the bundle has no entry that accepted its key for the operator, or a later entry ended the key")
        key = load_der_public_key(public)
        check(isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1), f"{where} has another kind of key")
        try:
            key.verify(decode(fields["signature"]), signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise ValueError(f"{where} is not signed by its key") from None
        verified += 1
    return verified, without_key


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
    check(last["seq"] == scope["through"] and last["kind"] == EVIDENCE_EXPORTED, "the range does not end with the bundle's entry")
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
    """The files of an archive in the form of a bundle."""
    check(len(raw) <= BYTES_MAX, "too large")
    files = {}
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        for info in archive.infolist():
            check(info.compress_type == zipfile.ZIP_STORED and info.filename not in files, "not this kind of archive")
            files[info.filename] = archive.read(info)
    check(raw == pack(files), "other bytes than those of its files")
    return files


def pack(files):
    """The one archive of these files: stored in order, without times."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            info.create_version = info.extract_version = 10
            archive.writestr(info, files[name])
    return packed.getvalue()


def verify(bundle, key):
    check(key.strip(), "no checkpoint key was given")
    with open(bundle, "rb") as file:
        raw = file.read(BYTES_MAX + 1)
    check(raw, "the bundle is an empty file")
    files = unpack(raw)
    for name in FILES:
        check(name in files, f"the bundle has no file {name}")
        check(files[name] or name == "checkpoint-keys.jsonl", f"the file {name} of the bundle is empty")
    signer = last_key(parse_key(key), lines_of(files["checkpoint-keys.jsonl"]))
    manifest = files["manifest.txt"].decode()
    what, *lines = signed_lines(manifest, signer)
    check(what == "keyward evidence 1" and manifest.split("\n\n", 1)[1].count("\n") == 1, "not a manifest")
    others = sorted(name for name in files if name != "manifest.txt")
    expected = [f"{sha256(files[name]).hex()} {name}" for name in others]
    check(lines == expected, "a file was changed, added or removed")
    size, root = signed_lines(files["checkpoint.txt"].decode(), signer)
    scope = read_json(files["scope.json"].decode())
    entries = [read_json(line) for line in lines_of(files["entries.jsonl"])]
    check(any(one["place"] != "related" for one in entries), "the bundle has no entry about its subject, and proves nothing")
    check([one["seq"] for one in entries] == sorted({one["seq"] for one in entries}), "not in order")
    for entry in entries:
        check(root_of(entry, int(size)) == base64.b64decode(root), f"entry {entry['seq']} is not in the ledger")
    if "until_ms" not in scope:
        check_recorded(scope, entries)
    return conclude(scope, entries) + signatures(entries)


def signatures(entries):
    """What was found out about the approvals by operators."""
    verified, without_key = check_signatures(entries)
    said = f"; verified approvals by operators: {verified}" if verified else ""
    return said + (f"; approvals of an earlier version, which has no key to verify them: {without_key}" if without_key else "")


def conclude(scope, entries):
    """What the bundle proves about its subject."""
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
