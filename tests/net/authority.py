"""A certificate authority for tests, made with the openssl program: a root, one below it, and
servers' certificates by either."""

import os
import shutil
import ssl
import subprocess

import pytest

CA = ("basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, "
      "cRLSign\nsubjectKeyIdentifier = hash")


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """An Authority for all tests of a run; import it where it is used."""
    openssl = shutil.which("openssl")
    if openssl is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the program openssl is missing")
    return Authority(str(tmp_path_factory.mktemp("authority")), openssl)


class Pair(object):
    """A certificate and its key as PEM files, `der`, and the file `chain` with the certificates of
    its issuers behind it."""

    def __init__(self, folder, name, issuers):
        self.certificate, self.key, self.chain = (os.path.join(folder, name + end)
                                                  for end in (".pem", ".key", ".chain"))
        self.issuers = issuers

    def finish(self):
        with open(self.certificate) as file:
            pem = file.read()
        self.der = ssl.PEM_cert_to_DER_cert(pem)
        self.chain_ders = (self.der,) + tuple(issuer.der for issuer in self.issuers)
        with open(self.chain, "w") as file:
            file.write("".join(map(ssl.DER_cert_to_PEM_cert, self.chain_ders)))
        return self

    def server_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


class Authority(object):
    """`root` signs `middle`, which signs what is issued."""

    def __init__(self, folder, openssl):
        self._folder, self._openssl, self._issued = folder, openssl, {}
        self.root = self._make("root", "ec", None, CA)
        self.middle = self._make("middle", "ec", self.root, CA)

    def issue(self, name, hosts=("mx.example.org",), key="ec", issuer=None, days=30):
        """A server's certificate for `hosts`, signed by `issuer` (middle), made once for a name.
        `days` may be negative: it expired."""
        if name in self._issued:
            return self._issued[name]
        names = ", ".join("DNS:" + host for host in hosts)
        self._issued[name] = self._make(name, key, issuer or self.middle,
                                        "subjectAltName = %s\nbasicConstraints = CA:FALSE" % names,
                                        days)
        return self._issued[name]

    def old(self, name):
        """One of X.509 version 1, without extensions."""
        return self._make(name, "ec", self.middle, None)

    def _make(self, name, key, issuer, extensions, days=30):
        pair = Pair(self._folder, name, () if issuer is None else (issuer,) + issuer.issuers)
        options = {"ec": ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
                   "rsa": ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
                   "rsa1024": ("RSA", "-pkeyopt", "rsa_keygen_bits:1024"),
                   "ed25519": ("ED25519",)}[key]
        self._run("genpkey", "-algorithm", *options + ("-out", pair.key))
        settings, request = os.path.join(self._folder,
                                         "settings"), os.path.join(self._folder, "request")
        with open(settings, "w") as file:
            file.write(
                "[req]\nprompt = no\ndistinguished_name = subject\n[subject]\nCN = "
                "%s\n[extensions]\n%s\n" % (name, extensions or ""))
        extended = () if extensions is None else ("-extensions", "extensions")
        if issuer is None:
            self._run("req", "-x509", "-new", "-key", pair.key, "-config", settings, "-days", "30",
                      "-out", pair.certificate, *extended)
            return pair.finish()
        self._run("req", "-new", "-key", pair.key, "-config", settings, "-out", request)
        extended = () if extensions is None else ("-extfile", settings) + extended
        self._run("x509", "-req", "-in", request, "-CA", issuer.certificate, "-CAkey", issuer.key,
                  "-days", str(days),
                  "-set_serial", "0x%s" % os.urandom(8).hex(), "-out", pair.certificate, *extended)
        return pair.finish()

    def _run(self, *arguments):
        subprocess.run((self._openssl,) + arguments, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE, timeout=60)
