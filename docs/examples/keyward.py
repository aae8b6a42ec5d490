"""Keyward for Python, in one file and with nothing but the standard library.

    from keyward import Agent

    agent = Agent()                             # the identity that `keyward join` stored
    token = agent.token("reports.read")         # a source of tokens, never a token itself
    request.add_header("Authorization", token.header())
    password = agent.secret("github/app")       # shown by nothing but password.reveal()
    login = agent.lease("orders.query")          # a database login: login.username, login.password.reveal()
    token = agent.approved_token("web.deploy", reason="release 7")  # asks for an approval, waits, and uses it

A source asks for a token when it is first needed, keeps it for most of its life, and asks anew before it
ends or when a service has answered 401 (`token.renew()`). It is safe to share between threads. Hand the
source on, not what it gives: a copied token is the one that is stale an hour later.

While the broker does not answer, a source raises `Unavailable`, and the next use asks again at once: repeat it
every few seconds, and not before `retry_after_s` if the broker has said so (`Retry-After`). A refused certificate
is `Unauthenticated`, with the same codes as the command line has (`certificate_revoked`, `certificate_expired`,
`server_name_mismatch` …). A request that the broker judged and denied is `Denied`: `approval_id` is the approval that the
request needs, and `instead` a smaller request that would be allowed now; `agent.instead(error)` is a source of its tokens.
`keyward explain --own DECISION` explains its `decision_id`. A request that the broker cannot read, e.g. with a number out of
its range, and a damaged identity (`identity_damaged`, `address_invalid`) are a plain `KeywardError`.

The certificate is renewed by `keyward renew --watch`, which makes the new keys: run it beside the agent, or
inside `with agent.renewing():`. The next request uses the new certificate, also if another process renewed it.
"""

import contextlib
import datetime
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

__all__ = ["Agent", "Approval", "Denied", "KeywardError", "Lease", "Secret", "TokenSource", "Unauthenticated", "Unavailable"]

# A token is replaced when this share of its life is over, give or take a tenth: sources that began
# together do not ask together.
REPLACED_AT = 0.8

# A longer wait that the broker asks for is the caller's: the error has it.
LONGEST_WAIT_S = 10

# How long one request waits for the answer to a request for approval.
APPROVAL_WAIT_S = 20

# What helps if a wait ends without an approval, by the state of the request.
WAIT_FIXES = {
    "pending": "wait again, or withdraw the request: it stays with the broker",
    "denied": "do not repeat the request unchanged",
}

# The alerts by which the broker names the cause when it refuses a certificate at the handshake.
REFUSALS = {
    "CERTIFICATE_REVOKED": ("certificate_revoked", "the certificate of this agent was revoked",
        "ask an operator why, and for an enrolment code, then: keyward join --replace"),
    "ACCESS_DENIED": ("certificate_suspended", "this agent is suspended, or an incident contains it",
        "ask an operator why; the certificate is valid again after `keyward agent resume` or `keyward lift`"),
    "CERTIFICATE_EXPIRED": ("certificate_expired", "the certificate of this agent has expired, and the broker does not renew it any more, or the clocks differ",
        "compare the clocks; otherwise ask an operator for an enrolment code, then: keyward join --replace"),
    "CERTIFICATE_UNKNOWN": ("certificate_unknown", "the broker has no record of this certificate: a newer one replaced it, or the agent was removed",
        "use the newer identity; if no program on your machines renewed the certificate, another person may have a copy of the key: tell an "
        "operator; otherwise ask an operator for an enrolment code, then: keyward join --replace"),
    "UNSUPPORTED_CERTIFICATE": ("certificate_wrong_kind", "the certificate is for another listener of the broker",
        "correct the port in the file agent/address: agents use 8443 by default"),
    "UNKNOWN_CA": ("authority_revoked", "the broker revoked the authority that signed the certificate of this agent",
        "ask an operator for an enrolment code, then: keyward join --replace"),
}

# The errors of the OAuth routes that are denials (RFC 6749 §5.2, RFC 8628 §3.5).
OAUTH_DENIALS = {
    "access_denied", "approval_required", "authorization_pending", "expired_token", "invalid_grant", "slow_down", "unauthorized_client",
}

# What OpenSSL finds wrong with the broker's certificate, by its number (X509_V_ERR_…).
EXPIRED, NOT_YET_VALID, WRONG_NAME, WRONG_ADDRESS = 10, 9, 62, 64


