"""An account, a certificate, and IMAP servers that end with the test."""
import pytest

from phenmail_protocols.config.settings import FetchAccount
from tests.fetch.imap_server import ImapServer

PASSPHRASE = "ses\"ame\\"


@pytest.fixture
def imap_account():
    """`imap_account(server)` -> the account on an ImapServer."""
    def make(imap_server, **changes):
        account = FetchAccount("localhost", imap_server.port, "imap", False, "joe", PASSPHRASE,
                               300.0, "download-all", (("Inbox", "filter"),), True, False)
        return account._replace(**changes)
    return make


@pytest.fixture
def imap_server():
    """`imap_server(…)` -> an ImapServer."""
    servers = []

    def make(*arguments, **options):
        servers.append(ImapServer(*arguments, **options))
        return servers[-1]
    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """-> (certificate path, key path) of a certificate for localhost that nobody trusts."""
    from phenmail_protocols.net import selfsigned
    folder = tmp_path_factory.mktemp("certificate")
    paths = str(folder / "certificate.pem"), str(folder / "key.pem")
    selfsigned.make(paths[0], paths[1], ("localhost",))
    return paths


@pytest.fixture
def wrap(certificate):
    """A function that makes a server's socket one with TLS."""
    from phenmail_protocols.net import tls
    context = tls.server_context(*certificate)
    return lambda sock: context.wrap_socket(sock, server_side=True)


@pytest.fixture
def fingerprint(certificate):
    from phenmail_protocols.net import tls
    return tls.Certificates(*certificate).fingerprint()
