"""TLS for the sockets of a client, and what can be known of the server at their other end. Beside net.tls the only file that names
`ssl`, and only inside its functions.

Knows nothing of mail, DNS, or of what a peer must prove: relay.policies does. TLS 1.2 at least (RFC 8996, RFC 8314 4.1).
"""

from ..text.domains import AddressError, ascii_domain

__all__ = ["Unverified", "chain_complaint", "client_context", "client_side", "handshake", "peer_certificate", "peer_chain", "sees_chains"]


class Unverified(OSError):
    """The server's certificate is not to be trusted, or has another name; the text says which."""


def client_context(verify):
    """An ssl.SSLContext for a client; `verify`: the server's certificate must lead to the system's CA store and have the name that is
    asked for; otherwise any does. The store costs 1.3 MB and 25 ms: keep the context. Raises OSError (SSLError is one)."""
    import ssl
    context = _context()
    if verify:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.set_ciphers("DEFAULT@SECLEVEL=1")  # a short Diffie-Hellman group is better than no TLS (RFC 7435)
    except ssl.SSLError:
        pass  # LibreSSL has no levels
    return context


def _context():
    """TLS 1.2 at least, certificate and name are verified, nobody is trusted yet."""
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if hasattr(ssl, "TLSVersion"):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
    return context


def client_side(sock, context, server_name):
    """`sock` as TLS client socket, without handshake; takes the socket over. `server_name`: the host name that the server is told
    (RFC 6066 3) and that its certificate must have where the context verifies. Raises Unverified, OSError."""
    if not context.check_hostname:
        return context.wrap_socket(sock, server_hostname=_name_to_tell(server_name), do_handshake_on_connect=False)
    try:
        # In A-labels: `ssl` itself knows IDNA 2003.
        name = ascii_domain(server_name)
        return context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    except ValueError as error:
        raise Unverified("no certificate can have the name %r: %s" % (server_name, error))


def _name_to_tell(name):
    """`name` in A-labels, or None where it is none that may be told: an address, or not the form of
    a host name."""
    if not name or name.startswith((".", "[")) or ":" in name or name.replace(".", "").isdigit():
        return None
    try:
        return ascii_domain(name)
    except AddressError:
        return None


def handshake(secure):
    """Shakes hands on what `client_side` gave, within the socket's timeout. Raises Unverified, OSError (SSLError, timeout)."""
    import ssl
    try:
        secure.do_handshake()
    except ssl.CertificateError as error:
        if isinstance(error, OSError) or not _has_its_name(secure):
            raise Unverified(getattr(error, "verify_message", "") or str(error))
    except ssl.SSLError as error:
        if error.reason == "CERTIFICATE_VERIFY_FAILED":
            raise Unverified(str(error))
        raise


def _has_its_name(secure):
    """Whether the certificate, verified but for its name, has that: CPython 3.6, the last one that raises no OSError then, looks for the
    name in U-labels, which certificates do not have."""
    import ssl
    try:
        ssl.match_hostname(secure.getpeercert(), secure.server_hostname)
    except ValueError:
        return False
    return True


def peer_certificate(secure):
    """The certificate of the server at the other end in DER, or None where it showed none."""
    return secure.getpeercert(True) or None


def sees_chains():
    """Whether this interpreter shows the certificates that a server sends beside its own (3.13 does; 3.10 to 3.12 have the same
    function inside), and can end a chain at any of them."""
    import ssl
    return hasattr(ssl, "VERIFY_X509_PARTIAL_CHAIN") and hasattr(ssl._ssl._SSLSocket, "get_unverified_chain")


def peer_chain(secure):
    """All certificates that the server at the other end sent, as a tuple of DER, its own first; None where `sees_chains` says no."""
    if not sees_chains():
        return None
    return _ders(secure._sslobj.get_unverified_chain())


def _ders(certificates):
    """A tuple of DER, of what a function inside `ssl` gave."""
    from ssl import _ssl
    return tuple(certificate.public_bytes(_ssl.ENCODING_DER) for certificate in certificates or ())


# -- a chain that is judged without the server ---------------------------------------------------------------------------------------------
#
# `ssl` verifies a chain only in a handshake, and which certificate a server's chain must end at (TLSA records with a digest) is known
# only after one. So the chain is shown to OpenSSL a second time, in memory: the first messages of a handshake of TLS 1.2, where
# certificates go in the clear and are verified before anything that needs the server's private key (RFC 5246 7.3).

_CIPHERS = (b"\xc0\x2f", "ECDHE-RSA-AES128-GCM-SHA256"), (b"\xc0\x2b", "ECDHE-ECDSA-AES128-GCM-SHA256")  # by the kind of the key
_RECORD = 1 << 14  # octets of a record (RFC 5246 6.2.1)


def chain_complaint(chain, anchor, name):
    """Why the certificates `chain` (DER, the server's own first) do not lead to the certificate `anchor` (DER), or the server's own has
    not the host name `name`; "" where all is well. Where `sees_chains` says no it always complains."""
    import ssl
    if not sees_chains():
        return "this interpreter cannot judge a chain"
    complaint = ""
    for number, cipher in _CIPHERS:
        try:
            return _show(chain, anchor, name, number, cipher)
        except ssl.CertificateError as error:
            return error.verify_message
        except (OSError, OverflowError, ValueError) as error:  # the cipher is for another kind of key; or nothing that OpenSSL can read
            complaint = str(error)
    return complaint


def _show(chain, anchor, name, number, cipher):
    """Shows the chain to OpenSSL as that of a server with this cipher: "" when it was verified and ends at `anchor`, else a complaint.
    Raises OSError (SSLError), ValueError."""
    import ssl
    context = _context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_ciphers(cipher)
    context.load_verify_locations(cadata=anchor)
    incoming = ssl.MemoryBIO()
    client = context.wrap_bio(incoming, ssl.MemoryBIO(), server_hostname=name)
    for flight in (b"", _server_flight(chain, number)):
        incoming.write(flight)
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
    verified = _ders(client._sslobj.get_verified_chain())
    return "" if verified[-1:] == (anchor,) else "the chain does not end at the trust anchor"


def _server_flight(chain, cipher_number):
    """ServerHello and Certificate in records of TLS 1.2 (RFC 5246 7.4.1.3, 7.4.2, RFC 5746 3.4)."""
    hello = b"\x03\x03" + bytes(32) + b"\0" + cipher_number + b"\0" + _sized(2, b"\xff\x01\x00\x01\x00")
    certificates = _sized(3, b"".join(_sized(3, certificate) for certificate in chain))
    messages = b"\x02" + _sized(3, hello) + b"\x0b" + _sized(3, certificates)
    return b"".join(b"\x16\x03\x03" + _sized(2, messages[at:at + _RECORD]) for at in range(0, len(messages), _RECORD))


def _sized(octets, data):
    """`data` behind its length in so many octets. Raises OverflowError where they are too few."""
    return len(data).to_bytes(octets, "big") + data
