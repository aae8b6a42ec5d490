"""The Python SPIFFE library's rules for leaf certificates: takes ours, refuses altered twins.

usage: verify_spiffe.py CERT.pem KEY.pem SPIFFE-ID TWIN.pem…
"""

import sys

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from spiffe import X509Svid

cert, key, spiffe_id, *twins = sys.argv[1:]

with open(key, "rb") as file:
    private = load_pem_private_key(file.read(), None)
private = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def parse(path):
    with open(path, "rb") as file:
        return X509Svid.parse_raw(load_pem_x509_certificate(file.read()).public_bytes(Encoding.DER), private)


assert str(parse(cert).spiffe_id) == spiffe_id
for twin in twins:
    try:
        parse(twin)
    except Exception as error:
        print(f"refused: {error}")
    else:
        raise AssertionError(f"{twin} was taken")
print("ok: spiffe")
