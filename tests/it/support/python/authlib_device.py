"""Authlib over mTLS: the device authorization grant (RFC 8628). It prints the code of the person, polls, and prints the scope.

usage: authlib_device.py ISSUER CA.pem CERT.pem KEY.pem CLIENT-ID SCOPE
"""

import sys
import time

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

issuer, ca, cert, key, client_id, scope = sys.argv[1:]
GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def main():
    public = requests.Session()
    public.verify, public.trust_env = ca, False
    metadata = AuthorizationServerMetadata(public.get(f"{issuer}/.well-known/oauth-authorization-server").json())
    metadata.validate()
    assert GRANT in metadata["grant_types_supported"], metadata

    public.cert = (cert, key)
    asked = public.post(metadata["device_authorization_endpoint"], data={"client_id": client_id, "scope": scope})
    assert asked.status_code == 200, asked.text
    device = asked.json()
    print("code:", device["user_code"], flush=True)

    agent = OAuth2Session(client_id, token_endpoint_auth_method="none")
    agent.cert, agent.verify, agent.trust_env = public.cert, ca, False
    interval, seen = device["interval"], set()
    while True:
        try:
            token = agent.fetch_token(metadata["token_endpoint"], grant_type=GRANT, device_code=device["device_code"])
            break
        except OAuthError as error:
            seen.add(error.error)
            assert error.error in ("authorization_pending", "slow_down"), error
            interval += 5 if error.error == "slow_down" else 0
            time.sleep(interval)
    assert "authorization_pending" in seen, seen
    assert token["scope"] == scope and token["token_type"] == "Bearer", token
    time.sleep(interval)
    try:
        agent.fetch_token(metadata["token_endpoint"], grant_type=GRANT, device_code=device["device_code"])
    except OAuthError as error:
        assert error.error == "invalid_grant", error
    else:
        raise AssertionError("the device code was used twice")
    print("ok: authlib device")


main()
