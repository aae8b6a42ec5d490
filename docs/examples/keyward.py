"""Keyward for Python, in one file and with nothing but the standard library.

    from keyward import Agent

    agent = Agent()                             # the identity that `keyward join` stored
    token = agent.token("reports.read")         # a source of tokens, never a token itself
    request.add_header("Authorization", token.header())
    password = agent.secret("github/app")       # shown by nothing but password.reveal()
    login = agent.lease("orders.query")          # a database login: login.username, login.password.reveal()

A source asks for a token when it is first needed, keeps it for most of its life, and asks anew before it
ends or when a service has answered 401 (`token.renew()`). It is safe to share between threads. Hand the
source on, not what it gives: a copied token is the one that is stale an hour later.

While the broker does not answer, a source raises `Unavailable`, and the next use asks again at once: repeat it
every few seconds, and not before `retry_after_s` if the broker has said so (`Retry-After`). A refused certificate
is `Unauthenticated`, with the same codes as the command line has (`certificate_revoked`, `certificate_expired`,
`server_name_mismatch` …). A damaged identity is a `KeywardError` with `identity_damaged` or `address_invalid`.

The certificate is renewed by `keyward renew --watch`, which makes the new keys: run it beside the agent, or
inside `with agent.renewing():`. The next request uses the new certificate, also if another process renewed it.
"""

import contextlib
import http.client
import json
import os
import pathlib
import random
import secrets
import ssl
import subprocess
import threading
import time
import urllib.parse

__all__ = ["Agent", "Denied", "KeywardError", "Lease", "Secret", "TokenSource", "Unauthenticated", "Unavailable"]

# A token is replaced when this share of its life is over, give or take a tenth: sources that began
# together do not ask together.
REPLACED_AT = 0.8

# A longer wait that the broker asks for is the caller's: the error has it.
LONGEST_WAIT_S = 10

# The alerts by which the broker names the cause when it refuses a certificate at the handshake.
REFUSALS = {
    "CERTIFICATE_REVOKED": (
        "certificate_revoked",
        "the certificate of this agent was revoked",
        "ask an operator why, and for an enrolment code, then: keyward join --replace",
    ),
    "ACCESS_DENIED": (
        "certificate_suspended",
        "this agent is suspended, or an incident contains it",
        "ask an operator why; the certificate is valid again after `keyward agent resume` or `keyward lift`",
    ),
    "CERTIFICATE_EXPIRED": (
        "certificate_expired",
        "the certificate of this agent has expired, and the broker does not renew it any more, or the clocks differ",
        "compare the clocks; otherwise ask an operator for an enrolment code, then: keyward join --replace",
    ),
    "CERTIFICATE_UNKNOWN": (
        "certificate_unknown",
        "the broker has no record of this certificate: a newer one replaced it, or the agent was removed",
        "use the newer identity; if no program on your machines renewed the certificate, another person may have a copy of the key: tell an "
        "operator; otherwise ask an operator for an enrolment code, then: keyward join --replace",
    ),
    "UNSUPPORTED_CERTIFICATE": (
        "certificate_wrong_kind",
        "the certificate is for another listener of the broker",
        "correct the port in the file agent/address: agents use 8443 by default",
    ),
    "UNKNOWN_CA": (
        "authority_revoked",
        "the broker revoked the authority that signed the certificate of this agent",
        "ask an operator for an enrolment code, then: keyward join --replace",
    ),
}

# What OpenSSL finds wrong with the broker's certificate, by its number (X509_V_ERR_…).
EXPIRED, NOT_YET_VALID, WRONG_NAME, WRONG_ADDRESS = 10, 9, 62, 64


class KeywardError(Exception):
    """What the broker refused or could not do: `code` is stable, `fix` says what would help."""

    def __init__(self, code, why, fix="", request_id=None, decision_id=None):
        super().__init__(f"{code}: {why}" + (f" ({fix})" if fix else ""))
        self.code, self.why, self.fix = code, why, fix
        self.request_id, self.decision_id = request_id, decision_id


