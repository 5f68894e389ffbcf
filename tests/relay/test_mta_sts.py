"""MTA-STS: TXT records, policy files, what is kept on disk, when a policy is fetched, and HTTPS."""

import os
import socket
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.net import tlsclient
from phenmail_protocols.relay.mta_sts import (
    LARGEST,
    MtaSts,
    NotFetched,
    Policy,
    fetch_policy,
    parse,
    record_id,
)
from phenmail_protocols.relay.mx_routes import Addresses, NoRoute, NotFound
from tests.net.authority import authority  # noqa: F401 - a fixture
from tests.relay.webserver import OK, web

DAY = 86400
NOW = 1750000000.0
TEXT = (b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n"
        b"max_age: 604800\r\n")


# -- the TXT record

@pytest.mark.parametrize("texts, found", [
    (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
    (["v=STSv1;id=1"], "1"), (["v=STSv1 ; id=a1\t; other=2"], "a1"),
    (["v=STSv1; other=x; id=a1"], "a1"),
    (["v=spf1 -all", "v=STSv1; id=1;"], "1"),
    ([], None), (["v=spf1 -all"], None), (["v=STSv1"], None), (["v=STSv1;"], None),
    (["v=STSv11; id=1"], None), (["V=STSv1; id=1"], None),
    ([" v=STSv1; id=1"], None), (["v=STSv1; id="], None), (["v=STSv1; id=a-b"], None),
    (["v=STSv1; id=" + "a" * 33], None),
    (["v=STSv1; id=1\n"], None), (["v=STSv1; id=a b"], None), (["v=STSv1; id=1; id=2"], "1"),
    (["v=STSv1; id=\u0663"], None),
    (["v=STSv1; id=1", "v=STSv1; id=1"], None), (["v=STSv1\t;\tid=1\t;\tx_1.y-z=a/b\t;\t"], "1"),
    (["v=STSv1; ID=2; id=1"], "1"),
    (["v=STSv1; id=1; junk"], None), (["v=STSv1; id=1;;"], None), (["v=STSv1;; id=1"], None),
    (["v=STSv1; id = 1"], None),
    (["v = STSv1; id=1"], None), (["v=STSv1; ID=1"], None), (["v=STSv1; id=1; x="], None),
    (["v=STSv1; id=1; x=a b"], None),
    (["v=STSv1; id=1; -x=a"], None), (["v=stsv1; id=1", "v=STSv1; id=2"], "2"),
])
def test_the_id_of_the_record(texts, found):
    assert record_id(texts) == found


@given(st.lists(st.text(max_size=60), max_size=3))
def test_any_records(texts):
    assert record_id(texts + ["v=STSv1; id=1"]) in ("1", None)


# -- the policy

def test_a_policy():
    assert parse(TEXT) == Policy("enforce", ("mail.example.com", "*.example.net"), 604800)
    assert parse(TEXT.replace(b"\r\n", b"\n").rstrip()) == parse(TEXT)
    assert parse(b"max_age:1\nmode:none\nversion:STSv1") == Policy("none", (), 1)


def test_unknown_and_repeated_fields_are_ignored():
    assert parse(
        TEXT + b"new: thing\r\nmode: none\r\nversion: STSv2\r\nmax_age: 1\r\n\r\n") == parse(TEXT)


def test_max_age_is_at_most_a_year():
    assert parse(TEXT.replace(b"604800", b"9999999999")).max_age == 31557600


@pytest.mark.parametrize("broken", [
    b"", b"\r\n", b"<html>", TEXT.replace(b"STSv1", b"STSv2"), TEXT.replace(b"version", b"Version"),
    TEXT.replace(b"enforce", b"on"),
    TEXT.replace(b"mode", b"Mode"), TEXT.replace(b"604800", b""), TEXT.replace(b"604800", b"-1"),
    TEXT.replace(b"604800", b"1 day"),
    TEXT.replace(b"604800", b"12345678901"), TEXT.replace(b"mx", b"my"),
    TEXT.replace(b"mail.", b"ma*il."), TEXT.replace(b"mail.", b"*"),
    TEXT.replace(b"*.example.net", b"*"), TEXT.replace(b"*.example.net", b""),
    TEXT.replace(b"*.example.net", b"*."),
    TEXT.replace(b"*.example.net", b"*.*.net"), TEXT.replace(b"mail", b"m\xc3\xa4il"),
    TEXT.replace(b"mail", b"m\xe4il"),
    TEXT.replace(b"mail", b"a" * 64), TEXT.replace(b"mail", b"a." * 130), TEXT + b"something",
    TEXT.replace(b"\r\n", b"\r"),
    TEXT.replace("604800".encode(), "\u0661".encode("utf-8"))])
def test_no_policy(broken):
    with pytest.raises(ValueError):
        parse(broken)


@given(st.binary(max_size=100), st.integers(0, len(TEXT)))
def test_any_bytes_are_a_policy_or_a_valueerror(data, at):
    for text in (data, TEXT[:at] + data + TEXT[at:]):
        try:
            policy = parse(text)
        except ValueError:
            continue
        assert policy.mode in ("enforce", "testing", "none") and 0 <= policy.max_age <= 31557600


@pytest.mark.parametrize("host, allowed", [
    ("mail.example.com", True), ("MAIL.Example.COM.", True), ("a.example.net", True),
    ("A.EXAMPLE.NET", True),
    ("example.com", False), ("a.mail.example.com", False), ("example.net", False),
    ("a.b.example.net", False), (".example.net", False),
    ("aexample.net", False), ("*.example.net", True), ("", False), ("[192.0.2.1]", False)])
def test_which_hosts_it_allows(host, allowed):
    """The wildcard stands for exactly one label (RFC 8461 4.1)."""
    assert parse(TEXT).allows(host) == allowed


# -- kept and fetched

class World(object):
    """DNS, web server and clock for one domain; counts the fetches."""

    def __init__(self, folder):
        self.folder, self.now, self.txt, self.text, self.fetched = folder, NOW, [
            b"v=STSv1; id=1"], TEXT, 0

    def records(self, name, kind):
        assert (name, kind) == ("_mta-sts.example.org", "TXT")
        if isinstance(self.txt, Exception):
            raise self.txt
        return tuple(self.txt)

    def fetch(self, domain):
        assert domain == "example.org"
        self.fetched += 1
        if isinstance(self.text, Exception):
            raise self.text
        return self.text

    def begin(self):
        """As after a start of the program."""
        self._sts = MtaSts(self, self.folder, self.fetch, lambda: self.now)
        return self

    def policy(self):
        return self._sts.policy("example.org")

    def files(self):
        return sorted(os.listdir(self.folder))


@pytest.fixture
def world(tmp_path):
    return World(str(tmp_path / "sts")).begin()


def test_it_is_fetched_once_and_kept_over_a_restart(world):
    expected = parse(TEXT)._replace(id="1", fetched=int(NOW))
    assert world.policy() == expected
    assert world.policy() == expected
    assert world.begin().policy() == expected
    assert world.fetched == 1
    path = os.path.join(world.folder, "example.org")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(world.folder).st_mode) & 0o077 == 0
    assert world.files() == ["example.org"]


