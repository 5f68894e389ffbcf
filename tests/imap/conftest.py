"""A store on a temporary folder, and clients of it."""
import ssl

import pytest

from phenmail_protocols.net import tls
from phenmail_protocols.net.selfsigned import NoCertificateTool
from phenmail_protocols.store.filestore import FileStore

from . import wire


@pytest.fixture
def store():
    """It does not poll for foreign changes: these tests are about sessions."""
    store = FileStore(poll=3600)
    yield store
    store.close()


@pytest.fixture
def server(store, tmp_path):
    return wire.server(store, tmp_path / "mail")


@pytest.fixture
def connect(server):
    """`connect()`: one more client, logged in, with `mailbox` selected."""
    clients = []

    def connect(mailbox="INBOX", login=True, server=server, **more):
        client = wire.Client(server, **more)
        clients.append(client)
        if login:
            client.log_in(mailbox)
        return client
    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(connect):
    return connect()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    """A client with INBOX selected, for all tests of a module that change nothing."""
    store = FileStore(poll=3600)
    with wire.Client(wire.server(store, tmp_path_factory.mktemp("imap") / "mail")) as client:
        client.log_in("INBOX")
        yield client
    store.close()


@pytest.fixture(scope="module")
def reading(lasting, request):
    """`lasting` with the messages that the module's `seed(client)` appends."""
    request.module.seed(lasting)
    return lasting


@pytest.fixture
def seeded(client, request):
    """`client` with these messages."""
    request.module.seed(client)
    return client


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    paths = str(folder / "cert.pem"), str(folder / "key.pem")
    try:
        tls.ensure_self_signed(paths[0], paths[1], ["localhost"])
    except NoCertificateTool:
        pytest.skip("no openssl program here")
    return paths


@pytest.fixture
def tls_server(server, certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return server._replace(tls_context=lambda: context)


@pytest.fixture
def tls_client_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
