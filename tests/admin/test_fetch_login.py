"""The command `fetch login` as a child process, with a browser and a provider of the tests."""
import json
import os
import re
import subprocess
import sys

import pytest

from phenmail_protocols.admin import check, init
from phenmail_protocols.config import loader
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.fetch import orders
from phenmail_protocols.oauth.token_store import TokenSource
from tests.oauth.provider import Provider, get

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                       "phenmail.py")
SECONDS = 60


@pytest.fixture
def root(tmp_path):
    root = Root(str(tmp_path / "root"))
    init.make_root(root, "alice", "example.org")
    return root


@pytest.fixture
def provider():
    with Provider() as running:
        yield running


def fetcher(root, *accounts, owner="alice"):
    path = os.path.join(root.path, owner, "system", "config", "mail-fetcher.jcfg")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        json.dump({"accounts": accounts}, file)
    return path


def account(running, **changes):
    options = dict({"name": "gmail", "server": "127.0.0.1", "username": "a", "auth": "oauth2",
                    "provider": running.options()}, **changes)
    return {key: value for key, value in options.items() if value is not None}


class Command(object):
    """`fetch login WORDS`, while it runs."""

    def __init__(self, root, *words):
        self._child = subprocess.Popen(
            [sys.executable, PROGRAM, "--root", root.path, "fetch", "login"] + list(words),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.output = ""

    def until(self, pattern):
        """Read lines until one has the pattern -> its match."""
        while True:
            line = self._child.stdout.readline().decode("utf-8")
            assert line, (self.output, self._child.stderr.read())
            self.output += line
            found = re.search(pattern, line)
            if found:
                return found

    def end(self, typed=b""):
        """-> (exit code, the rest of the output, errors)"""
        try:
            out, errors = self._child.communicate(typed, timeout=SECONDS)
        finally:
            self._child.kill()
        return self._child.returncode, out.decode("utf-8"), errors.decode("utf-8")


def run(root, *words):
    return Command(root, *words).end()


def token(root, name="gmail"):
    """A token as the server gets it after the login."""
    path = os.path.join(root.path, "alice", "system", "config", "mail-fetcher.jcfg")
    found, = [each for each in loader.load_fetcher(path, root).accounts if each.name == name]
    return TokenSource(found.provider)()


def test_by_a_device_code(root, provider):
    fetcher(root, account(provider))
    command = Command(root, "gmail")
    command.until(re.escape(provider.url("/activate")))
    provider.approve(command.until(r"enter this code: (\S+)").group(1))
    code, out, errors = command.end()
    assert (code, errors) == (0, "")
    assert "gmail: logged in; the tokens are kept.\n" in out
    assert "A running server now fetches this account" in out and "refresh token" not in out
    assert len(orders.take(root.mail_system)) == 1
    assert token(root) in provider.access
    assert not any(each in command.output + out for each in provider.access | provider.refresh)


def test_by_a_browser_on_this_machine(root, provider):
    fetcher(root, account(provider))
    command = Command(root, "alice/gmail", "--code")
    address = command.until(r"^    (http\S+)").group(1)
    command.until("Copy that")
    _, page = provider.browse(address)
    assert b"look at the terminal" in page
    assert command.end()[0] == 0 and token(root) in provider.access


def test_by_a_pasted_address(root, provider):
    fetcher(root, account(provider))
    command = Command(root, "gmail", "--code")
    address = command.until(r"^    (http\S+)").group(1)
    target = get(address + "&agreed=yes")[1]["Location"]
    wrong = target.replace("state=", "state=x")
    code, out, errors = command.end(("%s\n%s\n" % (wrong, target)).encode())
    assert (code, errors) == (0, "")
    assert "This is not the address: it belongs to another login." in out
    assert token(root) in provider.access


def test_a_provider_that_shows_the_code(root, provider):
    fetcher(root, account(provider, provider=provider.options(redirect="oob")))
    command = Command(root, "gmail", "--code")
    target, _ = provider.browse(command.until(r"^    (http\S+)").group(1))
    assert command.end(re.search("code=([^&]+)", target).group(1).encode())[0] == 0
    assert token(root) in provider.access


def test_the_user_does_not_agree(root, provider):
    fetcher(root, account(provider))
    command = Command(root, "gmail")
    provider.approve(command.until(r"enter this code: (\S+)").group(1), "access_denied")
    assert command.end()[::2] == (1, "phenmail: gmail: you did not agree on the provider's page\n")
    assert not any(name.startswith("oauth2") and not name.endswith(".lock") for name in os.listdir(
        os.path.join(root.path, "alice", "system", "config")))


def test_a_login_that_will_end(root, provider):
    provider.rotates = False
    fetcher(root, account(provider))
    command = Command(root, "gmail")
    provider.approve(command.until(r"enter this code: (\S+)").group(1))
    code, out, _ = command.end()
    assert code == 0 and "no refresh token" in out and "offline access" in out


def test_the_smarthost(root, provider):
    with open(root.configuration) as file:
        text = file.read()
    hosted = {"server": "smtp.example.com", "username": "a", "auth": "oauth2",
              "provider": provider.options()}
    with open(root.configuration, "w") as file:
        file.write(text.replace("{", '{"hosted": %s, ' % json.dumps(hosted), 1))
    command = Command(root, "hosted")
    provider.approve(command.until(r"enter this code: (\S+)").group(1))
    code, out, errors = command.end()
    assert (code, errors) == (0, "") and "queue retry all" in out
    assert TokenSource(loader.load_server(root).hosted.provider)() in provider.access


@pytest.mark.parametrize("words, text", [
    (["other"], "no such account: other"), (["hosted"], 'expected "auth": "oauth2"'),
    (["plain"], "alice/plain logs in with a passphrase"),
    (["gmail", "--code", "--device-code"], "either --code or --device-code"),
    (["browser", "--device-code"], "no login with a device code for mail; use --code"),
    (["device", "--code"], "no authorization endpoint; use --device-code")])
def test_what_cannot_be(root, provider, words, text):
    without = provider.options()
    del without["device-endpoint"]
    device = provider.options()
    del device["authorization-endpoint"]
    fetcher(root, account(provider), account(provider, name="browser", username="b",
                                             provider=without),
            account(provider, name="device", username="c", provider=device),
            {"name": "plain", "server": "127.0.0.1", "username": "d", "passphrase": "x"})
    code, out, errors = run(root, *words)
    assert (code, out) == (1, "") and text in errors and errors.startswith("phenmail: ")
    assert provider.requests == []


def test_the_provider_is_down(root, provider):
    provider.answers["/device"] = [(503, b"<html>")]
    fetcher(root, account(provider))
    code, _, errors = run(root, "gmail")
    assert code == 1 and "status 503" in errors and "Traceback" not in errors


def test_a_folder_that_cannot_be_written(root, provider):
    """It is said before the user does something."""
    path = fetcher(root, account(provider))
    os.mkdir(os.path.join(os.path.dirname(path), "x"))
    lock = os.path.join(os.path.dirname(path), os.path.basename(loader.load_fetcher(
        path, root).accounts[0].provider.tokens) + ".lock")
    os.mkdir(lock)
    code, out, errors = run(root, "gmail")
    assert (code, out) == (1, "") and "cannot lock" in errors and provider.requests == []


def test_two_users_with_the_same_account(root, provider):
    fetcher(root, account(provider))
    with open(root.configuration) as file:
        text = file.read()
    with open(root.configuration, "w") as file:
        file.write(re.sub(r'("alice": *"/alice/mail")', r'\1, "bob": "/bob/mail"', text))
    fetcher(root, account(provider), owner="bob")
    code, _, errors = run(root, "gmail")
    assert code == 1 and "expected one of alice/gmail, bob/gmail" in errors


def test_a_broken_file(root):
    with open(fetcher(root), "w") as file:
        file.write('{"accounts": [')
    code, _, errors = run(root, "gmail")
    assert code == 1 and "mail-fetcher.jcfg:1:" in errors


def test_check_names_logins_without_tokens(root, provider):
    fetcher(root, account(provider))
    assert ("alice/system/config/mail-fetcher.jcfg: gmail: there are no OAuth2 tokens; log in: "
            "phenmail fetch login gmail") in check.check(root).warnings
    command = Command(root, "gmail")
    provider.approve(command.until(r"enter this code: (\S+)").group(1))
    assert command.end()[0] == 0
    assert not any("OAuth2" in line for line in check.check(root).warnings)
