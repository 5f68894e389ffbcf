"""The path of a message that is drawn at the top of delivery/incoming.py, against the running
server."""
import ast
import os
import re
import smtplib
import threading

import phenmail_protocols
from phenmail_protocols.delivery import incoming
from phenmail_protocols.testing.fixture import MailFixture

ROOT = os.path.dirname(phenmail_protocols.__file__)
CALL = re.compile(r"\s*(\[?)\s*([a-z/_]+\.py)?\s+((?:[A-Z]\w+\.)?_?[a-z]\w+)(?:  .*)?$")


def drawn():
    """[(file, function, whether it is called only in some cases)] of the drawing."""
    lines = incoming.__doc__.split("\n\n")[3].splitlines()
    found, path, in_brackets = [], None, False
    for line in lines:
        match = CALL.match(line)
        assert match, line
        in_brackets = in_brackets or bool(match.group(1))
        path = match.group(2) or "delivery/incoming.py"
        found.append((path, match.group(3).rpartition(".")[2], in_brackets))
        in_brackets = in_brackets and "]" not in line
    return found


def defined(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def calls_of_one_delivery():
    """[(file, function)] in the thread that serves the connection."""
    called = []

    def profile(frame, event, _):
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(ROOT) and "smtp" in threading.current_thread().name:
            called.append((os.path.relpath(name, ROOT).replace(os.sep, "/"), frame.f_code.co_name))

    threading.setprofile(profile)
    try:
        with MailFixture() as mail:
            with smtplib.SMTP(*mail.smtp, timeout=20) as client:
                client.sendmail("", ["alice@example.org", "bob@example.org"], "Subject: x\r\n\r\nx")
    finally:
        threading.setprofile(None)
    return called


def test_the_drawing_names_what_there_is():
    calls = drawn()
    plain = {path for path, _, in_brackets in calls if not in_brackets}
    assert 15 <= len(calls) <= 25 and len(plain) <= 12
    for path, function, _ in calls:
        assert function in defined(path), (path, function)


def test_a_delivery_makes_these_calls_in_this_order():
    called = iter(calls_of_one_delivery())
    for path, function, is_optional in drawn():
        if not is_optional:
            assert (path, function) in called, (path, function)
