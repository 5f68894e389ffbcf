"""DANE for SMTP: which TLSA records of a mail server can be used, and whether its certificates match them. Pure: no DNS, no socket.

A record is the tuple (usage, selector, matching type, data) of relay.routes; whether DNSSEC vouches for it was settled before.
Sources: RFC 6698 2.1 (the fields), RFC 7671 (their use; 5.1 DANE-EE, 5.2 DANE-TA, 9 agility), RFC 7672 3.1 (what SMTP uses).
"""

import hashlib

from ..net import certificate as x509

DANE_TA, DANE_EE = 2, 3
CERT, SPKI = 0, 1
FULL, SHA2_256, SHA2_512 = 0, 1, 2

_DIGESTS = {SHA2_256: hashlib.sha256, SHA2_512: hashlib.sha512}
_ANCHORS = 8  # that are tried for one connection


def usable(records, chains_seen):
    """Those of `records` (tuple) that a server can be held to. `chains_seen`: whether this interpreter shows the certificates beside
    the server's own, without which DANE-TA is unusable. PKIX-TA and PKIX-EE are unusable (RFC 7672 3.1.3), and so is what has an unknown
    field or data of a wrong form; of two digests of one thing only the stronger is used (RFC 7671 9)."""
    good = [record for record in records if (record[0] == DANE_EE or record[0] == DANE_TA and chains_seen) and _well_formed(record)]
    strong = {record[:2] for record in good if record[2] == SHA2_512}
    return tuple(record for record in good if record[2] != SHA2_256 or record[:2] not in strong)


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


def complaint(records, certificate, chain, names, chain_complaint):
    """Why a server is not the one that usable `records` name; "" when it is.

    `certificate`: its own (DER) or None; `chain`: all it sent, or None where that cannot be seen; `names`: host names of which a
    certificate below a trust anchor must have one; `chain_complaint(chain, anchor, name)` as in net.tlsclient. For DANE-EE neither name
    nor expiry are looked at (RFC 7671 5.1).
    """
    if certificate is None:
        return "the server showed no certificate"
    if any(matches(record, certificate) for record in records if record[0] == DANE_EE):
        return ""
    found = [chain_complaint(chain, anchor, name) for anchor in _anchors(records, chain or ())[:_ANCHORS] for name in names]
    if "" in found:
        return ""
    return found[0] if found else "no TLSA record matches the server's certificate"


def _anchors(records, chain):
    """The certificates that DANE-TA records name: among those behind the server's own, or given whole by the record (RFC 7671 5.2.2).
    The server's own is none, be it signed by itself: that is what DANE-EE is for."""
    records = [record for record in records if record[0] == DANE_TA]
    anchors = [certificate for certificate in chain[1:] if any(matches(record, certificate) for record in records)]
    if chain:
        anchors += [data for _, selector, matching, data in records if (selector, matching) == (CERT, FULL)]
    return [anchor for anchor in dict.fromkeys(anchors) if anchor != chain[0]]
