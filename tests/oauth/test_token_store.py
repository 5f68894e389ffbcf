"""Tokens on the disk, refreshed in time, whatever the provider answers."""
import json
import os
import stat
import threading

import pytest

from phenmail_protocols.disk import open_beneath
from phenmail_protocols.net import tlsclient
from phenmail_protocols.oauth import token_requests
from phenmail_protocols.oauth.errors import LoginNeeded, OAuthError, Temporary
from phenmail_protocols.oauth.token_requests import Tokens
from phenmail_protocols.oauth.token_store import TokenFile, TokenSource
from tests.net.authority import authority  # noqa: F401 - a fixture
from tests.oauth.provider import Provider, drip, hang, huge

NOW = 1750000000.0


class Clock(object):
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(oauth2, clock):
    """Makes sources of the same tokens."""
    def build(**changes):
        changed = oauth2._replace(**changes)
        return TokenSource(changed, lambda *given: token_requests.refresh(*given, now=clock), clock)
    return build


@pytest.fixture
def logged_in(provider, oauth2):
    """The tokens after a login: the access token is valid for 1000 s."""
    provider.access.add("access-0")
    provider.refresh.add("refresh-0")
    write(oauth2, Tokens("access-0", "refresh-0", NOW + 1000))


def write(oauth2, tokens):
    file = TokenFile(oauth2)
    with file.locked():
        file.write(tokens)


def read(oauth2):
    file = TokenFile(oauth2)
    with file.locked():
        return file.read()


def refreshes(provider):
    return [fields["refresh_token"] for fields in provider.asked("/token")]


def test_a_token_is_used_until_shortly_before_it_expires(provider, make, logged_in, clock):
    source = make()
    assert source() == source() == "access-0" and refreshes(provider) == []
    clock.now += 1000
    first = source()
    assert first in provider.access and first != "access-0"
    clock.now += provider.lifetime - 301
    assert source() == first
    clock.now += 1
    assert source() != first and len(refreshes(provider)) == 2


def test_a_rotated_refresh_token_is_on_the_disk_before_its_access_token_is_used(
        provider, make, oauth2, logged_in, clock):
    clock.now += 1000
    access = make()()
    kept = read(oauth2)
    assert kept.access == access and {kept.refresh} == provider.refresh
    assert make()() == access, "another process reads what this one wrote"
    assert refreshes(provider) == ["refresh-0"]


def test_a_refresh_token_that_does_not_rotate_stays(provider, make, oauth2, logged_in, clock):
    provider.rotates = False
    for _ in range(2):
        clock.now += 4000
        make()()
    assert refreshes(provider) == ["refresh-0"] * 2 and read(oauth2).refresh == "refresh-0"


def test_the_file_is_for_its_owner_and_does_not_show_the_tokens(oauth2, logged_in):
    assert stat.S_IMODE(os.stat(oauth2.tokens).st_mode) == 0o600
    with open(oauth2.tokens) as file:
        text = file.read()
    assert json.loads(text)["account"] == "gmail"
    assert "access-0" not in text and "refresh-0" not in text and "hush" not in text


