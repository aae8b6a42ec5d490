"""Verifies an agent's certificate as a client's, with pyca/cryptography, and its profile by hand.

usage: verify_x509.py AUTHORITY.pem LEAF.pem SPIFFE-ID
"""

import datetime
import sys

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID


def verify(authority, leaf, spiffe_id):
    store = verification.Store([authority])
    builder = verification.PolicyBuilder().store(store).time(datetime.datetime.now(datetime.timezone.utc))
    verified = builder.build_client_verifier().verify(leaf, [])
    assert len(verified.chain) == 2, verified.chain
    names = [name.value for name in verified.subjects]
    assert names == [spiffe_id], names

    assert len(list(leaf.subject)) == 0, "the subject is not empty"
    extension = leaf.extensions.get_extension_for_oid
    san = extension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    assert san.critical and [name.value for name in san.value] == [spiffe_id]
    constraints = extension(ExtensionOID.BASIC_CONSTRAINTS)
    assert not constraints.value.ca
    usage = extension(ExtensionOID.KEY_USAGE)
    assert usage.critical and usage.value.digital_signature
    assert not (usage.value.key_cert_sign or usage.value.crl_sign or usage.value.key_agreement)
    extended = set(extension(ExtensionOID.EXTENDED_KEY_USAGE).value)
    assert extended == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}, extended
    identifier = extension(ExtensionOID.SUBJECT_KEY_IDENTIFIER).value.digest
    issuer = extension(ExtensionOID.AUTHORITY_KEY_IDENTIFIER).value.key_identifier
    assert identifier != issuer
    assert leaf.serial_number.bit_length() > 120, "the serial is short"
    assert leaf.not_valid_after_utc <= authority.not_valid_after_utc


def altered(leaf):
    der = bytearray(leaf.public_bytes(Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_certificate(bytes(der))


def main():
    with open(sys.argv[1], "rb") as file:
        authority = x509.load_pem_x509_certificate(file.read())
    with open(sys.argv[2], "rb") as file:
        leaf = x509.load_pem_x509_certificate(file.read())
    verify(authority, leaf, sys.argv[3])
    try:
        verify(authority, altered(leaf), sys.argv[3])
    except verification.VerificationError:
        print("ok: verified, and its altered twin refused")
        return
    sys.exit("an altered certificate was verified")


main()
