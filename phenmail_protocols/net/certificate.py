"""The public key out of a certificate: walks its DER far enough, and no further. Knows no key, signature or socket.

The standard library shows no SubjectPublicKeyInfo, and TLSA records with selector 1 name it (RFC 6698 2.1.2). Certificates come from
strangers: every length is checked against what holds it, nothing recurses, at most a dozen elements are looked at.
Sources: RFC 5280 4.1 (Certificate), X.690 8.1 and 10.1 (definite lengths in the fewest octets).
"""

INTEGER, BIT_STRING, SEQUENCE, VERSION = 0x02, 0x03, 0x30, 0xA0  # VERSION: [0] EXPLICIT
BEFORE_THE_KEY = (INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE)  # serialNumber, signature, issuer, validity, subject


def public_key_info(certificate):
    """The DER octets of SubjectPublicKeyInfo out of a certificate in DER (bytes both). Raises ValueError for what is no certificate."""
    at, end = _element(certificate, 0, len(certificate), SEQUENCE)
    _whole(end, len(certificate))
    signed, behind = _element(certificate, at, end, SEQUENCE)
    key = _key(certificate, signed, behind)
    _, at = _element(certificate, behind, end, SEQUENCE)  # signatureAlgorithm
    _, at = _element(certificate, at, end, BIT_STRING)  # signatureValue
    _whole(at, end)
    return key


def is_public_key_info(data):
    """Whether `data` (bytes) has the form of a SubjectPublicKeyInfo in DER."""
    try:
        at, end = _element(data, 0, len(data), SEQUENCE)
        _whole(end, len(data))
        _algorithm_and_key(data, at, end)
    except ValueError:
        return False
    return True


def _key(data, at, end):
    """The key's octets in TBSCertificate, whose content is data[at:end]."""
    if data[at:at + 1] == bytes([VERSION]):
        _, at = _element(data, at, end, VERSION)
    for tag in BEFORE_THE_KEY:
        _, at = _element(data, at, end, tag)
    content, behind = _element(data, at, end, SEQUENCE)
    _algorithm_and_key(data, content, behind)
    return bytes(data[at:behind])


def _algorithm_and_key(data, at, end):
    _, at = _element(data, at, end, SEQUENCE)
    _, at = _element(data, at, end, BIT_STRING)
    _whole(at, end)


def _whole(at, end):
    if at != end:
        raise ValueError("octets %d to %d of a certificate belong to nothing" % (at, end))


def _element(data, at, end, tag):
    """(start, end) of the content of the element at data[at], which has this tag and ends within data[:end]."""
    if end - at < 2 or data[at] != tag:
        raise ValueError("octet %d of a certificate: the tag %#04x was expected" % (at, tag))
    length, start = data[at + 1], at + 2
    if length > 0x7F:
        octets = length & 0x7F
        length = int.from_bytes(data[start:start + octets], "big")
        start += octets
        if not 1 <= octets <= 4 or length < 0x80 or length >> 8 * (octets - 1) == 0:
            raise ValueError("octet %d of a certificate: not a length in DER" % (at + 1))
    if length > end - start:
        raise ValueError("octet %d of a certificate: longer than what holds it" % at)
    return start, start + length