class KeywardError(Exception):
    """What the broker refused or could not do: `code` is stable, `fix` says what would help.

    `approval_id` and `approval_uri` name the approval that the request needs, `instead` a smaller request that would be
    allowed now: `scope`, the ready `form`, and `expires_in` if the request has to name a life. It has no sensitive parameter.
    `retry_after_s` is the time that the broker asks to wait; 0 if it did not say.
    """

    approval_id = approval_uri = instead = None
    retry_after_s = 0

    def __init__(self, code, why, fix="", request_id=None, decision_id=None):
        # A text of another person must not control a terminal.
        why = "".join(c if c.isprintable() else f"<U+{ord(c):04X}>" for c in why)
        super().__init__(f"{code}: {why}" + (f" ({fix})" if fix else ""))
        self.code, self.why, self.fix = code, why, fix
        self.request_id, self.decision_id = request_id, decision_id


class Unauthenticated(KeywardError):
    """The broker does not accept this certificate or token."""


class Denied(KeywardError):
    """The broker judged the request and denied it: by a decision, which `decision_id` names, or by the state of an approval."""


class Unavailable(KeywardError):
    """The broker does not answer, or is overloaded: the same request may succeed later."""


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
    """A database login for a limited time. `connection` has the driver and its fields, e.g. `host` and `ca`.

    It never outlives the agent's certificate. If both end together, `renew` raises `certificate_expires_too_soon` until the
    certificate was renewed. A login that is `reused` has at least half of the life that a new one would get.
    """

    def __init__(self, agent, answer):
        self._agent = agent
        self.id, self.capability, self.username = answer["lease"], answer["capability"], answer["username"]
        self.password = Secret(answer["password"].encode())
        self.connection = answer["connection"]
        self.expires_at, self.renewable_until = answer["expires_at"], answer["renewable_until"]
        self.reused, self._decision = answer["reused"], answer["decision_id"]
        self.constrained = answer.get("constrained", [])  # e.g. a life that is shorter than the requested one

    def renew(self, life_s=None):
        """Extends the login to `life_s` seconds from now on, up to `renewable_until`."""
        answer = json.loads(self._agent._send("POST", f"/v1/leases/{self.id}/renew", body={"life_s": life_s}))
        self.expires_at, self.renewable_until = answer["expires_at"], answer["renewable_until"]
        self.constrained = answer.get("constrained", [])

    def give_up(self):
        """Gives this use of the login up: after the last use, the broker revokes the login."""
        self._agent._send("POST", f"/v1/leases/{self.id}/give-up", body={"decision_id": self._decision})

    def __repr__(self):
        return f"<Lease {self.id}>"


