"""What `docs/examples/keyward.py` promises, tried against a real broker.

usage: client.py DIRECTORY-OF-keyward.py HOME HOME-OF-AN-OPERATOR OTHER-CERTIFICATE PORT-OF-OPERATORS
"""

import pathlib
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import keyward  # noqa: E402

home = sys.argv[2]
agent = keyward.Agent(home=home)

source = agent.token("reports.read")
first = source()
assert source() == first and agent.token("reports.read") is source, "one ask, one source"
assert source.header() == f"Bearer {first}"
assert first not in repr(source) and first not in repr(agent.__dict__), "no token is shown by accident"
source.renew()
second = source()
assert second != first, "a source that was told to forget asks anew"

got = []
threads = [threading.Thread(target=lambda: got.append(agent.token("reports.read")())) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert got == [second] * 8, "threads share it"

secret = agent.secret("github/app")
assert secret.reveal() == b"value"
assert "value" not in f"{secret} {secret!r} {[secret]}"
try:
    pickle.dumps(secret)
except TypeError:
    pass
else:
    raise AssertionError("a secret was pickled")

subprocess.run(["keyward", "renew", "--home", home], check=True)
third = source()
assert third != second, "a token goes with the certificate that it was asked for with"
assert agent.secret("github/app", "github.repo.read").reveal() == b"value", "the new certificate serves"

for wrong, kind, code in [
    (lambda: agent.token("not.declared")(), keyward.Denied, "capability_not_granted"),
    (lambda: agent.secret("no/such"), keyward.Denied, "secret_not_granted"),
    (lambda: agent.secret("github/app", "reports.read"), keyward.Denied, "secret_not_granted"),
    (lambda: agent.secret("no/such", "reports.read"), keyward.Denied, "secret_not_granted"),
    (lambda: agent.token("Not.Canonical")(), keyward.KeywardError, "scope_malformed"),
]:
    try:
        wrong()
    except kind as error:
        assert error.code == code and error.fix, error
    else:
        raise AssertionError(code)

with tempfile.TemporaryDirectory() as elsewhere:
    shutil.copytree(home, elsewhere, dirs_exist_ok=True)
    with open(f"{elsewhere}/agent/address", "w") as file:
        file.write("127.0.0.1:1\n")
    try:
        keyward.Agent(home=elsewhere, attempts=2).whoami()
    except keyward.Unavailable as error:
        assert error.code == "broker_unreachable" and "127.0.0.1:1 " in error.why and "refused" in error.why, error
        assert error.fix == keyward.UNREACHABLE_FIX, error
    else:
        raise AssertionError("nobody was there")

eof = keyward.ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
eof.reason = "UNEXPECTED_EOF_WHILE_READING"
closed = keyward._refused(eof, "127.0.0.1:1")
assert closed.code == "broker_unreachable" and "127.0.0.1:1 " in closed.why and closed.fix, closed

# A file system gives a new directory the number of a removed one: another identity is noticed all the same.
with tempfile.TemporaryDirectory() as elsewhere:
    shutil.copytree(home, elsewhere, dirs_exist_ok=True)
    replaced, directory = keyward.Agent(home=elsewhere), pathlib.Path(elsewhere) / "agent"
    before, number = replaced._generation(), directory.stat().st_ino
    directory.chmod(0o700)
    assert directory.stat().st_ino == number and replaced._generation() != before

# A broker that asks for a pause gets it; a long one is the caller's decision.
answers = [keyward._error(429, b'{"code":"rate_limited"}', pause) for pause in ["2", None]] + [b'{"name":"x"}']
waits, sleep = [], keyward.time.sleep
patient = keyward.Agent(home=home)
patient._send_once = lambda *_: answers.pop(0) if isinstance(answers[0], bytes) else (_ for _ in ()).throw(answers.pop(0))
keyward.time.sleep = waits.append
assert patient.whoami() == {"name": "x"} and 2 <= waits[0] < 3 and 0 <= waits[1] < 1, waits
answers = [keyward._error(503, b"{}", "3600")]
try:
    patient.whoami()
except keyward.Unavailable as error:
    assert error.retry_after_s == 3600 and len(waits) == 2, waits
else:
    raise AssertionError("an hour is too long")
keyward.time.sleep = sleep


def refused(change, code, kind=keyward.Unauthenticated, file=""):
    """Whether an identity that `change` has changed is refused with `code`, naming `file`."""
    with tempfile.TemporaryDirectory() as elsewhere:
        shutil.copytree(home, elsewhere, dirs_exist_ok=True)
        change(pathlib.Path(elsewhere) / "agent")
        try:
            keyward.Agent(home=elsewhere, attempts=1).whoami()
        except kind as error:
            assert error.code == code and error.fix and file in error.why, error
        else:
            raise AssertionError(code)


def operators(*args):
    subprocess.run(["keyward", *args, "--home", sys.argv[3]], check=True, stdout=subprocess.DEVNULL)


def at(port):
    return lambda identity: (identity / "address").write_text(f"127.0.0.1:{port}\n")


def other_authority(identity):
    # A certificate that is no authority of the broker.
    shutil.copy(sys.argv[4], identity / "authority.pem")


RENEWING = """
import sys, time
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import keyward
with keyward.Agent(home=sys.argv[2]).renewing():
    print("ready", flush=True)
    time.sleep(600)
"""


def is_renewed():
    lines = []
    for process in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(process.read_bytes().split(b"\0"))
        except OSError:
            pass  # It has ended.
    return any(b"--watch" in line and home.encode() in line for line in lines)


def wait_until(so, otherwise):
    for _ in range(600):
        if so():
            return
        time.sleep(0.05)
    raise AssertionError(otherwise)


# A program that a signal ends takes the renewal of its certificate with it.
with subprocess.Popen([sys.executable, "-c", RENEWING, sys.argv[1], home], stdout=subprocess.PIPE) as program:
    try:
        assert program.stdout.readline() == b"ready\n"
        # A process has no arguments yet while it begins.
        wait_until(is_renewed, "the renewal has not begun")
    finally:
        program.terminate()
wait_until(lambda: not is_renewed(), "the renewal goes on")

for name in ["key.pem", "certificate.pem", "authority.pem", "address"]:
    damaged = "address_invalid" if name == "address" else "identity_damaged"
    for change in [lambda file: file.write_text(""), lambda file: file.write_bytes(b"\xff no PEM")]:
        refused(lambda identity: change(identity / name), damaged, keyward.KeywardError, name)
    refused(lambda identity: (identity / name).unlink(), "identity_damaged", keyward.KeywardError, name)
other_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
refused(lambda identity: (identity / "key.pem").write_text(other_key), "identity_damaged", keyward.KeywardError)
refused(at("no-port"), "address_invalid", keyward.KeywardError)
refused(at(sys.argv[5]), "certificate_wrong_kind")
refused(other_authority, "tls_failed")
with socket.create_server(("127.0.0.1", 0)) as nobody:
    threading.Thread(target=lambda: nobody.accept()[0].sendall(b"no TLS at all\n"), daemon=True).start()
    refused(at(nobody.getsockname()[1]), "tls_failed")
operators("agent", "suspend", "py")
refused(lambda _: None, "certificate_suspended")
operators("agent", "resume", "py")
agent.whoami()
operators("agent", "revoke", "py")
refused(lambda _: None, "certificate_revoked")
print("ok: client")
