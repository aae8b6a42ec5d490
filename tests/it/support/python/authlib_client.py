"""Authlib over mTLS: get a token, verify it as RFC 9068 asks, have it introspected, give it up. Each also
refuses an altered twin.

usage: authlib_client.py ISSUER CA.pem CERT.pem KEY.pem SERVER-CERT.pem SERVER-KEY.pem CLIENT-ID SCOPE AUDIENCE
"""

import base64
import json
import sys

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc import jwk, jwt

issuer, ca, cert, key, server_cert, server_key, client_id, scope, audience = sys.argv[1:]


def session(certificate, private_key):
    made = OAuth2Session(client_id, scope=scope, token_endpoint_auth_method="none")
    made.cert, made.verify, made.trust_env = (certificate, private_key), ca, False
    return made


def main():
    public = requests.Session()
    public.verify, public.trust_env = ca, False
    found = public.get(f"{issuer}/.well-known/oauth-authorization-server").json()
    metadata = AuthorizationServerMetadata(found)
    metadata.validate()
    openid = OpenIDProviderMetadata(public.get(f"{issuer}/.well-known/openid-configuration").json())
    for check in ["issuer", "jwks_uri", "subject_types_supported", "id_token_signing_alg_values_supported"]:
        getattr(openid, f"validate_{check}")()

    agent = session(cert, key)
    token = agent.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")["access_token"]
    keys = jwk.KeySet.import_key_set(public.get(metadata["jwks_uri"]).json())
    decoded = jwt.decode(token, keys, algorithms=["ES256"])
    assert decoded.header["typ"] == "at+jwt"
    claims = {"iss": issuer, "aud": audience, "sub": client_id, "client_id": client_id}
    registry = jwt.JWTClaimsRegistry(**{name: {"essential": True, "value": value} for name, value in claims.items()})
    registry.validate(decoded.claims)

    # The same capability by a rich authorization request (RFC 9396)
    detail = {"type": "keyward_capability", "capability": scope, "actions": ["read"], "locations": [audience]}
    rich = OAuth2Session(client_id, token_endpoint_auth_method="none")
    rich.cert, rich.verify, rich.trust_env = agent.cert, agent.verify, False
    ask = {"grant_type": "client_credentials", "authorization_details": json.dumps([detail])}
    granted = rich.fetch_token(metadata["token_endpoint"], **ask)
    assert granted["authorization_details"] == decoded.claims["authorization_details"], granted
    ask["authorization_details"] = json.dumps([{**detail, "actions": ["write"]}])
    try:
        rich.fetch_token(metadata["token_endpoint"], **ask)
    except OAuthError as error:
        assert error.error == "invalid_authorization_details", error
    else:
        raise AssertionError("another action was granted")

    # With a parameter of the capability
    ask["authorization_details"] = json.dumps([{**detail, "parameters": {"report": "2026-12"}}])
    granted = rich.fetch_token(metadata["token_endpoint"], **ask)
    assert granted["authorization_details"][0]["parameters"] == {"report": "2026-12"}, granted
    ask["authorization_details"] = json.dumps([{**detail, "parameters": {"report": 12}}])
    try:
        rich.fetch_token(metadata["token_endpoint"], **ask)
    except OAuthError as error:
        assert error.error == "invalid_authorization_details", error
    else:
        raise AssertionError("a parameter of another type was granted")

    head, body, signature = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    raw[10] ^= 1
    twin = ".".join([head, base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), signature])
    try:
        jwt.decode(twin, keys, algorithms=["ES256"])
    except Exception as error:
        assert "signature" in str(error).lower(), error
    else:
        raise AssertionError("an altered token was taken")

    server = session(server_cert, server_key)
    said = server.introspect_token(metadata["introspection_endpoint"], token=token).json()
    assert said["active"] is True and said["aud"] == audience and said["sub"] == client_id, said
    assert server.introspect_token(metadata["introspection_endpoint"], token=twin).json() == {"active": False}
    assert agent.revoke_token(metadata["revocation_endpoint"], token=token).status_code == 200
    assert server.introspect_token(metadata["introspection_endpoint"], token=token).json() == {"active": False}
    nobody = public.post(metadata["introspection_endpoint"], data={"token": token})
    assert nobody.status_code == 401 and nobody.json()["error"] == "invalid_client", nobody.text
    print("ok: authlib")


main()