@pytest.mark.parametrize("txt", [[], ["v=spf1 -all"], NotFound("no", True),
                                 NoRoute(Reply(451, "4.4.3", "no answer"))])
def test_no_record_no_policy(world, txt):
    world.txt = txt
    assert world.policy() is None and world.fetched == 0


@pytest.mark.parametrize("txt", [[], ["v=STSv1; id=1", "v=STSv1; id=2"], NotFound("no", True),
                                 NoRoute(Reply(451, "4.4.3", "no answer"))])
def test_a_record_that_is_gone_does_not_end_the_kept_policy(world, txt):
    """RFC 8461 5.1: otherwise an attacker who can suppress the record could switch it off."""
    world.policy()
    world.txt = txt
    world.now += 6 * DAY
    assert world.policy().mode == "enforce"
    world.now += DAY
    assert world.policy() is None
    assert world.fetched == 1 and world.files() == []


def test_a_new_id_fetches_anew(world):
    world.policy()
    world.txt, world.text = [b"v=STSv1; id=2"], TEXT.replace(b"enforce", b"none")
    world.now += 10
    assert world.policy() == parse(world.text)._replace(id="2", fetched=int(NOW + 10))
    world.policy()
    assert world.fetched == 2


def test_it_is_fetched_again_before_it_expires(world):
    world.policy()
    world.now += 5 * DAY
    world.policy()
    assert world.fetched == 1
    world.now += 0.5 * DAY
    assert world.policy().fetched == int(world.now)
    assert world.fetched == 2


