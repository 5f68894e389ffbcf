"""A whole server that fetches from a Gmail-like one by OAuth2, from the first login to its end."""
import json

import pytest

from phenmail import MailServer
from phenmail_protocols.fetch import job, service
from tests.admin.test_fetch_login import Command
from tests.fetch.gmail import Gmail
from tests.fetch.scripted import subject
from tests.fetch.test_service import eventually
from tests.fetch.test_whole import Near
from tests.oauth.provider import USER, Provider


@pytest.fixture
def provider():
    with Provider() as running:
        yield running


@pytest.fixture
def gmail(provider):
    with Gmail(USER) as running:
        running.tokens[USER] = provider.access
        yield running


@pytest.fixture
def near(tmp_path, provider, gmail, monkeypatch):
    monkeypatch.setattr(service, "_READ", 0.2)
    monkeypatch.setattr(service, "_WRITE", 0.1)
    monkeypatch.setattr(job, "_FAILED", (0.1, 0.1))
    near = Near(tmp_path / "near", None)
    account = {"name": "gmail", "server": "127.0.0.1", "port": gmail.port, "protocol": "imap",
               "username": USER, "first-time": "download-all", "period": "1 h", "auth": "oauth2",
               "provider": provider.options()}
    with open(near.path("system", "config", "mail-fetcher.jcfg"), "w") as file:
        json.dump({"accounts": [account]}, file)
    return near


def add(gmail, number):
    gmail.add(b"Message-ID: <%d@gmail.example>\r\nSubject: m%d\r\n\r\nhello\r\n" % (
        number, number), ["\\Inbox"])


def test_from_the_first_login_to_its_end(near, provider, gmail):
    def came():
        return [subject(data) for data in near.messages(server)]

    def error():
        code, text = near.run("--json")
        return json.loads(text)[0]["error"]

    add(gmail, 1)
    with MailServer(near.root) as server:
        eventually(lambda: "log in: phenmail fetch login gmail" in error(), seconds=20)
        command = Command(server.root, "gmail")
        provider.approve(command.until(r"enter this code: (\S+)").group(1))
        assert command.end()[0] == 0
        eventually(lambda: came() == ["m1"], seconds=20)
        eventually(lambda: not error(), seconds=20)

        # The access token expires while the server waits for mail.
        for token in list(provider.access):
            gmail.expire(token, bye=True)
        add(gmail, 2)
        eventually(lambda: came() == ["m1", "m2"], seconds=20)
        assert len(provider.asked("/token")) >= 2

        # The user withdraws the permission at the provider.
        provider.refresh.clear()
        provider.access.clear()
        add(gmail, 3)
        eventually(lambda: "log in again: phenmail fetch login gmail" in error(), seconds=20)
        assert came() == ["m1", "m2"]
