"""DANE for SMTP: which TLSA records of a mail server can be used, and whether its certificates match them. Pure: no DNS, no socket.

A record is the tuple (usage, selector, matching type, data) of relay.routes; whether DNSSEC vouches for it was settled before.
DANE-EE only: DANE-TA needs the server's certificate chain judged against an anchor that is known after the handshake, which `ssl`
cannot do.
Sources: RFC 6698 2.1 (the fields), RFC 7671 (their use; 5.1 DANE-EE, 9 agility), RFC 7672 3.1 (what SMTP uses).
"""

import hashlib

from ..net import certificate as x509

DANE_EE = 3
CERT, SPKI = 0, 1
FULL, SHA2_256, SHA2_512 = 0, 1, 2

_DIGESTS = {SHA2_256: hashlib.sha256, SHA2_512: hashlib.sha512}


def usable(records):
    """Those of `records` (tuple) that a server can be held to. PKIX-TA, PKIX-EE (RFC 7672 3.1.3) and DANE-TA are unusable, and so is
    what has an unknown field or data of a wrong form; of two digests of one thing only the stronger is used (RFC 7671 9)."""
    good = [record for record in records if record[0] == DANE_EE and _well_formed(record)]
    strong = {record[1] for record in good if record[2] == SHA2_512}
    return tuple(record for record in good if record[2] != SHA2_256 or record[1] not in strong)


def _well_formed(record):
    _, selector, matching, data = record
    if selector not in (CERT, SPKI):
        return False
    if matching in _DIGESTS:
        return len(data) == _DIGESTS[matching]().digest_size
    return matching == FULL and (x509.is_public_key_info(data) if selector == SPKI else _key(data) is not None)


def matches(record, certificate):
    """Whether a usable record names this certificate (DER)."""
    _, selector, matching, data = record
    named = certificate if selector == CERT else _key(certificate)
    if named is None:
        return False
    return data == (named if matching == FULL else _DIGESTS[matching](named).digest())


def _key(certificate):
    """SubjectPublicKeyInfo of a certificate, or None for what is no certificate."""
    try:
        return x509.public_key_info(certificate)
    except ValueError:
        return None


def complaint(records, certificate):
    """Why a server with this certificate (DER or None) is not the one that usable `records` name; "" when it is. Neither its name nor
    its expiry are looked at (RFC 7671 5.1)."""
    if certificate is None:
        return "the server showed no certificate"
    if any(matches(record, certificate) for record in records):
        return ""
    return "no TLSA record matches the server's certificate"
