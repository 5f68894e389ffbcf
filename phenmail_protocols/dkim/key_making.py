"""New keys to sign mail with: made by a program or a package that is here, and written where no key is yet.  Knows no DKIM."""
import binascii
import os
import threading
from typing import Any

from ..disk import atomic
from .keys import ED25519_OCTETS, RSA_BITS

SECONDS_TO_MAKE = 300  # a router's processor looks for primes for a minute


class NoKeyTool(Exception):
    """Neither the openssl program nor the cryptography package is here to make an RSA key."""


def new_ed25519() -> bytes:
    """The content of a new key file."""
    return binascii.b2a_base64(os.urandom(ED25519_OCTETS))


def new_rsa(stopping: Any) -> bytes:
    """The content of a new key file, by the openssl program or the cryptography package.

    `stopping`: a threading.Event; once it is set, the program is ended.  Raises NoKeyTool, or OSError where the program fails.
    """
    try:
        return _by_openssl(stopping)
    except FileNotFoundError:
        pass
    try:
        return _by_cryptography()
    except ImportError:
        raise NoKeyTool("there is neither an openssl program nor the Python package cryptography to make it")


def can_make() -> bool:
    """Whether `new_rsa` finds a tool."""
    import importlib.util
    import shutil
    return shutil.which("openssl") is not None or importlib.util.find_spec("cryptography") is not None


def _by_openssl(stopping: Any) -> bytes:
    import subprocess
    import time
    # genrsa is in every version and in LibreSSL; PKCS#1 from the old ones, PKCS#8 since 3.0.
    process = subprocess.Popen(("openssl", "genrsa", str(RSA_BITS)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    end = time.monotonic() + SECONDS_TO_MAKE
    while True:
        try:
            output, _ = process.communicate(timeout=0.1)
            break
        except subprocess.TimeoutExpired:
            if stopping.is_set() or time.monotonic() >= end:
                process.kill()
                process.communicate()
                raise OSError("openssl genrsa was ended before it had a key")
    if process.returncode != 0:
        raise OSError("openssl genrsa failed with status %d" % process.returncode)
    return output


def _by_cryptography() -> bytes:
    from cryptography.hazmat import backends
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import rsa
    key = rsa.generate_private_key(65537, RSA_BITS, backends.default_backend())
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())


def publish(path: str, data: bytes) -> bool:
    """Give a new key file its name, durably and whole, mode 0600; False where somebody was quicker: his file stays.

    Raises OSError.
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
        except OSError:  # a file system without hard links: who makes the empty file may put his key over it
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
