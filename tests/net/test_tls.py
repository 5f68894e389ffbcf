"""Certificates that follow their files, and the self-signed pair from its making to its renewal."""

import os
import ssl
import stat
import time

import pytest

from phenmail_protocols.net import selfsigned, tls
from phenmail_protocols.net.errors import CertificateError
from phenmail_protocols.net.selfsigned import NoCertificateTool
from phenmail_protocols.net.tls import Certificates, ClockWrong, ensure_self_signed

from .peer import client_context, dial, serving

DAY = 86400


class Folder(object):
    def __init__(self, path):
        self.certificate = str(path / "certificate.pem")
        self.key = str(path / "key.pem")
        self.pair = self.certificate, self.key

    def read(self):
        with open(self.certificate, "rb") as one, open(self.key, "rb") as other:
            return one.read(), other.read()


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.fixture(params=["openssl", "cryptography"])
def tool(request, monkeypatch, program):
    if request.param == "openssl":
        program("openssl")
        monkeypatch.setattr(selfsigned, "_Cryptography", selfsigned._Openssl)
    else:
        pytest.importorskip("cryptography")
        monkeypatch.setattr(selfsigned, "_Openssl", selfsigned._Cryptography)


# -- making
# --------------------------------------------------------------------------------------------------

def test_a_new_pair(folder, tool):
    assert ensure_self_signed(*folder.pair, names=["mail.example.org", "b\u00fccher.example",
                                                   "192.0.2.7", "Max's Laptop\n"])
    facts = tls.facts(folder.certificate)
    assert facts.names == ("mail.example.org", "xn--bcher-kva.example", "localhost", "192.0.2.7",
                           "127.0.0.1", "0:0:0:0:0:0:0:1")
    assert facts.ours
    assert facts.not_after - facts.not_before <= 825 * DAY
    assert facts.not_before <= time.time() + 1
    assert stat.S_IMODE(os.stat(folder.key).st_mode) == 0o600
    assert sorted(os.listdir(os.path.dirname(folder.key))) == ["certificate.pem", "key.pem"], (
        "something was left behind")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "mail.example.org"])
def test_strict_clients_that_trust_it_accept_it(certificates, name):
    context = client_context(certificates.certificate_path)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with serving(lambda connection: connection.write(b"hello\r\n"), certificates=certificates,
                 implicit_tls=True) as server:
        peer = dial(server.port)
        peer.file.close()
        with context.wrap_socket(peer.sock, server_hostname=name) as secure:
            assert secure.recv(100) == b"hello\r\n"
            assert secure.cipher()[0]


def test_it_stays_until_30_days_before_its_end(folder):
    ensure_self_signed(*folder.pair, names=["a.example"])
    before, end = folder.read(), tls.facts(folder.certificate).not_after
    assert not ensure_self_signed(*folder.pair, names=["a.example"])
    assert not ensure_self_signed(*folder.pair, names=["a.example"], clock=lambda: end - 31 * DAY)
    assert folder.read() == before
    assert ensure_self_signed(*folder.pair, names=["a.example"], clock=lambda: end - 29 * DAY)
    after = folder.read()
    assert after[0] != before[0], "the certificate is the old one"
    assert after[1] == before[1], "a renewal keeps the key, so that both files always fit together"


def test_one_that_was_made_by_a_clock_far_ahead_is_made_anew(folder):
    ensure_self_signed(*folder.pair, names=[])
    start = tls.facts(folder.certificate).not_before
    assert ensure_self_signed(*folder.pair, names=[], clock=lambda: start - 2 * DAY)


def test_a_wrong_clock_makes_nothing_and_touches_nothing(folder):
    with pytest.raises(ClockWrong):
        ensure_self_signed(*folder.pair, names=[], clock=lambda: 3600.0)
    assert not os.path.exists(folder.certificate) and not os.path.exists(folder.key)
    ensure_self_signed(*folder.pair, names=[])
    assert not ensure_self_signed(*folder.pair, names=[], clock=lambda: 3600.0)


def test_after_a_crash_between_key_and_certificate_the_key_is_kept(folder):
    ensure_self_signed(*folder.pair, names=[])
    key = folder.read()[1]
    os.unlink(folder.certificate)
    assert ensure_self_signed(*folder.pair, names=[])
    assert folder.read()[1] == key
    Certificates(*folder.pair).context()


@pytest.mark.parametrize("harm", ["gone", "another"])
def test_a_certificate_of_ours_that_fits_no_key_is_made_anew(folder, tmp_path, harm):
    ensure_self_signed(*folder.pair, names=[])
    os.unlink(folder.key)
    if harm == "another":
        (tmp_path / "other").mkdir()
        other = Folder(tmp_path / "other")
        ensure_self_signed(*other.pair, names=[])
        os.rename(other.key, folder.key)
    assert ensure_self_signed(*folder.pair, names=[])
    Certificates(*folder.pair).context()


