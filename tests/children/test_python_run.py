"""The inside of a run, as far as it can be looked at outside of its process."""

import email
import os

import pytest
from hypothesis import given, settings, strategies

from phenmail_protocols.children import child_side, python_run


@pytest.fixture
def voice():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    made = python_run.Voice(writer)
    made.heard = lambda: os.read(reader, 65536).decode("utf-8")
    yield made
    os.close(reader)
    os.close(writer)


def test_each_word_is_one_line_at_once(voice):
    names = python_run.names_for(voice, None, {})
    names["flag"]("a")
    assert voice.heard() == "flag a\n"
    names["copy"]("a@example.org")
    assert voice.heard() == "copy a@example.org\n"
    with pytest.raises(python_run.Decided):
        names["accept"]()
    assert voice.heard() == "accept INBOX\n"


@pytest.mark.parametrize("name, arguments", [
    ("accept", ()), ("reject", ("x",)), ("discard", ()), ("forward", ("x",)), ("flag", ("x",)),
    ("copy", ("x",))])
def test_after_a_decision_everything_stops_the_script_again(voice, name, arguments):
    names = python_run.names_for(voice, None, {})
    with pytest.raises(python_run.Decided):
        names["discard"]()
    voice.heard()
    with pytest.raises(python_run.Decided):
        names[name](*arguments)
    with pytest.raises(BlockingIOError):
        voice.heard()


@settings(max_examples=200)
@given(strategies.text(max_size=50))
def test_no_value_makes_a_second_line(text):
    reader, writer = os.pipe()
    try:
        names = python_run.names_for(python_run.Voice(writer), None, {})
        for name in ("flag", "copy", "accept", "reject"):
            try:
                names[name](text)
            except (ValueError, python_run.Decided):
                pass
        os.close(writer)
        writer = -1
        said = os.read(reader, 65536).decode("utf-8")
        assert all(line.split(" ")[0] in ("flag", "copy", "accept", "reject")
                   for line in said.split("\n")[:-1])
        assert said.count("\n") == len(said.split("\n")) - 1 <= 4
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


@settings(max_examples=200)
@given(strategies.lists(strategies.sampled_from([
    b"\n", b"\r\n", b"Subject: x\n", b" folded\n", b"Content-Type: multipart/mixed; boundary=b\n",
    b"--b\n", b"--b--\n", b"text",
    b"\xff", b"Content-Type: message/rfc822\n", b":\n", b"From \n"]), max_size=15))
def test_any_message_is_parsed_and_both_ways_agree_on_the_header(pieces):
    data = b"".join(pieces)
    whole = python_run.parse(data)
    end = python_run._header_end(data)
    assert 0 <= end <= len(data)
    assert [(name, str(value)) for name, value in whole.items()] == [
        (name, str(value)) for name, value in email.message_from_bytes(data[:end]).items()]


@pytest.mark.parametrize("data, end", [
    (b"A: b\n\nbody\n\nmore", 6), (b"A: b\r\n\r\nbody", 8), (b"\nbody", 1), (b"\r\nbody", 2),
    (b"A: b\n", 5), (b"", 0),
    (b"A: b\n\nbody\r\n\r\nmore", 6)])
def test_where_the_body_begins(data, end):
    assert python_run._header_end(data) == end


@pytest.mark.parametrize("body", [b"line\n" * 30001, b"--b\n" * 1001, b"boundary" * 51,
                                  b"Message/" * 51])
def test_what_would_take_long_is_one_text(body):
    message = python_run.parse(b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n"
                               + body)
    assert message["Subject"] == "x" and not message.is_multipart()
    assert message.get_payload() == "--b\n\n" + body.decode("ascii")
    assert body in message.as_bytes()
    small = python_run.parse(b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n"
                             + body[:len(body) // 2])
    assert small.is_multipart()


def test_a_message_of_one_megabyte_is_whole():
    assert python_run.parse(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n"
                            + (b"A" * 76 + b"\n") * 13000).is_multipart()


@pytest.mark.parametrize("code, told", [
    ("1/0", "line 1: ZeroDivisionError"), ("\n\nraise KeyError('secret')", "line 3: KeyError"),
    ("def f():\n  g()\ndef g():\n  {}['secret']\nf()", "line 4: KeyError"),
    ("class secret_(Exception): pass\nraise type('s e\\ncret', (Exception,), {})",
     "line 2: secret"),
    ("import email.header\nemail.header.decode_header(1)", "line 2: "),
    ("raise SyntaxError('secret', ('<filter>', 1, 1, ''))", "line 1: SyntaxError")])
def test_where_it_went_wrong(code, told):
    try:
        exec(compile(code, python_run.CODE_NAME, "exec"), {})
    except Exception as error:
        text = python_run.described(error)
        assert text.startswith(told) and ("secret" not in text or told.endswith("secret"))
    else:
        pytest.fail("it did not fail")


def test_wrong_code_is_told_with_its_place():
    try:
        compile("x = 1\nif x\n", python_run.CODE_NAME, "exec")
    except SyntaxError as error:
        assert python_run.described(error).startswith("line 2: SyntaxError: ")


def test_limits_that_are_lower_stay():
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_CORE)
    child_side.set_limit("RLIMIT_CORE", before[0], before[1])
    child_side.set_limit("RLIMIT_OF_ANOTHER_SYSTEM", 0, 0)
    assert resource.getrlimit(resource.RLIMIT_CORE) == before
