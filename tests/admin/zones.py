"""Settings for the tests of the command `dns`."""

import json
import os

from phenmail_protocols.config import loader
from phenmail_protocols.config.root_folder import Root

KEYS = (("all", "v=DKIM1; k=rsa; p=" + "MIIBIjANBgkq" * 32),
        ("all-ed25519", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="))


def settings(folder, **values):
    """The settings of a mail.jcfg with these values; example.org is the domain unless they say
    otherwise."""
    root = Root(str(folder))
    os.makedirs(root.mail_system, exist_ok=True)
    ports = {"relay": {"port": 465}, "imap": {"port": 993}, "pop": {"port": 995},
             "smtp": {"port": 25}}
    document = dict({"sender-domain": "example.org", "domains": {"example.org": {}}}, **ports)
    document.update(values)
    with open(root.configuration, "w", encoding="utf-8") as file:
        json.dump(document, file)
    return loader.load_server(root)