def test_certificates_of_others_are_never_touched(folder, monkeypatch):
    monkeypatch.setattr(selfsigned, "ORGANIZATION", "somebody else")
    ensure_self_signed(*folder.pair, names=[])
    monkeypatch.undo()
    before = folder.read()
    assert not tls.facts(folder.certificate).ours
    assert not ensure_self_signed(*folder.pair, names=[], clock=lambda: time.time() + 3000 * DAY)
    os.unlink(folder.key)
    assert not ensure_self_signed(*folder.pair, names=[])
    with open(folder.certificate, "wb") as file:
        file.write(b"broken")
    assert not ensure_self_signed(*folder.pair, names=[])
    assert before[0] and not os.path.exists(folder.key)


def test_without_any_tool_it_says_so(folder, monkeypatch):
    def missing():
        raise FileNotFoundError("openssl")

    monkeypatch.setattr(selfsigned, "_Openssl", missing)
    monkeypatch.setattr(selfsigned, "_Cryptography", missing)
    with pytest.raises(NoCertificateTool) as said:
        ensure_self_signed(*folder.pair, names=[])
    assert "openssl" in str(said.value) and "cryptography" in str(said.value)


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(CertificateError) as said:
        ensure_self_signed(str(tmp_path / "none" / "c.pem"), str(tmp_path / "none" / "k.pem"), [])
    assert "none" in str(said.value)


def test_names_over_64_characters_are_no_common_name():
    long = "a" * 60 + ".example"
    assert selfsigned.common_name([long, "short.example"]) == "short.example"
    assert selfsigned.alternative_names([long, "", "..", "a" * 70]) == (
        [long, "localhost"], ["127.0.0.1", "::1"])


# -- following
# --------------------------------------------------------------------------------------------------

def test_the_context_is_the_same_until_the_files_change(folder):
    ensure_self_signed(*folder.pair, names=[])
    certificates = Certificates(*folder.pair)
    first, mark = certificates.context(), certificates.fingerprint()
    assert certificates.context() is first
    os.unlink(folder.certificate)
    ensure_self_signed(*folder.pair, names=[])
    assert certificates.context() is not first
    assert certificates.fingerprint() != mark


def test_a_broken_new_file_leaves_the_old_context_in_use(folder, caplog):
    ensure_self_signed(*folder.pair, names=[])
    certificates = Certificates(*folder.pair)
    good = certificates.context()
    whole = folder.read()[0]
    with open(folder.certificate, "wb") as file:
        file.write(whole[:100])
    assert certificates.context() is good
    assert folder.certificate in caplog.text
    said = len(caplog.records)
    assert certificates.context() is good
    assert len(caplog.records) == said, "says it again for each connection"
    os.unlink(folder.certificate)
    assert certificates.context() is good
    with open(folder.certificate, "wb") as file:
        file.write(whole)
    assert certificates.context() is not good


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_clients_without_session_tickets_do_not_fill_the_memory(folder, monkeypatch):
    ensure_self_signed(*folder.pair, names=[])
    monkeypatch.setattr(tls, "SESSIONS", 3)
    certificates = Certificates(*folder.pair)
    client = client_context()
    client.options |= ssl.OP_NO_TICKET | getattr(ssl, "OP_NO_TLSv1_3", 0)
    numbers = []
    with serving(lambda connection: connection.write(b"x"), certificates=certificates,
                 implicit_tls=True) as server:
        for _ in range(10):
            peer = dial(server.port).secure(client)
            assert peer.sock.recv(1) == b"x"
            numbers.append(certificates.context().session_stats()["number"])
            peer.close()
    assert max(numbers) > 0, "this client leaves no sessions: the test is void"
    assert max(numbers) <= 3


@pytest.mark.parametrize("content",
                         [None, b"", b"no certificate",
                          b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"])
def test_no_good_file_at_all(folder, content):
    if content is not None:
        for path in folder.pair:
            with open(path, "wb") as file:
                file.write(content)
    certificates = Certificates(*folder.pair)
    for _ in range(2):
        with pytest.raises(CertificateError) as said:
            certificates.context()
        assert folder.certificate in str(said.value)
    if content in (None, b"", b"no certificate"):
        with pytest.raises(CertificateError):
            certificates.fingerprint()


def test_a_key_with_a_passphrase_fails_and_does_not_ask(folder, program):
    import subprocess
    ensure_self_signed(*folder.pair, names=[])
    subprocess.check_call([program("openssl"), "ec", "-in", folder.key, "-out", folder.key + ".new",
                           "-aes128", "-passout", "pass:secret"],
                          stderr=subprocess.DEVNULL)
    os.rename(folder.key + ".new", folder.key)
    with pytest.raises(CertificateError):
        Certificates(*folder.pair).context()


def test_the_fingerprint_is_what_clients_see(certificates):
    import hashlib
    with serving(lambda connection: None, certificates=certificates, implicit_tls=True) as server:
        peer = dial(server.port, tls=True)
        seen = hashlib.sha256(peer.sock.getpeercert(True)).hexdigest().upper()
        peer.close()
    assert certificates.fingerprint().replace(":", "") == seen
    assert certificates.fingerprint().count(":") == 31




def test_moments_of_certificates_are_read_as_ssl_reads_them():
    for text in ("Jan  5 09:34:43 2018 GMT", "Feb 29 23:59:59 2024 GMT", "Dec 31 00:00:00 1999 GMT",
                 "Jul 10 12:00:01 2049 GMT"):
        assert tls._epoch(text) == ssl.cert_time_to_seconds(text)
