"""The public key in a certificate (RFC 5280 4.1), read from its DER.

TLSA records with selector 1 need SubjectPublicKeyInfo (RFC 6698 2.1.2), which the standard library
does not show. Certificates come from strangers: every length is checked against the element around
it (X.690 8.1 and 10.1), nothing recurses, and at most a dozen elements are looked at.
"""
INTEGER, BIT_STRING, SEQUENCE, VERSION = 0x02, 0x03, 0x30, 0xA0  # VERSION: [0] EXPLICIT
# serialNumber, signature, issuer, validity, subject
BEFORE_THE_KEY = (INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE)


def public_key_info(certificate):
    """A certificate in DER -> its SubjectPublicKeyInfo in DER, both bytes. Raises ValueError."""
    at, end = _element(certificate, 0, len(certificate), SEQUENCE)
    _require_end(end, len(certificate))
    signed, behind = _element(certificate, at, end, SEQUENCE)
    key = _key(certificate, signed, behind)
    _, at = _element(certificate, behind, end, SEQUENCE)  # signatureAlgorithm
    _, at = _element(certificate, at, end, BIT_STRING)  # signatureValue
    _require_end(at, end)
    return key


def is_public_key_info(data):
    """Whether `data` (bytes) has the form of a SubjectPublicKeyInfo in DER."""
    try:
        at, end = _element(data, 0, len(data), SEQUENCE)
        _require_end(end, len(data))
        _check_key(data, at, end)
    except ValueError:
        return False
    return True


def _key(data, at, end):
    """The key in the TBSCertificate whose content is data[at:end]."""
    if data[at:at + 1] == bytes([VERSION]):
        _, at = _element(data, at, end, VERSION)
    for tag in BEFORE_THE_KEY:
        _, at = _element(data, at, end, tag)
    content, behind = _element(data, at, end, SEQUENCE)
    _check_key(data, content, behind)
    return bytes(data[at:behind])


def _check_key(data, at, end):
    _, at = _element(data, at, end, SEQUENCE)
    _, at = _element(data, at, end, BIT_STRING)
    _require_end(at, end)


def _require_end(at, end):
    if at != end:
        raise ValueError("certificate: unexpected data in octets %d to %d" % (at, end))


def _element(data, at, end, tag):
    """-> (start, end) of the content of the element at data[at].

    It must have this tag and end within data[:end].
    """
    if end - at < 2 or data[at] != tag:
        raise ValueError("certificate: expected the tag %#04x at octet %d" % (tag, at))
    length, start = data[at + 1], at + 2
    if length > 0x7F:
        octets = length & 0x7F
        length = int.from_bytes(data[start:start + octets], "big")
        start += octets
        if not 1 <= octets <= 4 or length < 0x80 or length >> 8 * (octets - 1) == 0:
            raise ValueError("certificate: expected a length in DER at octet %d" % (at + 1))
    if length > end - start:
        raise ValueError("certificate: the element at octet %d is longer than its parent" % at)
    return start, start + length
