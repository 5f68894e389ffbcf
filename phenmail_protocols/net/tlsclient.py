"""TLS for client sockets, and the certificate of the server. It imports `ssl` late.

Knows nothing of mail and DNS; relay.tls_policy decides what a server must prove. TLS 1.2 at least
(RFC 8996, RFC 8314 4.1).
"""
import hashlib

from ..text.domains import AddressError, ascii_domain


class Unverified(OSError):
    """The server's certificate is not trusted or has another name; the text says which."""


def client_context(verify):
    """-> ssl.SSLContext of a client.

    `verify`: the certificate must lead to the system's CA store and have the server's name;
    otherwise any certificate will do. The store costs 1.3 MB and 25 ms, so keep the context.
    Raises OSError (SSLError is one).
    """
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if hasattr(ssl, "TLSVersion"):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
    if verify:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        # A short Diffie-Hellman group is better than no TLS (RFC 7435).
        context.set_ciphers("DEFAULT@SECLEVEL=1")
    except ssl.SSLError:
        pass  # LibreSSL has no levels
    return context


def client_side(sock, context, server_name):
    """`sock` -> TLS client socket without handshake, which takes it over.

    `server_name`: sent to the server (RFC 6066 3); if the context verifies, the certificate must
    have it. Raises Unverified, OSError.
    """
    if not context.check_hostname:
        name = _name_to_send(server_name)
        return context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    try:
        name = ascii_domain(server_name)  # `ssl` itself knows only IDNA 2003
        return context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    except ValueError as error:
        raise Unverified("no certificate can have the name %r: %s" % (server_name, error))


def _name_to_send(name):
    """`name` in A-labels, or None if it is an address or not a host name."""
    if not name or name.startswith((".", "[")) or ":" in name or name.replace(".", "").isdigit():
        return None
    try:
        return ascii_domain(name)
    except AddressError:
        return None


def handshake(secure):
    """Do the handshake of a `client_side` socket, within the socket's timeout.

    Raises Unverified, OSError (SSLError, timeout).
    """
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
    """Whether a certificate, verified except for its name, has the server's name.

    CPython 3.6, whose CertificateError is no OSError, compares U-labels, which certificates do not
    have.
    """
    import ssl
    try:
        ssl.match_hostname(secure.getpeercert(), secure.server_hostname)
    except ValueError:
        return False
    return True


def peer_certificate(secure):
    """The server's certificate in DER, or None if it sent none."""
    return secure.getpeercert(True) or None


def fingerprint(secure):
    """SHA-256 of the server's certificate as "AA:BB:…", "" if it sent none."""
    certificate = peer_certificate(secure)
    if certificate is None:
        return ""
    digest = hashlib.sha256(certificate).hexdigest().upper()
    return ":".join(digest[i:i + 2] for i in range(0, len(digest), 2))


def require_fingerprint(secure, wanted):
    """After the handshake: the certificate must have this SHA-256 (hex, colons optional).

    For private certificates; the context need not verify. Raises Unverified.
    """
    found = fingerprint(secure)
    if found.replace(":", "") != wanted.replace(":", "").strip().upper():
        raise Unverified("its SHA-256 fingerprint is %s, expected %s" % (
            found or "missing", wanted))
