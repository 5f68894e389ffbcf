"""We fetch by POP3 from Dovecot, Courier, Cyrus, and from this server."""
import contextlib
import hashlib
import os
import ssl
import tempfile

import pytest

from phenmail_protocols.config.settings import FetchAccount
from phenmail_protocols.fetch.pop.source import PopSource
from phenmail_protocols.fetch.source import FetchError, LoginRefused
from tests.bench.peers.process import Missing
from tests.interop import mail_sources
from tests.interop.house import ODD, eventually, message

LIMIT = 1 << 24


def account_of(**values):
    fields = dict.fromkeys(FetchAccount._fields)
    fields.update(starttls=False)
    fields.update({name.replace("-", "_"): value for name, value in values.items()
                   if name.replace("-", "_") in FetchAccount._fields})
    return FetchAccount(**fields)


class Far:
    """A server: `add(messages)`, `left()`, and `source()`: a new PopSource."""

    def __init__(self, add, left, account):
        self.add, self.left, self.account = add, left, account

    def source(self, **changes):
        account = self.account._replace(**changes)
        return PopSource(account, account.passphrase, LIMIT)

    def fetch(self, known=()):
        with self.source() as source:
            source.open("")
            return [(each.key, b"".join(source.read(each)))
                    for each in source.new(0, set(known).__contains__)]


@pytest.fixture(params=["Dovecot", "Courier", "Cyrus"])
def far(request, absent):
    kind = getattr(mail_sources, request.param)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # the servers run as another user
        with contextlib.ExitStack() as running:
            try:
                source = running.enter_context(kind(os.path.join(folder, "server"), "pop"))
            except Missing as missing:
                absent("the program %s" % missing)
            yield Far(source.add, source.left, account_of(**source.account()))


@pytest.fixture(params=["pops", "starttls"])
def ours(request, house, user):
    with open(house.certificate) as file:
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()
    implicit = request.param == "pops"
    return Far(lambda messages: house.append(user, "INBOX", *messages),
               lambda: len(house.messages(user)),
               account_of(server=house.host, port=house.ports["pop3s" if implicit else "pop3"],
                          protocol="pops" if implicit else "pop", starttls=not implicit,
                          username=user.address, passphrase=user.passphrase, fingerprint=digest))


LARGE = message("large", "." * 999 + "\r\n" + "..\r\n.\r\n" * 200000)


def walk(far, odd, count):
    """Fetch, fetch what is new, remove some. `count`: of small messages."""
    sent = odd + [LARGE] + [message("small %d" % number) for number in range(count)]
    far.add(sent)
    found = far.fetch()
    assert sorted(each for _, each in found) == sorted(sent)
    keys = [key for key, _ in found]
    assert len(set(keys)) == len(sent)
    assert far.fetch(keys) == []
    far.add([message("later")])
    (later, content), = far.fetch(keys)
    assert content == message("later")
    with far.source() as source:
        source.open("")
        listed = list(source.new(0, {later}.__contains__))
        assert [each.key for each in listed] == keys
        assert b"".join(source.read(listed[3], 5)) == found[3][1][5:]
        assert [each.size for each in listed[-20:]] == [len(each) for _, each in found[-20:]]
        source.remove(listed[:count])
    eventually(lambda: far.left() == len(sent) + 1 - count, "the removal")
    assert [key for key, _ in far.fetch()] == keys[count:] + [later]


def test_a_maildrop_of_another_server(far):
    walk(far, [each for each in ODD.values() if b"\0" not in each], 150)


def test_a_maildrop_of_ours(ours):
    walk(ours, list(ODD.values()), 40)


def test_we_refuse_a_wrong_passphrase(ours):
    with pytest.raises(LoginRefused) as caught:
        ours.source(passphrase="not the right one")
    assert "not the right one" not in str(caught.value)


def test_without_the_fingerprint_nobody_is_trusted(ours):
    with pytest.raises(FetchError, match="fingerprint.*%s" % ours.account.fingerprint[:2].upper()):
        ours.source(fingerprint=None)