class Unauthenticated(KeywardError):
    """The broker does not accept this certificate or token."""


class Denied(KeywardError):
    """The broker denied the request."""


class Unavailable(KeywardError):
    """The broker does not answer, or is overloaded: the same request may succeed later.

    `retry_after_s` is the time that the broker asks to wait; 0 if it did not say.
    """

    retry_after_s = 0


class Secret:
    """A value that is not printed by accident. Only `reveal()` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value):
        self._value = value

    def reveal(self):
        """The value, bytes."""
        return self._value

    def __repr__(self):
        return "<Secret>"

    __str__ = __repr__

    def __format__(self, _spec):
        return repr(self)

    def __reduce__(self):
        raise TypeError("a Secret is not pickled")


class Lease:
    """A database login for a limited time. `connection` has the driver and its fields, e.g. `host` and `ca`."""

    def __init__(self, agent, answer):
        self._agent = agent
        self.id, self.capability, self.username = answer["lease"], answer["capability"], answer["username"]
        self.password = Secret(answer["password"].encode())
        self.connection = answer["connection"]
        self.expires_at, self.renewable_until = answer["expires_at"], answer["renewable_until"]
        self.reused, self._decision = answer["reused"], answer["decision_id"]
        self.constrained = answer.get("constrained", [])  # e.g. a life that is shorter than the requested one

    def renew(self, life_s=None):
        """Extends the login, up to `renewable_until`."""
        answer = json.loads(self._agent._send("POST", f"/v1/leases/{self.id}/renew", body={"life_s": life_s}))
        self.expires_at, self.renewable_until = answer["expires_at"], answer["renewable_until"]
        self.constrained = answer.get("constrained", [])

    def give_up(self):
        """Gives this use of the login up: after the last use, the broker revokes the login."""
        self._agent._send("POST", f"/v1/leases/{self.id}/give-up", body={"decision_id": self._decision})

    def __repr__(self):
        return f"<Lease {self.id}>"


class TokenSource:
    """A token for these capabilities, always with life in it. Calling it gives the token.

    `constrained` says what the broker gave less than requested with the present token, e.g. a shorter life.
    """

    def __init__(self, agent, scope, resource=None):
        self._agent, self._scope, self._resource = agent, scope, resource
        self._lock = threading.Lock()
        self._token, self._replace_at, self._generation = None, 0.0, None
        self.constrained = []

    def __call__(self):
        with self._lock:
            generation = self._agent._generation()
            # A token is bound to the certificate that it was asked for with.
            if self._token is None or time.monotonic() >= self._replace_at or generation != self._generation:
                self._ask()
            return self._token.reveal().decode()

    def header(self):
        """The Authorization header's value."""
        return f"Bearer {self()}"

    def renew(self):
        """Forgets the token: a service has answered 401. The next use asks for another."""
        with self._lock:
            self._token = None

    def _ask(self):
        fields = {"grant_type": "client_credentials", "scope": self._scope}
        if self._resource:
            fields["resource"] = self._resource
        generation = self._agent._generation()
        answer = json.loads(self._agent._send("POST", "/oauth/token", form=fields))
        share = REPLACED_AT + random.uniform(-0.1, 0.1)
        self._token = Secret(answer["access_token"].encode())
        self._replace_at = time.monotonic() + share * answer["expires_in"]
        self._generation = generation
        self.constrained = answer.get("constrained", [])

    def __repr__(self):
        return f"<TokenSource {self._scope}>"


