"""curl sends, lists, searches, uploads and reads over each protocol."""
import tempfile

import pytest

from tests.interop.house import DOMAIN, ODD, assert_received, bodies, message, odd, run, succeed

STRANGER = "127.0.0.3"  # where wrong passphrases come from: the throttle remembers addresses
LOGIN_DENIED, REFUSED, BAD_CERTIFICATE, NOT_FOUND = 67, 55, 60, 78


@pytest.fixture
def curl(program, house):
    """`curl(user, url, …)` gives the command; the URL names a service instead of a port."""
    def command(user, service, path="", *more):
        scheme = {"submission": "smtp", "submissions": "smtps"}.get(service, service)
        made = [program("curl"), "--silent", "--show-error", "--cacert", house.certificate,
                "--max-time", "15", "%s://%s:%d/%s" % (scheme, house.host, house.ports[service],
                                                       path)]
        if not scheme.endswith("s"):
            made.append("--ssl-reqd")
        if user is not None:
            made += ["--user", "%s:%s" % (user.name, user.passphrase)]
        return made + list(more)
    return command


def sending(sender, *recipients):
    words = ["--mail-from", sender, "--upload-file", "-"]
    for recipient in recipients:
        words += ["--mail-rcpt", recipient]
    return words


def upload(curl, user, path, sent):
    """curl has to know the size beforehand, so it comes from a file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(sent)
        file.flush()
        succeed(curl(user, "imaps", path, "--upload-file", file.name))


@pytest.mark.parametrize("service, mechanism", [
    ("submissions", "PLAIN"), ("submissions", "LOGIN"), ("submission", "CRAM-MD5"),
    ("submission", "*")])
def test_what_is_sent_is_read_back(curl, house, user, service, mechanism):
    odd_ones = odd(user.address).values()
    for sent in odd_ones:
        succeed(curl(user, service, "client.example.org", "--login-options", "AUTH=" + mechanism,
                     *sending(user.address, user.address)), sent)
    got = [succeed(curl(user, "imaps", "INBOX;UID=%d" % uid))
           for uid in range(1, len(odd_ones) + 1)]
    for received, sent in zip(got, odd_ones):
        assert_received(received, sent)


def test_mail_from_a_stranger_by_the_public_port(curl, house, user):
    sent = message("from outside")
    succeed(curl(None, "smtp", "", *sending("friend@example.net", user.address)), sent)
    [got] = bodies(house.messages(user))
    assert_received(got, sent)


def test_refused_where_a_mail_server_has_to(curl, house, user):
    sent = message("refused")
    for where, who, sender, recipient in (
            ("smtp", None, "friend@example.net", "someone@example.com"),  # no open relay
            ("smtp", None, "friend@example.net", "nobody@" + DOMAIN),
            ("smtp", None, "friend@example.net", "gone@" + DOMAIN),
            ("smtp", None, user.address, user.address),  # a stranger in a user's name
            ("submissions", user, "other@" + DOMAIN, user.address)):
        done = run(curl(who, where, "", "--interface", STRANGER, *sending(sender, recipient)), sent)
        assert done.code == REFUSED, (where, sender, recipient, done)
    assert house.messages(user) == {}


@pytest.mark.parametrize("service", ["submissions", "submission", "imaps", "imap"])
def test_a_wrong_passphrase(curl, user, service):
    wrong = user._replace(passphrase="guess")
    assert run(curl(wrong, service, "", "--interface", STRANGER)).code == LOGIN_DENIED


@pytest.mark.parametrize("service", ["submissions", "submission", "imaps", "imap"])
def test_a_passphrase_with_every_mark(curl, house, service):
    path = "" if "imap" in service else "client"
    succeed(curl(house.quirky, service, path, *([] if path == "" else ["--request", "NOOP"])))


def test_another_certificate_is_noticed(curl, house, user):
    command = curl(user, "imaps")
    place = command.index("--cacert")
    assert run(command[:place] + command[place + 2:]).code == BAD_CERTIFICATE


@pytest.mark.parametrize("service", ["imaps", "imap"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "*"])
def test_mechanisms_of_imap(curl, user, service, mechanism):
    listed = succeed(curl(user, service, "", "--login-options", "AUTH=" + mechanism))
    assert b'"/" INBOX' in listed and b"\\Trash" in listed


def test_upload_search_parts_and_flags(curl, house, user):
    for sent in ODD.values():
        upload(curl, user, "Sent", sent)
    assert bodies(house.messages(user, "Sent")) == list(ODD.values())
    assert all("\\Seen" in flags for flags, _ in house.messages(user, "Sent").values())
    names = list(ODD)
    assert succeed(curl(user, "imaps", "Sent?SUBJECT%20dots")).strip() == b"* SEARCH 1"
    header = succeed(curl(user, "imaps", "Sent;MAILINDEX=2;SECTION=HEADER"))
    assert header == ODD[names[1]].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert succeed(curl(user, "imaps", "Sent;UID=2;SECTION=TEXT")) == ODD[names[1]].partition(
        b"\r\n\r\n")[2]
    succeed(curl(user, "imaps", "Sent", "--request", "STORE 1 +FLAGS (\\Deleted $Junk)"))
    succeed(curl(user, "imaps", "Sent", "--request", "EXPUNGE"))
    assert sorted(house.messages(user, "Sent")) == list(range(2, len(ODD) + 1))


def test_folders_come_and_go(curl, user):
    succeed(curl(user, "imaps", "", "--request", 'CREATE "Lists/de v"'))
    assert b'"Lists/de v"' in succeed(curl(user, "imaps"))
    upload(curl, user, "Lists%2Fde%20v", message("listed"))
    assert succeed(curl(user, "imaps", "Lists%2Fde%20v;UID=1")) == message("listed")
    succeed(curl(user, "imaps", "", "--request", 'DELETE "Lists/de v"'))
    assert b"de v" not in succeed(curl(user, "imaps"))
    assert run(curl(user, "imaps", "Lists%2Fde%20v;UID=1")).code in (NOT_FOUND, 67, 56, 8)


@pytest.mark.parametrize("service", ["pop3s", "pop3"])
def test_pop3(curl, house, user, service):
    for sent in ODD.values():
        house.append(user, "INBOX", sent)
    assert len(succeed(curl(user, service)).split(b"\r\n")) == len(ODD) + 1
    for number, sent in enumerate(ODD.values(), 1):
        assert succeed(curl(user, service, str(number))) == sent
    succeed(curl(user, service, "1", "--request", "DELE", "--head"))
    assert bodies(house.messages(user)) == list(ODD.values())[1:]


@pytest.mark.parametrize("mechanism", ["+APOP", "PLAIN", "LOGIN", "CRAM-MD5", "*"])
def test_mechanisms_of_pop3(curl, house, user, mechanism):
    sent = message("one")
    house.append(user, "INBOX", sent)
    for service in ("pop3s", "pop3"):
        assert succeed(curl(user, service, "1", "--login-options", "AUTH=" + mechanism)) == sent
