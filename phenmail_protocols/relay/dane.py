"""DANE for SMTP: which TLSA records can be used, and whether a certificate matches them. Pure.

A record is the tuple (usage, selector, matching type, data) of `mx_routes`; its caller has checked
that DNSSEC validated it. Only DANE-EE is supported: DANE-TA needs the certificate chain checked
against an anchor that is known after the handshake, which Python's `ssl` cannot do.
RFC 6698 2.1 (fields), RFC 7671 5.1 (DANE-EE) and 9 (digests), RFC 7672 3.1 (what SMTP uses).
"""
import hashlib

from ..net import certificate as x509

_DANE_EE = 3
_CERT, _SPKI = 0, 1
_FULL, _SHA2_256, _SHA2_512 = 0, 1, 2
_DIGESTS = {_SHA2_256: hashlib.sha256, _SHA2_512: hashlib.sha512}


def usable(records):
    """The `records` (tuple) that a server can be checked against.

    PKIX-TA, PKIX-EE (RFC 7672 3.1.3) and DANE-TA are unusable, as are records with unknown fields
    or malformed data. Of two digests of one thing only the stronger is used (RFC 7671 9).
    """
    good = [record for record in records if record[0] == _DANE_EE and _is_well_formed(record)]
    strong = {record[1] for record in good if record[2] == _SHA2_512}
    return tuple(record for record in good if record[2] != _SHA2_256 or record[1] not in strong)


def _is_well_formed(record):
    _, selector, matching, data = record
    if selector not in (_CERT, _SPKI):
        return False
    if matching in _DIGESTS:
        return len(data) == _DIGESTS[matching]().digest_size
    return matching == _FULL and (
        x509.is_public_key_info(data) if selector == _SPKI else _key(data) is not None)


def matches(record, certificate):
    """Whether a usable record matches this certificate (DER)."""
    _, selector, matching, data = record
    selected = certificate if selector == _CERT else _key(certificate)
    if selected is None:
        return False
    return data == (selected if matching == _FULL else _DIGESTS[matching](selected).digest())


def _key(certificate):
    """SubjectPublicKeyInfo of a certificate, or None for what is not a certificate."""
    try:
        return x509.public_key_info(certificate)
    except ValueError:
        return None


def complaint(records, certificate):
    """Why a certificate (DER or None) matches none of the usable `records`, or "" if it does.

    Its name and its expiry do not matter (RFC 7671 5.1).
    """
    if certificate is None:
        return "the server showed no certificate"
    if any(matches(record, certificate) for record in records):
        return ""
    return "no TLSA record matches the server's certificate"