class Agent:
    """The agent that `keyward join` enrolled, from `home`, KEYWARD_HOME or ~/.config/keyward."""

    def __init__(self, home=None, timeout_s=10, attempts=4):
        self._home = pathlib.Path(home or os.environ.get("KEYWARD_HOME") or _default_home())
        self._timeout_s, self._attempts = timeout_s, attempts
        self._lock = threading.Lock()
        self._context, self._read = None, None
        self._sources = {}

    def is_enrolled(self):
        """Whether `keyward join` has stored an identity here. A damaged one counts: requests raise `identity_damaged`."""
        return (self._home / "agent").is_dir()

    def token(self, *capabilities, resource=None):
        """A source of tokens for these capabilities; the same one for the same ask."""
        scope = " ".join(capabilities)
        with self._lock:
            return self._sources.setdefault((scope, resource), TokenSource(self, scope, resource))

    def secret(self, name, capability=None):
        """An upstream secret, read by way of a token for the capability that names it."""
        if capability is None:
            held = [one["name"] for one in self.whoami()["capabilities"] if one.get("secret") == name]
            if not held:
                raise Denied("secret_not_granted", "no capability of this agent names this secret")
            capability = held[0]
        source = self.token(capability)
        path = "/v1/secrets/" + urllib.parse.quote(name)
        try:
            return Secret(self._send("GET", path, bearer=source))
        except Unauthenticated as refused:
            if not refused.code.startswith("token_"):
                raise
            source.renew()
            return Secret(self._send("GET", path, bearer=source))

    def lease(self, capability, life_s=None, fresh=False):
        """A database login. The agent gets the login that it has, unless it asks for a `fresh` one."""
        body = {"capability": capability, "life_s": life_s, "fresh": fresh}
        return Lease(self, json.loads(self._send("POST", "/v1/leases", body=body)))

    def whoami(self):
        """Who this agent is to the broker, and what it may ask for."""
        return json.loads(self._send("GET", "/v1/whoami"))

    def show_certificate(self, context):
        """Has `context` show this agent's certificate, to services that check what a token is bound to."""
        _load_certificate(context, self._home / "agent")

    @contextlib.contextmanager
    def renewing(self):
        """Runs `keyward renew --watch` for as long as the block lasts, and not longer than this process."""
        command = ["keyward", "renew", "--watch", "--until-stdin-ends", "--home", self._home]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as watcher:
            try:
                yield
            finally:
                watcher.terminate()

    def _send(self, method, path, form=None, bearer=None, body=None):
        # A repeated request with the same key is carried out once.
        key = secrets.token_hex(16) if body is not None else None
        for attempt in range(1, self._attempts + 1):
            generation = self._generation()
            try:
                return self._send_once(method, path, form, bearer, body, key)
            except Unavailable as error:
                if attempt == self._attempts or error.retry_after_s > LONGEST_WAIT_S:
                    raise
                # Not all callers at the same moment.
                time.sleep(error.retry_after_s + random.uniform(0, 0.1 * 2**attempt))
            except Unauthenticated:
                # The certificate was replaced while this request went by the one before.
                if attempt == self._attempts or self._generation() == generation:
                    raise

    def _send_once(self, method, path, form, bearer, body, key):
        context, address = self._connected_by()
        host, port = _host_and_port(address, self._home / "agent" / "address")
        headers = {"Authorization": bearer.header()} if bearer else {}
        if body is not None:
            body = json.dumps(body)
            headers.update({"Content-Type": "application/json", "Idempotency-Key": key})
        if form is not None:
            body = urllib.parse.urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPSConnection(
            host, port, context=context, timeout=self._timeout_s
        )
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            answer = response.read()
        except ssl.SSLError as error:
            raise _refused(error, address) from error
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
            why = f"the broker at {address} does not answer: {cause}"
            fix = "check the address and the network; on the broker's host check that `keyward serve` runs"
            raise Unavailable("broker_unreachable", why, fix) from error
        finally:
            connection.close()
        if response.status < 300:
            return answer
        raise _error(response.status, answer, response.getheader("Retry-After"))

    def _generation(self):
        """Changes when another certificate is in place. A file system gives the number of a removed directory again."""
        found = self._identity()
        return found.st_ino, found.st_ctime_ns

    def _identity(self):
        try:
            return os.stat(self._home / "agent")
        except FileNotFoundError as error:
            why = f"no agent has joined from {self._home}"
            raise Unauthenticated("no_identity", why, "keyward join, or name the directory: KEYWARD_HOME") from error
        except OSError as error:
            raise _damaged(f"{self._home / 'agent'} cannot be read: {error.strerror}") from error

    def _connected_by(self):
        with self._lock:
            directory = self._home / "agent"
            while (read := self._generation()) != self._read:
                try:
                    context = ssl.create_default_context(cafile=_readable(directory / "authority.pem"))
                except ssl.SSLError as error:
                    raise _damaged(f"{directory / 'authority.pem'} has no certificate in PEM") from error
                context.minimum_version = ssl.TLSVersion.TLSv1_3
                try:
                    _load_certificate(context, directory)
                except KeywardError:
                    # A renewal may have replaced the directory between two of its files.
                    if self._generation() == read:
                        raise
                else:
                    self._context, self._read = context, read
            return self._context, _readable(directory / "address").read_text(errors="replace").strip()


