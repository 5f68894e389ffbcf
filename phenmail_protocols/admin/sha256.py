"""The command `sha256`: the plain hash of a passphrase, for "passphrase" in mail.jcfg."""
import hashlib

from .terminal import DONE, ask_passphrase


def run(root, options):
    print(hashlib.sha256(ask_passphrase().encode("utf-8")).hexdigest())
    return DONE