class Approval:
    """A request for approval: its `state`, the `code` by which an operator finds it, and the `denial_reason` if it was told.

    `capabilities` are those that its tokens have: a requested one that the agent does not hold is not among them.
    `decision_id` is the decision that opened it: `keyward explain --own DECISION` explains it.
    """

    def __init__(self, agent, answer):
        self._agent, self.id, self.code = agent, answer["approval"], answer["user_code"]
        self._take(answer)

    def _take(self, answer):
        self.state, self.uses_left = answer["state"], answer["uses_left"]
        self.expires_at, self.denial_reason = answer.get("expires_at"), answer.get("denial_reason")
        self.decision_id, self.capabilities = answer.get("decision_id"), answer.get("capabilities", [])
        self._over_at = time.monotonic() + (_rest_s(answer["opened_at"], self.expires_at) if self.expires_at else 0)

    def refresh(self, wait_s=0, **limits):
        """Reads the state; while it is pending, the broker answers after `wait_s` seconds (at most 60)."""
        self._take(json.loads(self._agent._send("GET", f"/v1/approvals/{self.id}", wait_s=wait_s, **limits)))

    def wait(self, timeout_s=None):
        """Waits for the answer, also while the broker restarts. If it is no approval, or late: `Denied`, `approval_…`."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while self.state == "pending" and (left := APPROVAL_WAIT_S if end is None else end - time.monotonic()) > 0:
            begun, pause_s = time.monotonic(), 2  # If the broker has no place for a further waiter, or does not answer.
            try:
                self.refresh(wait_s=min(APPROVAL_WAIT_S, int(left)), attempts=1, limit_s=None if end is None else left)
            except Unavailable as error:
                if time.monotonic() >= self._over_at:
                    raise
                pause_s = max(pause_s, error.retry_after_s)
            left = pause_s if end is None else end - time.monotonic()
            if self.state == "pending" and time.monotonic() - begun < pause_s and left > 0:
                time.sleep(min(pause_s, left))
        if self.state == "approved":
            return self
        why = f"the request {self.id} is {self.state}" + (f": {self.denial_reason}" if self.denial_reason else "")
        fix = WAIT_FIXES.get(self.state, "ask for a new approval")
        raise _with(Denied(f"approval_{self.state}", why, fix, decision_id=self.decision_id), approval_id=self.id)

    def withdraw(self):
        """Withdraws the request, or the approval that is no longer needed."""
        self._take(json.loads(self._agent._send("POST", f"/v1/approvals/{self.id}/withdraw")))

    def __repr__(self):
        return f"<Approval {self.id} {self.state}>"


class TokenSource:
    """A token for these capabilities, always with life in it. Calling it gives the token.

    `constrained` says what the broker gave less than requested with the present token, e.g. a shorter life, and `left_out`
    which requested capabilities the token does not have: a list of `capability`, `code` and `reason`.
    """

    def __init__(self, agent, fields):
        # The parameters of a capability can be sensitive.
        self._agent, self._fields = agent, Secret(fields)
        self._lock = threading.Lock()
        self._token, self._replace_at, self._generation = None, 0.0, None
        self.constrained, self.left_out = [], []

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
        generation = self._agent._generation()
        form = {"grant_type": "client_credentials", **self._fields.reveal()}
        answer = json.loads(self._agent._send("POST", "/oauth/token", form=form))
        share = REPLACED_AT + random.uniform(-0.1, 0.1)
        self._token = Secret(answer["access_token"].encode())
        self._replace_at = time.monotonic() + share * answer["expires_in"]
        self._generation = generation
        self.constrained, self.left_out = answer.get("constrained", []), answer.get("left_out", [])

    def __repr__(self):
        fields = self._fields.reveal()
        named = [str(one.get("capability")) for one in json.loads(fields.get("authorization_details", "[]"))]
        return f"<TokenSource {' '.join(dict.fromkeys(fields.get('scope', '').split() + named))}>"


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

    def token(
        self,
        *capabilities,
        resource=None,
        approval=None,
        expires_in=None,
        parameters=None,
        authorization_details=None,
        remediates=None,
    ):
        """A source of tokens for these capabilities; the same one for the same ask. Each token is a use of the `approval` (an id).

        `expires_in` is in seconds, `parameters` e.g. `{"payments.refund": {"amount": 100}}`, `authorization_details` a list
        (RFC 9396), `remediates` the decision that named this request. A source for an `approval` or a decision, or with
        parameters, is a new one: keep it.
        """
        details = _details(parameters, authorization_details)
        details = json.dumps(details) if details else None
        asked = {"scope": " ".join(capabilities) or None, "authorization_details": details, "resource": resource}
        fields = _given({**asked, "approval": approval, "expires_in": expires_in, "remediates": remediates})
        # A key of the kept sources would show the parameters.
        if approval or remediates or details:
            return TokenSource(self, fields)
        with self._lock:
            return self._sources.setdefault(tuple(fields.items()), TokenSource(self, fields))

    def instead(self, error):
        """A source of tokens for the smaller request that `error` offers, with all that the broker says in it.

        It has the offered capabilities, life and parameters, and names the denied decision. Raises `error` if it offers none.
        """
        if not error.instead:
            raise error
        return TokenSource(self, dict(urllib.parse.parse_qsl(error.instead["form"])))

    def request(
        self,
        *capabilities,
        reason,
        for_s=None,
        uses=None,
        expires_in=None,
        resource=None,
        parameters=None,
        authorization_details=None,
    ):
        """Asks for an approval of one token, or of several within `for_s` seconds. An identical request gets the same one.

        `parameters` and `authorization_details` are as for `token`; the token is requested with the same.
        """
        details = _details(parameters, authorization_details)
        named = [one["capability"] for one in details]
        given = {one["capability"]: one["parameters"] for one in details if one.get("parameters")}
        places = [place for one in details for place in one.get("locations", [])]
        body = {"capabilities": list(dict.fromkeys([*capabilities, *named])), "reason": reason, "grant_life_s": for_s}
        body = {**body, "uses": uses, "life_s": expires_in, "parameters": given or None}
        body = _given({**body, "resource": resource or (places[0] if places else None)})
        return Approval(self, json.loads(self._send("POST", "/v1/approvals", body=body)))

    def approval(self, approval_id):
        """The request for approval with this id, e.g. the `approval_id` of an error."""
        return Approval(self, json.loads(self._send("GET", "/v1/approvals/" + urllib.parse.quote(approval_id, safe=""))))

    def approvals(self):
        """The requests for approval of this agent, the newest first."""
        return [Approval(self, one) for one in json.loads(self._send("GET", "/v1/approvals"))["items"]]

    def approved_token(
        self,
        *capabilities,
        reason,
        for_s=None,
        timeout_s=None,
        expires_in=None,
        resource=None,
        parameters=None,
        authorization_details=None,
    ):
        """A source of tokens, which are approved if they need it: asks and waits. Without `for_s` there is only one token.

        The approval and the token are for the same `parameters` and `authorization_details`, which are as for `token`.
        If the request is denied or ends, the `Denied` has `instead` if a smaller request would be allowed now.
        """
        how = {"expires_in": expires_in, "resource": resource}
        how = {**how, "parameters": parameters, "authorization_details": authorization_details}
        try:
            approval = self.request(*capabilities, reason=reason, for_s=for_s, **how)
        except KeywardError as error:
            if error.code != "approval_not_needed":
                raise
            return self.token(*capabilities, **how)
        source = self.token(*capabilities, approval=approval.id, **how)
        try:
            approval.wait(timeout_s)
        except Denied as error:
            if approval.state != "pending":
                error.instead = _offer_of(source)
            raise
        return source

    def secret(self, name, capability=None, **how):
        """An upstream secret, read by way of a token for the capability that names it; `how` is as for `token`."""
        if capability is None:
            held = [one["name"] for one in self.whoami()["capabilities"] if one.get("secret") == name]
            if not held:
                raise Denied("secret_not_granted", "no capability of this agent names this secret")
            capability = held[0]
        source = self.token(capability, **how)
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

    def _send(self, method, path, form=None, bearer=None, body=None, wait_s=0, attempts=None, limit_s=None):
        # A repeated request with the same key is carried out once: a use of an approval is not lost with a connection.
        key = secrets.token_hex(16) if body is not None or "approval" in (form or {}) else None
        attempts, wait = attempts or self._attempts, (wait_s, limit_s)
        for attempt in range(1, attempts + 1):
            generation = self._generation()
            try:
                return self._send_once(method, path, form, bearer, body, key, *wait)
            except Unavailable as error:
                if attempt == attempts or error.retry_after_s > LONGEST_WAIT_S:
                    raise
                # Not all callers at the same moment.
                time.sleep(error.retry_after_s + random.uniform(0, 0.1 * 2**attempt))
            except Unauthenticated:
                # The certificate was replaced while this request went by the one before.
                if attempt == attempts or self._generation() == generation:
                    raise

    def _send_once(self, method, path, form, bearer, body, key, wait_s=0, limit_s=None):
        context, address = self._connected_by()
        host, port = _host_and_port(address, self._home / "agent" / "address")
        headers = {"Authorization": bearer.header()} if bearer else {}
        if body is not None:
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        if form is not None:
            body = urllib.parse.urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if key:
            headers["Idempotency-Key"] = key
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        timeout_s = min(self._timeout_s + wait_s, limit_s or float("inf"))
        connection = http.client.HTTPSConnection(host, port, context=context, timeout=timeout_s)
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
        said = None
    said = said if isinstance(said, dict) else {}  # Another program can answer, e.g. a proxy.
    kind = {401: Unauthenticated, 403: Denied, 429: Unavailable, 503: Unavailable}.get(status, KeywardError)
    code = said.get("code", "response_invalid")
    if kind is Unavailable and said.get("retryable") is False:
        kind = KeywardError  # As many objects exist as may: the same request fails again.
    # The OAuth routes deny with status 400.
    if kind is KeywardError and (said.get("decision_id") or said.get("error") in OAUTH_DENIALS):
        kind = Denied
    why = said.get("detail") or said.get("error_description") or f"the broker answered {status}"
    error = kind(code, why, said.get("fix", ""), said.get("request_id"), said.get("decision_id"))
    error.retry_after_s = int(retry_after) if (retry_after or "").isdecimal() else 0
    return _with(error, said.get("approval_id"), said.get("instead"))


def _details(parameters, details):
    """The list `authorization_details` (RFC 9396) with these parameters of capabilities added."""
    parameters, details = dict(parameters or {}), [dict(one) for one in details or []]
    for one in details:
        given = parameters.pop(one.get("capability"), None)
        if given is not None:
            one["parameters"] = {**one.get("parameters", {}), **given}
    return details + [{"type": "keyward_capability", "capability": name, "parameters": given} for name, given in parameters.items()]


def _with(error, approval_id, instead=None):
    error.approval_id, error.instead = approval_id, instead
    error.approval_uri = approval_id and f"/v1/approvals/{approval_id}"
    return error


def _offer_of(source):
    """The smaller request that the refusal of this token offers, if there is one."""
    try:
        source()
    except KeywardError as refused:
        return refused.instead
    return None


def _rest_s(opened_at, expires_at):
    """The rest of the life of a request, in seconds; a clock that is wrong counts for at most the whole life."""
    opened, end = (datetime.datetime.fromisoformat(at.replace("Z", "+00:00")) for at in (opened_at, expires_at))
    whole, rest = (end - opened).total_seconds(), end.timestamp() - time.time()
    return rest if 0 <= rest <= whole else whole


def _given(fields):
    return {name: value for name, value in fields.items() if value is not None}
