"""CONTRIBUTING.txt is true: rooms, floors, the journey of a message, and the files that it names."""
import ast
import os
import re

import pytest

from tests.test_floors import FLOORS

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(TOP, "phenmail_protocols")

with open(os.path.join(TOP, "CONTRIBUTING.txt"), encoding="utf-8") as _file:
    TEXT = _file.read()
JOURNEY = re.findall(r"^    ([a-z0-9_/]+\.py) +([\w.]+)", TEXT, re.MULTILINE)


def test_rooms_and_floors():
    shown, floor = {}, None
    for number, room in re.findall(r"^    (\d| )  ([a-z0-9]+)  +\S", TEXT, re.MULTILINE):
        floor = int(number) if number.strip() else floor
        shown[room] = floor
    assert shown == FLOORS


def test_every_room_is_a_folder_or_a_file():
    for room in set(FLOORS) - {"phenmail", "fetch"}:
        assert any(os.path.exists(os.path.join(PROGRAM, room + end)) for end in ("", ".py")), room
    folders = {name for name in os.listdir(PROGRAM) if os.path.exists(os.path.join(PROGRAM, name, "__init__.py"))}
    assert folders <= set(FLOORS)


def defined(path):
    """Names of a file's functions, and of its classes' methods as Class.method."""
    with open(os.path.join(PROGRAM, path), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        for each in getattr(node, "body", ()) if isinstance(node, ast.ClassDef) else ():
            if isinstance(each, ast.FunctionDef):
                yield "%s.%s" % (node.name, each.name)


def test_there_is_a_journey():
    assert len(JOURNEY) > 12


@pytest.mark.parametrize("path, name", JOURNEY)
def test_the_journey_passes_what_is_there(path, name):
    assert name in defined(path)


def test_a_message_takes_the_journey(tmp_path):
    """A child process traces every call from the dot to 250, in the connection's own thread."""
    import json
    import subprocess
    import sys
    wanted = [[path, name.rpartition(".")[2]] for path, name in JOURNEY]
    output = subprocess.check_output([sys.executable, "-c", TRACED, json.dumps(wanted)], cwd=TOP)
    order = [tuple(each) for each in json.loads(output.decode().splitlines()[-1])]
    one_mailbox = [tuple(each) for each in wanted if each[0] not in ("delivery/outgoing.py", "queue/spool.py")]
    position = 0
    for step in one_mailbox:
        assert step in order[position:], (step, order[position:])
        position = order.index(step, position) + 1


# Prints each call of a named function, in order, from a message's end to its reply. Handler._read_data
# begins before; a filter makes the filters run, and judging is asked for as if the client were outside.
TRACED = r'''
import json, os, smtplib, sys, threading
import phenmail
import phenmail_protocols
base = os.path.dirname(phenmail_protocols.__file__) + os.sep
wanted = {tuple(each) for each in json.loads(sys.argv[1])}
calls = []


def trace(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_filename.startswith(base):
        found = code.co_filename[len(base):].replace(os.sep, "/"), code.co_name
        if found in wanted:
            calls.append(found)


threading.setprofile(trace)
filters = {"filters": [{"type": "match", "header": "Subject", "content": "x", "action": "accept"}]}
with phenmail.MailServer(users={"a@example.org": "secret"}) as server:
    folder = os.path.join(server.root.path, "a", "mail")
    with open(os.path.join(folder, "filters.jcfg"), "w") as file:
        json.dump(filters, file)
    server.router.is_outside = lambda address: True
    with smtplib.SMTP("127.0.0.1", server.port("smtp")) as client:
        client.ehlo("client.example")
        client.mail("b@example.com")
        client.rcpt("a@example.org")
        client.data(b"From: b@example.com\r\nSubject: x\r\n\r\nx\r\n")
print(json.dumps(calls))
'''


def test_what_it_names_is_there():
    named = set(re.findall(r"(?<![\w/.])((?:tests|conf|stubs|[a-z0-9]+)/[a-z0-9_/.-]+?)(?=[\s,;:)]|\.\s|::)", TEXT))
    assert len(named) > 30
    missing = [name for name in sorted(named)
               if not any(os.path.exists(os.path.join(base, name)) for base in (TOP, PROGRAM))]
    assert missing == []


def test_it_is_one_page_of_plain_lines():
    lines = TEXT.splitlines()
    assert len(lines) < 200 and max(map(len, lines)) <= 100
