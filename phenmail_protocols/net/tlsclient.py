"""TLS for the sockets of a client, and what can be known of the server at their other end. Beside net.tls the only file that names
`ssl`, and only inside its functions.

Knows nothing of mail, DNS, or of what a peer must prove: relay.tls_policy does. TLS 1.2 at least (RFC 8996, RFC 8314 4.1).
"""

from ..text.domains import AddressError, ascii_domain

__all__ = ["Unverified", "client_context", "client_side", "handshake", "peer_certificate"]


class Unverified(OSError):
    """The server's certificate is not to be trusted, or has another name; the text says which."""


def client_context(verify):
    """An ssl.SSLContext for a client; `verify`: the server's certificate must lead to the system's CA store and have the name that is
    asked for; otherwise any does. The store costs 1.3 MB and 25 ms: keep the context. Raises OSError (SSLError is one)."""
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
        context.set_ciphers("DEFAULT@SECLEVEL=1")  # a short Diffie-Hellman group is better than no TLS (RFC 7435)
    except ssl.SSLError:
        pass  # LibreSSL has no levels
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
