"""requests-oauthlib and PyJWT over mTLS: get a token, verify it, have it introspected, give it up. Each also
refuses an altered twin.

usage: requests_oauthlib_client.py ISSUER CA.pem CERT.pem KEY.pem SERVER-CERT.pem SERVER-KEY.pem CLIENT-ID SCOPE AUDIENCE
"""

import base64
import sys

import jwt
import requests
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

issuer, ca, cert, key, server_cert, server_key, client_id, scope, audience = sys.argv[1:]


def session(certificate, private_key):
    made = OAuth2Session(client=BackendApplicationClient(client_id=client_id, scope=[scope]))
    made.cert, made.verify, made.trust_env = (certificate, private_key), ca, False
    return made


def main():
    public = requests.Session()
    public.verify, public.trust_env = ca, False
    metadata = public.get(f"{issuer}/.well-known/oauth-authorization-server").json()
    agent = session(cert, key)
    answer = agent.fetch_token(
        metadata["token_endpoint"], include_client_id=True, auth=None, cert=(cert, key), verify=ca
    )
    token = answer["access_token"]

    keys = jwt.PyJWKSet.from_dict(public.get(metadata["jwks_uri"]).json())

    def verify(text):
        signing = keys[jwt.get_unverified_header(text)["kid"]]
        return jwt.decode(text, signing, algorithms=["ES256"], audience=audience, issuer=issuer)

    assert verify(token)["sub"] == client_id
    head, body, signature = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    raw[10] ^= 1
    twin = ".".join([head, base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), signature])
    try:
        verify(twin)
    except jwt.InvalidSignatureError:
        pass
    else:
        raise AssertionError("an altered token was taken")

    server = session(server_cert, server_key)

    def introspect(text):
        asked = server.post(metadata["introspection_endpoint"], data={"token": text}, withhold_token=True)
        asked.raise_for_status()
        return asked.json()

    said = introspect(token)
    assert (said["active"], said["aud"], said["sub"]) == (True, audience, client_id), said
    assert said["cnf"] == verify(token)["cnf"], said
    assert introspect(twin) == {"active": False}
    url, headers, form = agent._client.prepare_token_revocation_request(metadata["revocation_endpoint"], token)
    given_up = agent.post(url, headers=headers, data=form, withhold_token=True)
    assert given_up.status_code == 200, given_up.text
    assert introspect(token) == {"active": False}
    print("ok: requests-oauthlib")


main()
