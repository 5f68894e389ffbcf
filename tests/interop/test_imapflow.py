"""imapflow, a client library in JavaScript, which many webmails and phone gateways use."""
import json
import os

import pytest

from tests.interop.house import ODD, bodies, eventually, message, messages, ok
from tests.interop.remote import CLIENTS, SCRIPTS, Remote


@pytest.fixture
def open_flow(program, absent, tmp_path, house, user):
    """`open_flow(service)`: a client that is logged in, as a Remote."""
    modules = os.path.join(CLIENTS, "node_modules")
    if not os.path.exists(os.path.join(modules, "imapflow")):
        absent("imapflow")
    opened = []

    def open_client(service="imaps"):
        options = {"host": house.host, "port": house.ports[service], "secure": service == "imaps",
                   "auth": {"user": user.name, "pass": user.passphrase}, "ca": house.certificate,
                   "qresync": True}
        flow = Remote([program("node"), os.path.join(SCRIPTS, "drive_imapflow.js"),
                       json.dumps(options)], str(tmp_path / "errors"), NODE_PATH=modules)
        opened.append(flow)
        return flow
    yield open_client
    for flow in opened:
        flow.close()


def test_imapflow_reads_a_mailbox(open_flow, house, user):
    house.append(user, "INBOX", *ODD.values())
    flow = open_flow("imap")
    assert flow("mailboxOpen", "INBOX")["exists"] == len(ODD)
    found = flow("fetchAll", "1:*", {"uid": True, "flags": True, "envelope": True, "size": True,
                                     "bodyStructure": True, "internalDate": True,
                                     "source": True, "headers": ["Subject"]})
    assert [each["source"].encode("latin-1") for each in found] == list(ODD.values())
    assert [each["envelope"]["subject"] for each in found] == list(ODD)
    assert [each["size"] for each in found] == [len(sent) for sent in ODD.values()]
    assert found[-1]["bodyStructure"]["childNodes"][1]["encoding"] == "base64"
    assert flow("search", {"subject": "dots", "seen": False}) == [1]
    assert flow("search", {"or": [{"body": "Grüße"}, {"subject": "no text"}]}, {"uid": True}) == [
        2, 3]
    assert flow("status", "INBOX", {"messages": True, "unseen": True, "uidNext": True,
                                    "highestModseq": True})["unseen"] == len(ODD)


def test_imapflow_changes_a_mailbox(open_flow, house, user):
    house.append(user, "INBOX", *ODD.values())
    flow = open_flow()
    paths = {each["path"]: each.get("specialUse") for each in flow("list")}
    assert paths["Sent"] == "\\Sent" and paths["INBOX"] == "\\Inbox"
    assert flow("mailboxCreate", ["Lists", "Grüße"])["path"] == "Lists/Grüße"
    assert flow("mailboxSubscribe", "Lists/Grüße") is True
    sent = flow("append", "Lists/Grüße", message("new").decode("latin-1"), ["\\Seen", "$Label1"])
    assert sent["uid"] == 1
    flow("mailboxOpen", "INBOX")
    assert flow("messageFlagsAdd", "1:2", ["\\Flagged"]) is True
    assert flow("messageCopy", "2", "Lists/Grüße")["uidMap"] == {"2": 2}
    assert flow("messageMove", "3", "Trash")["uidMap"] == {"3": 1}
    assert flow("messageDelete", {"uid": "4"}) is True
    assert flow("mailboxRename", "Lists/Grüße", "Old")["newPath"] == "Old"
    assert {flags for flags, _ in house.messages(user, "Old").values()} == {
        frozenset(("\\Seen", "$Label1")), frozenset(("\\Flagged",))}
    assert sorted(house.messages(user)) == [1, 2, 5, 6, 7]
    assert bodies(house.messages(user, "Trash")) == [ODD["no text"]]
    assert flow("mailboxDelete", "Old")["path"] == "Old"


def test_imapflow_appends_and_reads_binary_content(open_flow, house, user):
    """It appends a message with NUL as literal8, and reads parts by BINARY."""
    flow = open_flow()
    picture = bytes(range(256)) + b"\r\0\n"
    sent = message("binary", header="MIME-Version: 1.0\r\nContent-Type: image/png\r\n"
                   "Content-Transfer-Encoding: binary\r\n", text="") + picture
    assert flow("append", "INBOX", sent.decode("latin-1"))["uid"] == 1
    house.append(user, "INBOX", ODD["attachment"])
    flow("mailboxOpen", "INBOX")
    found = flow("fetchAll", "1:2", {"bodyParts": ["1"], "bodyStructure": True}, {"binary": True})
    assert [each["bodyParts"]["1"].encode("latin-1") for each in found] == [picture, b"see there"]
    assert found[0]["bodyStructure"]["encoding"] == "base64"
    stored, _ = bodies(house.messages(user))
    assert b"\0" not in stored and stored.startswith(sent[:50])


def test_imapflow_hears_what_another_does(open_flow, house, user):
    house.append(user, "INBOX", *ODD.values())
    flow = open_flow()
    flow("mailboxOpen", "INBOX")
    flow("startIdle")
    client = house.imap(user, "INBOX")
    ok(client.uid("STORE", "2", "+FLAGS", "(\\Deleted)"))
    ok(client.expunge())
    ok(client.uid("STORE", "3", "+FLAGS", "(\\Flagged)"))
    ok(client.append("INBOX", None, None, message("new")))
    heard = {}

    def has_heard_all():
        for name, event in flow("events"):
            heard.setdefault(name, []).append(event)
        return {"exists", "expunge", "flags"} <= set(heard)
    eventually(has_heard_all, "what another did")
    assert heard["expunge"][0]["uid"] == 2 and heard["expunge"][0]["vanished"]
    assert heard["exists"][-1]["count"] == len(ODD)
    flags = {each["uid"]: each["flags"] for each in heard["flags"]}
    assert "\\Flagged" in flags[3]
    assert sorted(messages(client, "INBOX")) == flow("search", {"all": True}, {"uid": True})
    client.logout()
