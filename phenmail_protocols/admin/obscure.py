"""The command `obscure`: the reversible form of a passphrase, for "pop3pwd" in mail.jcfg."""
from ..accounts import passphrases
from .terminal import DONE, ask_passphrase


def run(root, options):
    print(passphrases.obscure(ask_passphrase()))
    return DONE
