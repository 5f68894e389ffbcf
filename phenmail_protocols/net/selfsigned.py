"""Makes a self-signed certificate (EC P-256) with the program openssl or the package cryptography.

The key is made once and kept. A renewal replaces only the certificate file, in one rename, so the
two files always fit together. RFC 5280 4.2 (extensions), RFC 6125 6.4 (names in subjectAltName).
"""
import os
import socket
import time

from ..disk.atomic import write_file
from ..text.domains import AddressError, ascii_domain
from .errors import CertificateError

ORGANIZATION = "phenmail (self-signed)"  # marks our certificates: no others are ever replaced
DAYS = 820  # clients refuse certificates that are valid for more than 825
SECONDS_FOR_OPENSSL = 60


class NoCertificateTool(CertificateError):
    """Neither the program openssl nor the package cryptography is installed."""


def make(certificate_path, key_path, names):
    """Write a new certificate for `names` (host names and addresses), and a key unless it exists.

    The key has mode 0600. Raises NoCertificateTool, OSError.
    """
    hosts, addresses = alternative_names(names)
    for tool in (_Openssl, _Cryptography):
        try:
            maker = tool()
        except (ImportError, OSError):
            continue
        if not os.path.exists(key_path):
            write_file(key_path, maker.key(), 0o600)
        write_file(certificate_path, maker.certificate(key_path, hosts, addresses), 0o644)
        return
    raise NoCertificateTool("no certificate can be made: install the program openssl or the "
                            "Python package cryptography")


def alternative_names(names):
    """-> (host names, addresses) for subjectAltName, with localhost, 127.0.0.1 and ::1.

    Host names are in A-labels. What is neither is left out: machines have odd names, and names
    end up in a configuration file.
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
    return host if all(each.isalnum() or each in "-._" for each in host) else None


def common_name(hosts):
    """The first name that fits into a common name (64 characters: RFC 5280 A), or localhost."""
    return next((host for host in hosts if len(host) <= 64), "localhost")


class _Openssl:
    """OpenSSL 1.0.2 and later, LibreSSL. Old ones have no -addext, so a file configures all."""

    def __init__(self):
        self._run("version")

    def key(self):
        return self._run("ecparam", "-name", "prime256v1", "-genkey", "-noout")

    def certificate(self, key_path, hosts, addresses):
        import tempfile
        with tempfile.NamedTemporaryFile("w", suffix=".cnf") as file:
            file.write(_configuration(hosts, addresses))
            file.flush()
            return self._run("req", "-x509", "-new", "-sha256", "-key", key_path,
                             "-passin", "pass:", "-days", str(DAYS), "-config", file.name)

    @staticmethod
    def _run(*arguments):
        import subprocess
        try:
            process = subprocess.run(
                ("openssl",) + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, timeout=SECONDS_FOR_OPENSSL)
        except subprocess.TimeoutExpired:
            raise OSError("openssl %s did not end within %d seconds" % (
                arguments[0], SECONDS_FOR_OPENSSL))
        if process.returncode:
            complaint = process.stderr.decode("utf-8", "replace").strip()
            raise OSError("openssl %s: %s" % (arguments[0], complaint))
        return process.stdout


def _configuration(hosts, addresses):
    names = ["DNS.%d = %s" % pair for pair in enumerate(hosts, 1)]
    names += ["IP.%d = %s" % pair for pair in enumerate(addresses, 1)]
    return "\n".join([
        "[req]", "prompt = no", "distinguished_name = subject", "x509_extensions = extensions",
        "string_mask = utf8only",
        "[subject]", "O = " + ORGANIZATION, "CN = " + common_name(hosts),
        "[extensions]", "basicConstraints = critical, CA:FALSE", "subjectKeyIdentifier = hash",
        "keyUsage = critical, digitalSignature", "extendedKeyUsage = serverAuth",
        "subjectAltName = @names",
        "[names]"] + names) + "\n"


class _Cryptography:
    """The package cryptography. Tried second: importing it costs memory until the server stops."""

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
        subject = x509.Name([
            x509.NameAttribute(oid.NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(oid.NameOID.COMMON_NAME, common_name(hosts))])
        now = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(time.time()))
        names = [x509.DNSName(host) for host in hosts]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        no_usage = dict.fromkeys((
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
        builder = x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now,
            now + datetime.timedelta(days=DAYS))
        for extension, critical in (
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
                (x509.KeyUsage(digital_signature=True, **no_usage), True),
                (x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.SERVER_AUTH]), False),
                (x509.SubjectAlternativeName(names), False)):
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(key, self._hashes.SHA256(), self._backend)
        return certificate.public_bytes(self._serialization.Encoding.PEM)
