"""The command `obscure`: the reversible form of a passphrase, for "pop3pwd" in mail.jcfg."""
from ..accounts import secrets
from .terminal import DONE, ask_passphrase


def run(root, options):
    print(secrets.obscure(ask_passphrase()))
    return DONE
