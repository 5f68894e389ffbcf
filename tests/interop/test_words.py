"""What a person types: init, user add and passwd beside the live server, and mail programs with the
result."""
import json
import os
import re

import pytest

from tests.interop.house import House, User, assert_received, bodies, message, run, succeed

SECTION = {"listen": [{"host": "localhost", "port": 0, "tls": "implicit"}]}


@pytest.fixture
def fresh(tmp_path):
    """A root made by `init`, on free ports."""
    house = House(tmp_path)
    said = house.words("init", "--user", "anna", "--domain", "example.org").decode("utf-8")
    passphrase = re.search(r"passphrase +(\S+)", said).group(1)
    path = os.path.join(house.root, "device", "system", "mail", "mail.jcfg")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    more = {"smtp": {"host": "localhost", "port": 0}, "relay": SECTION, "imap": SECTION,
            "pop": SECTION}
    at = text.index("{") + 1
    with open(path, "w", encoding="utf-8") as file:
        file.write(text[:at] + "\n" + json.dumps(more)[1:-1] + "," + text[at:])
    house.start()
    yield house, User("anna", passphrase, os.path.join(house.root, "anna", "mail"))
    house.stop()
    assert not house.complaints(), house.log()


def curl(path, house, user, service, place="", *more):
    scheme = {"submissions": "smtps"}.get(service, service)
    return [path, "--silent", "--show-error", "--cacert", house.certificate, "--user",
            "%s:%s" % (user.name, user.passphrase), "%s://localhost:%d/%s" % (
                scheme, house.ports[service], place)] + list(more)


def test_users_come_change_and_go_while_mail_flows(fresh, program):
    house, anna = fresh
    path = program("curl")
    bert = User("bert", "a passphrase of bert's", os.path.join(house.root, "bert", "mail"))
    house.words("user", "add", bert.address, stdin=b"a passphrase of bert's\n")
    sent = message("welcome", sender=anna.address)
    succeed(curl(path, house, anna, "submissions", "client", "--mail-from", anna.address,
                 "--mail-rcpt", bert.address,
                 "--upload-file", "-"), sent)
    assert_received(succeed(curl(path, house, bert, "imaps", "INBOX;UID=1")), sent)
    assert_received(succeed(curl(path, house, bert, "pop3s", "1")), sent)
    made = house.words("user", "passwd", bert.address, stdin=b"\n").decode("utf-8")
    other = bert._replace(passphrase=re.search(r"shown only now: (\S+)", made).group(1))
    assert run(curl(path, house, bert, "imaps")).code == 67
    assert b"INBOX" in succeed(curl(path, house, other, "imaps"))
    assert b"bert@example.org" in house.words("user", "list")
    house.words("user", "del", bert.address)
    assert run(curl(path, house, other, "imaps")).code == 67
    assert len(bodies(house.messages(anna))) == 0
    assert b"0 errors" in house.words("check")
