"""A stock OAuth client over mTLS, and a stock JWT library.

requests-oauthlib discovers the endpoints (RFC 8414), gets a token; PyJWT verifies it with the published
key, and refuses altered twins; the token reads a secret with its own certificate and is refused with
another agent's.

usage: oauth_client.py ISSUER CA.pem CERT.pem KEY.pem OTHER-CERT.pem OTHER-KEY.pem SPIFFE-ID SCOPE SECRET
"""

import base64
import hashlib
import ssl
import sys

import jwt
import requests
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

issuer, ca, cert, key, other_cert, other_key, spiffe_id, scope, secret = sys.argv[1:]


def token():
    metadata = requests.get(f"{issuer}/.well-known/oauth-authorization-server", verify=ca).json()
    assert metadata["issuer"] == issuer
    assert "tls_client_auth" in metadata["token_endpoint_auth_methods_supported"]
    session = OAuth2Session(client=BackendApplicationClient(client_id=spiffe_id, scope=[scope]))
    session.cert, session.verify = (cert, key), ca
    answer = session.fetch_token(
        metadata["token_endpoint"], include_client_id=True, auth=None, cert=(cert, key), verify=ca
    )
    assert answer["token_type"] == "Bearer" and answer["scope"] == [scope], answer
    return metadata, answer["access_token"]


def verify(metadata, access_token):
    keys = jwt.PyJWKSet.from_dict(requests.get(metadata["jwks_uri"], verify=ca).json())
    header = jwt.get_unverified_header(access_token)
    assert header["typ"] == "at+jwt" and header["alg"] == "ES256", header
    signing = next(one for one in keys.keys if one.key_id == header["kid"])
    required = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id"]
    options = {"require": required}
    return jwt.decode(
        access_token, signing, algorithms=["ES256"], audience=issuer, issuer=issuer, options=options
    )


def main():
    metadata, access_token = token()
    claims = verify(metadata, access_token)
    assert claims["sub"] == claims["client_id"] == spiffe_id
    with open(cert) as file:
        der = ssl.PEM_cert_to_DER_cert(file.read())
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
    assert claims["cnf"] == {"x5t#S256": thumbprint}

    head, body, signature = access_token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    raw[10] ^= 1
    twin = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    for bad in (f"{head}.{twin}.{signature}", f"{head}.{body}.{signature[::-1]}"):
        try:
            verify(metadata, bad)
            sys.exit("an altered token was verified")
        except jwt.InvalidTokenError:
            pass

    bearer = {"Authorization": f"Bearer {access_token}"}
    url = f"{issuer}/v1/secrets/{secret}"
    mine = requests.get(url, headers=bearer, cert=(cert, key), verify=ca)
    assert mine.status_code == 200 and mine.headers["cache-control"] == "no-store", mine.text
    stolen = requests.get(url, headers=bearer, cert=(other_cert, other_key), verify=ca)
    assert stolen.status_code == 401 and stolen.json()["code"] == "token_binding_mismatch", stolen.text
    bare = requests.get(url, headers=bearer, verify=ca)
    assert bare.status_code == 401 and bare.json()["code"] == "certificate_required", bare.text
    print("ok: minted, verified, used; altered twins and another holder refused")


main()