def _default_home():
    return pathlib.Path(os.environ.get("XDG_CONFIG_HOME") or pathlib.Path.home() / ".config") / "keyward"


def _load_certificate(context, directory):
    certificate, key = _readable(directory / "certificate.pem"), _readable(directory / "key.pem")
    if "PRIVATE KEY" not in key.read_text(errors="replace"):
        raise _damaged(f"{key} has no private key in PEM, or a sealed one, which only `keyward` can use")
    try:
        # Without a password, an encrypted key would ask for it at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise _damaged(f"{certificate} and {key} are not a certificate and its private key") from error


def _readable(path):
    try:
        with open(path, "rb"):
            return path
    except OSError as error:
        raise _damaged(f"{path} cannot be read: {error.strerror}") from error


def _damaged(why):
    fix = "restore the file; otherwise ask an operator for an enrolment code, then: keyward join --replace"
    return KeywardError("identity_damaged", why, fix)


def _host_and_port(address, file):
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        why = f"the broker's address in {file} is not a host name with a port"
        raise KeywardError("address_invalid", why, "correct the file, or enrol again: keyward join --replace")
    return host.strip("[]"), int(port)


def _refused(error, address):
    """The error of a TLS handshake, by its cause."""
    # "SSLV3_ALERT_CERTIFICATE_EXPIRED", "TLSV1_ALERT_UNKNOWN_CA": the names differ between versions of OpenSSL.
    reason = (getattr(error, "reason", None) or "").upper()
    for alert, cause in REFUSALS.items():
        if "ALERT" in reason and reason.endswith(alert):
            return Unauthenticated(*cause)
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (EXPIRED, NOT_YET_VALID):
            why = f"by this machine's clock the certificate of the broker at {address} is not valid now"
            return Unauthenticated("clock_mismatch", why, "compare `date -u` here and on the broker's host")
        if error.verify_code in (WRONG_NAME, WRONG_ADDRESS):
            why = f"the broker's certificate is not for the host of {address}"
            return Unauthenticated("server_name_mismatch", why, "add the host to `[server] names` of the broker")
        why = f"no authority that this identity trusts issued the certificate of the server at {address}"
        return Unauthenticated("tls_failed", why, "check the file agent/address, or ask an operator for a new code")
    if "ALERT" in reason:
        return Unauthenticated("certificate_refused", "the broker refused the certificate of this agent")
    if "EOF" in reason:
        return Unavailable("broker_unreachable", "the connection was closed during the TLS handshake")
    why = f"the TLS handshake with the server at {address} failed: {reason or 'unknown cause'}"
    return Unauthenticated("tls_failed", why, "check the file agent/address: another program may answer there")


def _error(status, answer, retry_after=None):
    try:
        said = json.loads(answer)
    except ValueError:
        said = {}
    kind = {401: Unauthenticated, 403: Denied, 429: Unavailable, 503: Unavailable}.get(status, KeywardError)
    if said.get("code") in ("capability_not_granted", "secret_not_granted"):
        kind = Denied
    why = said.get("detail") or said.get("error_description") or f"the broker answered {status}"
    ids = said.get("request_id"), said.get("decision_id")
    error = kind(said.get("code", "response_invalid"), why, said.get("fix", ""), *ids)
    if kind is Unavailable and (retry_after or "").isdecimal():
        error.retry_after_s = int(retry_after)
    return error
