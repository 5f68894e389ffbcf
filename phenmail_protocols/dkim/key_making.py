"""Makes new DKIM key files, with the openssl program or the Python package cryptography."""
import binascii
import os
import threading

from ..disk import atomic
from .keys import ED25519_BYTES, RSA_BITS

_SECONDS = 300  # a router's processor needs a minute to find primes


class NoKeyTool(Exception):
    """Neither the openssl program nor the cryptography package is installed."""


def new_ed25519():
    """The content of a new key file."""
    return binascii.b2a_base64(os.urandom(ED25519_BYTES))


def new_rsa(stopping):
    """The content of a new key file.

    `stopping`: a threading.Event that ends the work. Raises NoKeyTool, OSError.
    """
    try:
        return _by_openssl(stopping)
    except FileNotFoundError:
        pass
    try:
        return _by_cryptography()
    except ImportError:
        raise NoKeyTool("install the openssl program or the Python package cryptography to make it")


def can_make():
    """Whether `new_rsa` finds a tool."""
    import importlib.util
    import shutil
    return (shutil.which("openssl") is not None
            or importlib.util.find_spec("cryptography") is not None)


def _by_openssl(stopping):
    import subprocess
    import time
    # All versions and LibreSSL have genrsa. It writes PKCS#1, since 3.0 PKCS#8.
    process = subprocess.Popen(("openssl", "genrsa", str(RSA_BITS)), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    end = time.monotonic() + _SECONDS
    while True:
        try:
            output, _ = process.communicate(timeout=0.1)
            break
        except subprocess.TimeoutExpired:
            if stopping.is_set() or time.monotonic() >= end:
                process.kill()
                process.communicate()
                raise OSError("openssl genrsa was stopped before it had made a key")
    if process.returncode != 0:
        raise OSError("openssl genrsa failed with status %d" % process.returncode)
    return output


def _by_cryptography():
    from cryptography.hazmat import backends
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import rsa
    key = rsa.generate_private_key(65537, RSA_BITS, backends.default_backend())
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL,
                             form.NoEncryption())


def publish(path, data):
    """Write a new key file, durably and whole, mode 0600.

    False if another process was first: its file stays. Raises OSError.
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    temporary = os.path.join(folder, ".%s.%d.%d.new" % (name, os.getpid(), threading.get_ident()))
    atomic.write_file(temporary, data)
    try:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # no hard links here: whoever creates the empty file may replace it
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                return False
            os.replace(temporary, path)
    finally:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
    atomic.sync_directory(folder)
    return True