@pytest.mark.parametrize("text", [NotFetched("no web"), b"<html>404"])
def test_a_failed_fetch_keeps_the_one_before(world, caplog, text):
    world.policy()
    world.txt, world.text = [b"v=STSv1; id=2"], text
    assert world.policy().id == "1"
    assert "example.org" in caplog.text and "using the cached policy" in caplog.text
    world.now += 7 * DAY + 1
    assert world.policy() is None
    assert "sending without a policy" in caplog.text


def test_failures_are_not_repeated_at_once(world, caplog):
    """RFC 8461 3.3: after at least five minutes, later each time, and soon again after a
    success."""
    world.text = NotFetched("no web")
    for seconds, tries in ((0, 1), (0, 1), (299, 1), (1, 2), (599, 2), (1, 3), (1199, 3), (1, 4),
                           (2400, 5), (30 * DAY, 6), (9600, 7),
                               (4 * 3600 - 1, 7), (1, 8)):
        world.now += seconds
        assert world.policy() is None
        assert world.fetched == tries, "after %d seconds" % (world.now - NOW)
    assert len(caplog.records) == 8
    world.text = TEXT
    world.now += 4 * 3600
    assert world.policy()
    world.txt, world.text = [b"v=STSv1; id=2"], NotFetched("no web")
    world.policy()
    world.now += 300
    world.policy()
    assert world.fetched == 11


def test_a_clock_that_goes_back(world):
    world.policy()
    world.now -= 20 * 365 * DAY
    assert world.policy().id == "1"
    world.txt, world.text = [b"v=STSv1; id=2"], NotFetched("the certificate is not yet valid")
    assert world.policy().id == "1"
    world.text, world.now = TEXT, world.now - DAY
    assert world.policy().id == "2", "waits for a moment that is a day away"


@pytest.mark.parametrize("content",
                         [b"", b"rubbish", b"\xff\xfe", b"phenmail-sts-1 1 1750000000\n<html>",
                          b"phenmail-sts-1 1 x\n" + TEXT,
                          b"phenmail-sts-1 1 1750000000" + TEXT, b"x" * 200000])
def test_a_file_that_is_broken_is_fetched_anew(world, caplog, content):
    world.policy()
    with open(os.path.join(world.folder, "example.org"), "wb") as file:
        file.write(content)
    assert world.policy().mode == "enforce"
    assert world.fetched == 2 and "example.org" in caplog.text
    world.policy()
    assert world.fetched == 2


def test_a_policy_that_cannot_be_written(world, caplog):
    with open(world.folder, "w"):
        pass  # a file is where the folder should be
    assert world.policy().mode == "enforce"
    assert "cannot cache" in caplog.text


def test_files_of_domains_without_mail_are_removed(world):
    world.policy()
    for name, age in (("long.example", 367), ("lately.example", 300)):
        path = os.path.join(world.folder, name)
        with open(path, "w"):
            pass
        os.utime(path, (NOW - age * DAY,) * 2)
    world.begin()
    world.txt = [b"v=STSv1; id=2"]
    world.policy()
    assert world.files() == ["example.org", "lately.example"]


def test_the_number_of_remembered_failures_is_limited(tmp_path):
    class Routes(object):
        def records(self, name, kind):
            return (b"v=STSv1; id=1",)

    def fetch(domain):
        raise NotFetched("no web")

    policies = MtaSts(Routes(), str(tmp_path), fetch, lambda: NOW)
    for number in range(2500):
        policies.policy("d%d.example" % number)
    assert len(policies._failed) <= 1000


# -- over https

ANSWER = OK + b"Content-Length: %d\r\n\r\n" % len(TEXT) + TEXT


class Loopback(object):
    """Routes that find every web server on the loopback."""

    def __init__(self, *ips):
        self.ips, self.asked = ips or ("127.0.0.1",), []

    def addresses(self, host, port):
        self.asked.append(host)
        if not self.ips[0]:
            raise NoRoute(Reply(451, "4.4.3", "the DNS is silent"))
        return Addresses(self.ips, False)


@pytest.fixture
def site(authority):  # noqa: F811
    return authority.issue("site", ("mta-sts.example.org",))


@pytest.fixture
def trusting(authority):  # noqa: F811
    def make():
        context = tlsclient.client_context(True)
        context.load_verify_locations(authority.root.certificate)
        return context

    return make