def test_threads_and_processes_refresh_once(provider, make, logged_in, clock):
    """Each source stands for a process; a refresh token that is used twice is lost."""
    clock.now += 1000
    sources, found = [make() for _ in range(4)] * 3, []
    threads = [threading.Thread(target=lambda each=each: found.append(each())) for each in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 12 and len(set(found)) == 1
    assert refreshes(provider) == ["refresh-0"]


def test_a_refused_token_is_refreshed_once(provider, make, logged_in):
    source, other = make(), make()
    provider.access.clear()
    refused = source()
    source.refuse(refused)
    fresh = source()
    assert fresh in provider.access and source() == fresh
    other.refuse(refused)
    assert other() == fresh, "the other process had refreshed it already"
    assert refreshes(provider) == ["refresh-0"]


def test_an_old_refusal_does_not_count_for_another_token(provider, make, logged_in):
    source = make()
    source.refuse("some-other")
    assert source() == "access-0" and refreshes(provider) == []


def test_a_login_meanwhile_is_found(provider, make, oauth2, logged_in, clock):
    source = make()
    source()
    write(oauth2, Tokens("access-new", "refresh-new", NOW + 9000))
    clock.now += 1000
    assert source() == "access-new" and refreshes(provider) == []


class TestLoginNeeded:
    def test_no_tokens(self, make):
        with pytest.raises(LoginNeeded, match="log in: phenmail fetch login gmail$"):
            make()()

    def test_the_provider_revoked_them(self, provider, make, logged_in, clock):
        provider.refresh.clear()
        clock.now += 1000
        with pytest.raises(LoginNeeded, match="log in again: phenmail fetch login gmail$") as told:
            make()()
        assert "invalid_grant: Token was used or revoked" in str(told.value)
        assert "refresh-0" not in str(told.value)

    def test_the_provider_repeats_the_token(self, provider, make, logged_in, clock):
        clock.now += 1000
        for code, kind in (("invalid_grant", LoginNeeded), ("odd refresh-0", Temporary)):
            provider.answers["/token"] = [(400, json.dumps({
                "error": code, "error_description": "the token refresh-0 is bad"}).encode())]
            with pytest.raises(kind, match="its words repeat a secret") as told:
                make()()
            assert "refresh-0" not in str(told.value)

    def test_there_is_no_refresh_token(self, make, oauth2, clock):
        write(oauth2, Tokens("access-0", "", NOW + 10))
        assert make()() == "access-0"
        clock.now += 10
        with pytest.raises(LoginNeeded, match="no refresh token"):
            make()()

    @pytest.mark.parametrize("changes", [
        {"token_endpoint": "http://127.0.0.1:1/token"}, {"client_id": "another"}])
    def test_tokens_of_another_client_or_server_are_not_sent(self, provider, make, logged_in,
                                                             clock, changes):
        clock.now += 1000
        with pytest.raises(LoginNeeded):
            make(**changes)()
        assert provider.requests == []

    @pytest.mark.parametrize("octets", [
        b"", b"[]", b"{}", b"\xff", b"[" * 100000, b'{"token-endpoint": 5}', b"null"])
    def test_a_file_of_something_else(self, make, oauth2, logged_in, octets):
        with open(oauth2.tokens, "wb") as file:
            file.write(octets)
        with pytest.raises(LoginNeeded):
            make()()

    def test_a_name_is_quoted_for_the_shell(self, make):
        with pytest.raises(LoginNeeded, match="fetch login 'it'.''s mine; rm'$"):
            make(account="it's mine; rm")()


def test_a_wrong_client_secret(provider, make, logged_in, clock):
    clock.now += 1000
    with pytest.raises(OAuthError, match="check client-id and client-secret") as told:
        make(client_secret="wrong")()
    assert not isinstance(told.value, (Temporary, LoginNeeded)) and "wrong" not in str(told.value)
    assert provider.refresh == {"refresh-0"}


GOOD = {"access_token": "a", "token_type": "Bearer", "expires_in": 60}


def as_json(**changes):
    return json.dumps(dict(GOOD, **changes)).encode()


def without_length(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + as_json())


def cut_off(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + as_json())


def chunks(handler):
    """Not the form of the answer, but its end is wrong."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n{")


def other_protocol(handler):
    handler.wfile.write(b"* OK IMAP4rev1 ready\r\n" * 10)


@pytest.mark.parametrize("answer", [without_length, cut_off, chunks, other_protocol])
def test_answers_that_are_cut_off(provider, make, oauth2, logged_in, clock, answer):
    clock.now += 1000
    provider.answers["/token"] = [answer]
    source = make()
    with pytest.raises(Temporary):
        source()
    assert source() in provider.access


@pytest.mark.parametrize("answer", [
    (500, b'{"error": "invalid_grant"}'), (503, b"<html>"), (429, b'{"error": "invalid_grant"}'),
    (302, b""), (204, b""), (200, b"<html>"), (200, b""), (200, b"[]"), (200, b"\xff\xfe"),
    (200, b"[" * 60000), (400, b"{"), (400, b'{"error": 5}'), (400, b'{"error": "server_error"}'),
    (200, as_json(access_token="")), (200, as_json(access_token=7)),
    (200, as_json(access_token="a\r\nb")), (200, as_json(access_token="x" * 20000)),
    (200, as_json(token_type="mac")), (200, as_json(token_type=None)),
    (200, as_json(refresh_token=["r"])), (200, as_json(refresh_token="r\x01")),
    (200, b"x" * 70000), huge])
def test_answers_that_do_not_help_are_temporary(provider, make, oauth2, logged_in, clock, answer):
    clock.now += 1000
    provider.answers["/token"] = [answer]
    source = make()
    with pytest.raises(Temporary) as told:
        source()
    assert "127.0.0.1:%d" % provider.port in str(told.value) or "refuses" in str(told.value)
    assert read(oauth2) == Tokens("access-0", "refresh-0", NOW + 1000), "nothing is lost"
    assert source() in provider.access, "the next attempt succeeds"


@pytest.mark.parametrize("lifetime, seconds", [
    (3600, 3300), ("3600", 3300), (100, 50), (0, 0.5), (-5, 0.5), (None, 3300), (True, 3300),
    ("soon", 3300), (float("nan"), 3300), (float("inf"), 315359700), (10 ** 400, 315359700)])
def test_lifetimes(oauth2, lifetime, seconds):
    values = dict(GOOD, expires_in=lifetime)
    assert token_requests.tokens_of(oauth2, values, NOW).until == NOW + seconds


@pytest.mark.parametrize("answer", [hang, drip])
def test_a_provider_that_hangs(provider, make, logged_in, clock, monkeypatch, answer):
    monkeypatch.setattr(token_requests, "SECONDS", 0.2)
    clock.now += 1000
    provider.answers["/token"] = [answer]
    with pytest.raises(Temporary, match="cannot get a token from 127.0.0.1"):
        make()()


def test_nobody_listens(provider, make, oauth2, logged_in, clock):
    write(oauth2._replace(token_endpoint="http://127.0.0.1:1/"), Tokens("a", "r", NOW))
    with pytest.raises(Temporary, match="127.0.0.1:1: Connection refused"):
        make(token_endpoint="http://127.0.0.1:1/")()


def test_certificates_are_verified(authority, tmp_path):  # noqa: F811
    pair = authority.issue("provider", ["localhost"])
    trusting = tlsclient.client_context(True)
    trusting.load_verify_locations(authority.root.certificate)
    with Provider(pair.server_context()) as provider:
        oauth2 = provider.oauth2(str(tmp_path))
        provider.refresh.add("r")
        with pytest.raises(Temporary, match="certificate"):
            token_requests.refresh(oauth2, "r")
        assert provider.requests == []
        assert token_requests.refresh(oauth2, "r", context=trusting).access


class TestFullDisk:
    @pytest.fixture
    def disk(self, monkeypatch):
        """A disk; `room` is for how many files."""
        class Disk:
            room = 100
        true = open_beneath.replace

        def replace(folder, path, *rest):
            if not path.endswith(".lock"):
                if Disk.room == 0:
                    raise OSError(28, "No space left on device")
                Disk.room -= 1
            true(folder, path, *rest)
        monkeypatch.setattr(open_beneath, "replace", replace)
        return Disk

    def test_it_is_noticed_before_the_refresh_token_is_used_up(self, disk, provider, make, oauth2,
                                                               logged_in, clock):
        clock.now += 1000
        disk.room = 0
        source = make()
        with pytest.raises(Temporary, match="cannot write .*: No space left on device"):
            source()
        assert provider.requests == []
        disk.room = 100
        assert source() in provider.access

    def test_what_cannot_be_written_is_written_later(self, disk, provider, make, oauth2, logged_in,
                                                     clock):
        clock.now += 1000
        disk.room = 1  # the disk fills up while the provider answers
        source = make()
        with pytest.raises(Temporary):
            source()
        assert refreshes(provider) == ["refresh-0"]
        with pytest.raises(Temporary):
            source()
        disk.room = 100
        access = source()
        assert access in provider.access and refreshes(provider) == ["refresh-0"]
        assert {read(oauth2).refresh} == provider.refresh

    def test_a_login_replaces_what_could_not_be_written(self, disk, provider, make, oauth2,
                                                        logged_in, clock):
        clock.now += 1000
        disk.room = 1
        source = make()
        with pytest.raises(Temporary):
            source()
        disk.room = 100
        write(oauth2, Tokens("access-new", "refresh-new", NOW + 9000))
        assert source() == "access-new" and read(oauth2).refresh == "refresh-new"


def test_links_are_not_followed(make, oauth2, logged_in, tmp_path, clock):
    """The server may be root, and the folder a user's."""
    clock.now += 1000
    victim = tmp_path / "victim"
    victim.write_text("mine")
    os.unlink(oauth2.tokens)
    os.symlink(str(victim), oauth2.tokens)
    with pytest.raises(Temporary, match="cannot read"):
        make()()
    os.unlink(oauth2.tokens + ".lock")
    os.symlink(str(victim), oauth2.tokens + ".lock")
    with pytest.raises(Temporary, match="cannot lock"):
        make()()
    assert victim.read_text() == "mine"


def test_a_lock_that_is_held_for_too_long(make, oauth2, logged_in, monkeypatch):
    from phenmail_protocols.oauth import token_store
    monkeypatch.setattr(token_store, "_WAIT", 0.05)
    with TokenFile(oauth2).locked():
        with pytest.raises(Temporary, match="another program is refreshing"):
            make()()


def test_secrets_are_in_no_repr(oauth2):
    assert "hush" not in repr(oauth2)
    assert "secret" not in repr(Tokens("secret", "secret", 1.0))


class Killed(BaseException):
    pass


class Dying(object):
    """The module os, whose calls from the n-th on raise Killed."""

    def __init__(self, left):
        self.left = left

    def __getattr__(self, name):
        found = getattr(os, name)
        if name not in ("open", "read", "write", "fsync", "fchmod", "fchown", "replace", "unlink"):
            return found

        def call(*given, **options):
            self.left -= 1
            if self.left < 0:
                raise Killed
            return found(*given, **options)
        return call


def test_the_tokens_survive_a_kill_at_any_step(provider, make, oauth2, logged_in, clock,
                                               monkeypatch):
    """With a provider that takes a refresh token twice, no kill makes the user log in again; with
    one that does not, only a kill between its answer and our rename does."""
    provider.rotates, steps, ended = False, 0, False
    while not ended:
        write(oauth2, Tokens("access-0", "refresh-0", NOW))
        provider.refresh = {"refresh-0"}
        with monkeypatch.context() as patched:
            patched.setattr(open_beneath, "os", Dying(steps))
            try:
                make()()
                ended = True
            except Killed:
                steps += 1
        assert make()() in provider.access, "killed at step %d" % steps
        assert read(oauth2).refresh == "refresh-0"
    assert steps > 10
