"""A resource server that takes Keyward's tokens and checks whom they are bound to.

    pip install "PyJWT[crypto]"
    resource_server.py --issuer https://broker:8443 --audience https://reports.example.com \
        --authority authority.pem --certificate server.pem --key server.key --port 9443

`authority.pem` is what `GET /v1/authority` of the broker answers; `server.pem` is the server's own
certificate, from wherever its clients expect it. A client shows the certificate that Keyward gave it,
and its token in the Authorization header.
"""

import argparse
import base64
import hashlib
import http.server
import json
import re
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request

import jwt

REQUIRED = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "cnf"]


class Refused(Exception):
    """The token is not taken: the caller answers 401."""


# While the broker cannot be reached, its keys are used for so long after their `max-age`. Price: a key that the broker
# has revoked is accepted for so much longer. With 0, the server refuses every token as soon as `max-age` is over.
STALE_S = 600

# Longest pause that the broker can ask for (`Retry-After`).
PAUSE_MAX_S = 60


class Keys:
    """The broker's token keys, fetched again when a token names one that is not known yet, and when the time is over
    for which the broker lets them be kept (`max-age`): it may have revoked one."""

    def __init__(self, issuer, authority):
        self.url = f"{issuer}/.well-known/jwks.json"
        self.context = ssl.create_default_context(cafile=authority)
        self.lock = threading.Lock()
        self.keys = {}
        self.fresh_until = 0.0
        self.callable_at = 0.0

    def get(self, kid):
        with self.lock:
            if kid not in self.keys or time.monotonic() >= self.fresh_until:
                try:
                    self.keys = {key.key_id: key for key in self.fetch().keys}
                except (OSError, ValueError) as error:
                    now = time.monotonic()
                    if kid not in self.keys or now >= self.fresh_until + STALE_S:
                        raise
                    if now >= self.callable_at:
                        log("the broker's keys cannot be read; the server uses the keys from before", error)
                        self.callable_at = now + 5
            return self.keys.get(kid)

    def fetch(self):
        asked_at = time.monotonic()
        if asked_at < self.callable_at:
            raise OSError("the broker has asked for a pause")
        try:
            with urllib.request.urlopen(self.url, context=self.context, timeout=5) as answer:
                age = re.search(r"max-age=(\d+)", answer.headers.get("Cache-Control", ""))
                keys = jwt.PyJWKSet.from_dict(json.load(answer))
        except urllib.error.HTTPError as error:
            pause = error.headers.get("Retry-After") or "0"
            self.callable_at = time.monotonic() + (min(int(pause), PAUSE_MAX_S) if pause.isdecimal() else 0)
            raise
        self.fresh_until = asked_at + (int(age[1]) if age else 0)
        return keys


def verified(token, certificate, keys, issuer, audience):
    """The claims of `token`, once it is known to be good, for us, and the holder's of `certificate` (DER)."""
    try:
        header = jwt.get_unverified_header(token)
        if header.get("typ") != "at+jwt":
            raise Refused("not an access token")
        claims = jwt.decode(
            token,
            keys.get(header.get("kid")),
            algorithms=["ES256"],
            issuer=issuer,
            audience=audience,
            leeway=5,
            options={"require": REQUIRED},
        )
    except (jwt.PyJWTError, TypeError) as error:
        raise Refused("not a good token") from error
    # RFC 8705 section 3.1. Without this line the token is a bearer token: a thief can use it.
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode()
    if claims["cnf"].get("x5t#S256") != thumbprint:
        raise Refused("the token is bound to another certificate")
    return claims


def log(problem, cause=None):
    """The cause is for the log alone: a caller with a bad token learns nothing from it."""
    print(problem + (f": {type(cause).__name__}: {cause}" if cause else ""), file=sys.stderr, flush=True)


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, _request, client):
        error = sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1]
        if not isinstance(error, OSError):
            return super().handle_error(_request, client)
        # E.g. a client without a certificate, whose TLS handshake fails.
        log(f"connection from {client[0]} failed", error)


def handler(keys, issuer, audience):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            scheme, _, token = self.headers.get("Authorization", "").partition(" ")
            try:
                if scheme.lower() != "bearer":
                    raise Refused("no token")
                certificate = self.connection.getpeercert(binary_form=True)
                claims = verified(token, certificate, keys, issuer, audience)
            except Refused as refused:
                log(f"refused: {refused}", refused.__cause__)
                self.answer(401, {"error": "invalid_token", "why": str(refused)})
                return
            except (OSError, ValueError) as error:
                log("the broker's keys cannot be read", error)
                self.answer(503, {"error": "temporarily_unavailable"})  # No keys: no fault of the token's.
                return
            if "reports.read" not in claims["scope"].split(" "):
                self.answer(403, {"error": "insufficient_scope"})
                return
            self.answer(200, {"hello": claims["sub"]})

        def answer(self, status, body):
            body = json.dumps(body).encode()
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Bearer error="invalid_token"')
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def main():
    parser = argparse.ArgumentParser()
    for name in ["issuer", "audience", "authority", "certificate", "key"]:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, default=9443)
    given = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(given.certificate, given.key)
    context.load_verify_locations(given.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    keys = Keys(given.issuer, given.authority)
    server = Server(
        ("127.0.0.1", given.port), handler(keys, given.issuer, given.audience)
    )
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main()