def test_one_get(site, trusting):
    routes = Loopback()
    with web(site, ANSWER) as (port, requests):
        assert fetch_policy(routes, "example.org", port, trusting) == TEXT
    assert routes.asked == ["mta-sts.example.org"]
    request, = requests
    assert request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
    assert b"\r\nHost: mta-sts.example.org\r\n" in request


@pytest.mark.parametrize("chunks", [
    (OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(TEXT) + TEXT + b"\r\n0\r\n\r\n",),
    tuple(bytes([octet]) for octet in ANSWER)], ids=["chunked", "octet by octet"])
def test_other_forms_of_answers(site, trusting, chunks):
    with web(site, *chunks) as (port, _):
        assert fetch_policy(Loopback(), "example.org", port, trusting) == TEXT


def test_the_next_address_is_tried(site, trusting):
    with web(site, ANSWER) as (port, _):
        assert fetch_policy(Loopback("127.0.0.2", "127.0.0.1"), "example.org", port,
                            trusting) == TEXT


HTML = ANSWER.replace(b"text/plain", b"text/html")


@pytest.mark.parametrize("chunks, words", [
    ((b"HTTP/1.1 301 Moved\r\nLocation: https://mta-sts.example.org/.well-known/mta-sts.txt\r\n"
      b"Content-Length: 0\r\n\r\n",), "301"),
    ((b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\r\n" + TEXT,), "404"),
    ((HTML,), "text/html"),
    ((b"HTTP/1.1 200 OK\r\n\r\n" + TEXT,), "text/plain"),
    ((b"220 mx.example.org ESMTP\r\n",), ""), ((b"",), ""), ((b"\0" * 1000,), ""),
    ((OK + b"Content-Length: 1000\r\n\r\n" + TEXT,), ""),
    ((OK + b"\r\n" + TEXT,), "has no length"),
    ((OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",), ""),
    ((OK + b"Content-Length: 999999999999\r\n\r\n" + TEXT,), ""),
    ((OK + b"Content-Length: -5\r\n\r\n" + TEXT,), "has no length"),
    ((OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 100000,), "65536"),
    ((OK,) + (b"X-%s: 1\r\n" % (b"x" * 60000),) * 50, ""),
    ((b"HTTP/1.1 100 Continue\r\n\r\n",) * (2 * LARGEST // 20), "131072"),
    ((OK + b"Transfer-Encoding: chunked\r\n\r\n",) + (b"1;" + b"x" * 60000 + b"\r\na\r\n",) * 50,
     "")])
def test_invalid_responses(site, trusting, chunks, words):
    with web(site, *chunks) as (port, requests):
        with pytest.raises(NotFetched) as said:
            fetch_policy(Loopback(), "example.org", port, trusting)
    assert words in str(said.value) and "mta-sts.example.org" in str(said.value)
    assert len(requests) == 1, "it asked again"


def test_slow_answers_end(site, trusting):
    """The clock advances by a second whenever it is read; the fetch ends after 60 seconds."""
    seconds = iter(range(1000))
    with web(site, *[b"x"] * 500) as (port, _):
        with pytest.raises(NotFetched) as said:
            fetch_policy(Loopback(), "example.org", port, trusting, monotonic=lambda: next(seconds))
    assert "too long" in str(said.value) and next(seconds) < 70


def test_a_silent_server_ends(trusting):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        with pytest.raises(NotFetched):
            fetch_policy(Loopback(), "example.org", listening.getsockname()[1], trusting,
                         seconds=0.2)


@pytest.mark.parametrize("name, hosts, days", [("site elsewhere", ("example.org",), 30),
                                               ("site over", ("mta-sts.example.org",), -1)])
def test_the_certificate_must_be_valid(authority, trusting, name, hosts, days):  # noqa: F811
    with web(authority.issue(name, hosts, days=days), ANSWER) as (port, requests):
        with pytest.raises(NotFetched):
            fetch_policy(Loopback(), "example.org", port, trusting)
    assert requests == []


def test_the_certificate_must_lead_to_the_store(site):
    with web(site, ANSWER) as (port, requests):
        with pytest.raises(NotFetched):
            fetch_policy(Loopback(), "example.org", port)
    assert requests == []


def test_no_address_and_nobody_there(trusting):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for routes, words in ((Loopback(""), "silent"), (Loopback(), "")):
        with pytest.raises(NotFetched) as said:
            fetch_policy(routes, "example.org", port, trusting)
        assert words in str(said.value)
