"""Makes a self-signed certificate, EC P-256, with the `openssl` program or the `cryptography` package. Knows nothing of sockets.

The key is made once and kept: a renewal replaces the certificate file only, in one rename, so the two files always fit together.
Sources: RFC 5280 4.2 (extensions), RFC 6125 6.4 (names belong into subjectAltName).
"""

import os
import socket
import time

from ..text.domains import AddressError, ascii_domain
from .errors import CertificateError

ORGANIZATION = "phenmail (self-signed)"  # tells ours from those of others, which are never replaced
DAYS = 820                               # clients refuse what is valid for more than 825
SECONDS_FOR_OPENSSL = 60


class NoCertificateTool(CertificateError):
    """Neither the openssl program nor the cryptography package can make a certificate here."""


def make(certificate_path, key_path, names):
    """Writes a new certificate for `names` (host names and addresses as text) to `certificate_path`, and a key to `key_path` unless one is
    there already. Files appear whole or not at all; the key with mode 0600. Raises NoCertificateTool, OSError."""
    hosts, addresses = alternative_names(names)
    for tool in (_Openssl, _Cryptography):
        try:
            maker = tool()
        except (ImportError, OSError):
            continue
        if not os.path.exists(key_path):
            _write(key_path, maker.key(), 0o600)
        _write(certificate_path, maker.certificate(key_path, hosts, addresses), 0o644)
        return
    raise NoCertificateTool("no certificate can be made: there is neither an openssl program nor the Python package cryptography")


def alternative_names(names):
    """(host names, addresses) for subjectAltName: `names` in ASCII form, localhost, 127.0.0.1 and ::1, each once.

    What is neither a host name nor an address is left out: machines have odd names, and names end up in a configuration file.
    """
    hosts, addresses = [], []
    for name in list(names) + ["localhost", "127.0.0.1", "::1"]:
        if _is_address(name):
            addresses.append(name)
        else:
            hosts.append(_ascii_host(name))
    return [host for host in dict.fromkeys(hosts) if host], list(dict.fromkeys(addresses))


def _is_address(name):
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name)
            return True
        except OSError:
            pass
    return False


def _ascii_host(name):
    try:
        host = ascii_domain(name)
    except AddressError:
        return None
    return host if host and all(character.isalnum() or character in "-._" for character in host) else None


def common_name(hosts):
    """The first name that fits into a common name (64 characters, RFC 5280 appendix A), else localhost."""
    return next((host for host in hosts if len(host) <= 64), "localhost")


class _Openssl(object):
    """The openssl program (OpenSSL 1.0.2 and later, LibreSSL): everything by a configuration file, as old ones have no -addext."""

    def __init__(self):
        self._run("version")

    def key(self):
        return self._run("ecparam", "-name", "prime256v1", "-genkey", "-noout")

    def certificate(self, key_path, hosts, addresses):
        import tempfile
        with tempfile.NamedTemporaryFile("w", suffix=".cnf") as file:
            file.write(_configuration(hosts, addresses))
            file.flush()
            return self._run("req", "-x509", "-new", "-sha256", "-key", key_path, "-passin", "pass:", "-days", str(DAYS), "-config", file.name)

    @staticmethod
    def _run(*arguments):
        import subprocess
        process = subprocess.Popen(("openssl",) + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            output, complaint = process.communicate(timeout=SECONDS_FOR_OPENSSL)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise OSError("openssl %s did not end" % arguments[0])
        if process.returncode:
            raise OSError("openssl %s: %s" % (arguments[0], complaint.decode("utf-8", "replace").strip()))
        return output


def _configuration(hosts, addresses):
    names = ["DNS.%d = %s" % pair for pair in enumerate(hosts, 1)] + ["IP.%d = %s" % pair for pair in enumerate(addresses, 1)]
    return "\n".join([
        "[req]", "prompt = no", "distinguished_name = subject", "x509_extensions = extensions", "string_mask = utf8only",
        "[subject]", "O = " + ORGANIZATION, "CN = " + common_name(hosts),
        "[extensions]", "basicConstraints = critical, CA:FALSE", "subjectKeyIdentifier = hash", "keyUsage = critical, digitalSignature",
        "extendedKeyUsage = serverAuth", "subjectAltName = @names",
        "[names]"] + names) + "\n"


class _Cryptography(object):
    """The cryptography package, where it is installed: tried second, as importing it costs memory for as long as we run."""

    def __init__(self):
        from cryptography import x509
        from cryptography.hazmat import backends
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        self._x509, self._hashes, self._serialization, self._ec = x509, hashes, serialization, ec
        self._backend = backends.default_backend()

    def key(self):
        form = self._serialization
        return self._ec.generate_private_key(self._ec.SECP256R1(), self._backend).private_bytes(
            form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())

    def certificate(self, key_path, hosts, addresses):
        import datetime
        import ipaddress
        x509, oid = self._x509, self._x509.oid
        with open(key_path, "rb") as file:
            key = self._serialization.load_pem_private_key(file.read(), None, self._backend)
        subject = x509.Name([x509.NameAttribute(oid.NameOID.ORGANIZATION_NAME, ORGANIZATION),
                             x509.NameAttribute(oid.NameOID.COMMON_NAME, common_name(hosts))])
        now = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(time.time()))
        names = [x509.DNSName(host) for host in hosts] + [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
                               "encipher_only", "decipher_only"), False)
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now,
                                          now + datetime.timedelta(days=DAYS))
        for extension, critical in (
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
                (x509.KeyUsage(digital_signature=True, **usage), True),
                (x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.SERVER_AUTH]), False),
                (x509.SubjectAlternativeName(names), False)):
            builder = builder.add_extension(extension, critical)
        return builder.sign(key, self._hashes.SHA256(), self._backend).public_bytes(self._serialization.Encoding.PEM)


def _write(path, data, mode):
    """Writes a file that is there whole or not at all: temporary file, fsync, rename, fsync of the directory."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, ".%s.%d.0.tmp" % (name, os.getpid()))
    try:
        os.unlink(temporary)  # of a run that died; made anew below, so that it has our mode and is no link
    except OSError:
        pass
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == "posix":
        directory = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
