"""Any user's file gives settings or a ConfigError with a place, quickly and in little memory."""

import json
import os
import sys
import threading
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.config import loader
from phenmail_protocols.config.documents import SERVER, USER
from phenmail_protocols.config.problems import MAX_PROBLEMS, ConfigError
from phenmail_protocols.config.root_folder import Root

FULL = USER.octets - 1024
LOADERS = {"mail.jcfg": loader.load_user, "filters.jcfg": loader.load_filters,
           "mail-fetcher.jcfg": loader.load_fetcher}


@pytest.fixture(params=["with jsoncomment", "without"])
def parser(request, monkeypatch):
    if request.param == "without":
        monkeypatch.setitem(sys.modules, "jsoncomment", None)
    else:
        pytest.importorskip("jsoncomment")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root") / "alice" / "mail"
    folder.mkdir(parents=True)
    return folder


def loaded(folder, data, name="mail.jcfg"):
    """Settings, or what is wrong: each problem has file, line and column."""
    (folder / name).write_bytes(data)
    try:
        return LOADERS[name](str(folder / name), Root(str(folder.parent.parent)))
    except ConfigError as error:
        assert 0 < len(error.problems) <= MAX_PROBLEMS
        for problem in error.problems:
            assert problem.file.startswith(
                "alice/mail/") and problem.line > 0 and problem.column > 0
            assert len(str(problem)) < 2000
        return error


def filled(piece, begin=b"", end=b"", most=FULL):
    """A repeated piece, as large as a user's file may be."""
    return begin + piece * ((most - len(begin) - len(end)) // len(piece)) + end


def numbered(form, begin, end, most=10 ** 6):
    pieces, size = [], len(begin)
    while size < FULL - 1000 and len(pieces) < most:
        pieces.append(form % len(pieces))
        size += len(pieces[-1])
    return begin + b"".join(pieces) + end


MATCH = b'{"type": "match", "action": "accept", "mode": "regex", "content": "'
HOSTILE = {
    "values": filled(b"0,", b'{"x":[', b"0]}"),
    "nearly too many values": filled(b"0,", b'{"x":[', b"0]}", 2 * USER.values - 20),
    "lists": filled(b"[],", b'{"x":[', b"0]}"),
    "deep": filled(b"["), "deep objects": filled(b'{"a":'),
    "unknown keys": numbered(b'"k%x":0,', b"{", b"}"),
    "nearly known keys": numbered(b'"passphrasf%x":0,', b"{", b"}", USER.values - 10),
    "long keys": numbered(b'"' + b"passphrasf" * 200 + b'%x":0,', b"{", b"}"),
    "one long key": filled(b"k", b'{"', b'": {"a":1,"a":2,"a":3}}'),
    "duplicate keys": filled(b'"a":0,', b"{", b"}"),
    "bare keys": filled(b"a:0,", b"{", b"}"), "bare words": filled(b"x ", b"{", b"}"),
    "mistakes": filled(b"x,", b'{"x":[', b"0]}"),
    "comments": filled(b"#\n", b"", b"{}"), "other comments": filled(b" ;\n", b"", b"{}"),
    "blocks": filled(b"/**/\n", b"", b"{}"), "no end of a block": filled(b"/* */ x\n"),
    "lines": filled(b"\n", b"", b"{}"), "lines of another system": filled(b"\r", b"", b"{}"),
    "blanks": filled(b"\n ", b"", b"x"),
    "escapes": filled(b"\\n", b'{"passphrase":"', b'"}'),
    "wrong escapes": filled(b"\\z", b'{"passphrase":"', b'"}'),
    "escapes behind wrong ones": filled(b"\\n", b'{"passphrase":"' + b"\\z" * (MAX_PROBLEMS - 1),
                                        b'"}'),
    "line separators": filled("\u2028".encode(), b'{"passphrase":"', b'"}'),
    "lone surrogates": filled(b"\\ud800", b'{"passphrase":"', b'"}'),
    "quotes": filled(b'"', b'{"x":', b"}"),
    "a long string of lines": filled(b"\n ", b'{"x":"""', b'"""}'),
    "digits": filled(b"1", b'{"x":', b"}"),
    "a number beyond all": b'{"x": 1e999999, "quota": -1e999999}',
    "beyond": filled(b"1e999999,", b'{"x":[', b"0]}"),
    "NUL": b"\0" * FULL, "not UTF-8": filled(b"\n", b"", b"\xff"),
    "all of them not": b"\xff" * FULL,
    "a control character": b"{\x01 5}", "a control key": b'{"\x01": 5}', "half": b'{"x',
    "nothing": b"",
    "a mark": b"\xef\xbb\xbf{}", "two marks": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "a mark of UTF-16": b"\xff\xfe{\0}\0",
    "a path of many parts": filled(b"a/", b'{"delivery": "', b'"}'),
    "an include of many parts": filled(b"a/", b'{"include": ["', b'"]}'),
    "includes": filled(b'"x",', b'{"include": [', b'"x"]}'),
    "no names": filled(b"0,", b'{"include": [', b"0]}", 5000),
}
HOSTILE_FILTERS = {
    "patterns": numbered(MATCH + b"(a|b)*[c-x]?" * 35 + b'%x"},', b'{"filters": [', b"]}", 499),
    "groups": numbered(MATCH + b"(" * 90 + b"a" + b")*" * 90 + b'%x"},', b'{"filters": [', b"]}",
                       499),
    "wrong types": numbered(b'{"typ": "%x"},', b'{"filters": [', b"]}"),
    "wrong words": numbered(
        b'{"type": "match", "mode": "regexx", "content": "%x", "action": "acept"},',
        b'{"filters": [', b"]}", 499),
    "files of code": numbered(b'{"type": "py", "code": "file:%x' + b"/a" * 5000 + b'"},',
                              b'{"filters": [', b"]}", 499),
}
HOSTILE_FETCHERS = {
    "more folders": numbered(b'"f%x": "f/g/h",', b'{"mail-folders": {', b"}}", 5900),
    "folders": numbered(b'"f%x": 0,', b'{"mail-folders": {', b"}}"),
    "boxes": b'{"mail-folders": {%s}, "accounts": [{"server": "a", "username": "b", "passphrase": '
             b'"c", "boxes": [%s]}]}' % (
        b",".join(b'"f%x": "f"' % number for number in range(2000)),
        b",".join(b'{"x": "accept:g%x:Box"}' % number for number in range(1500))),
    "protocols": numbered(
        b'{"server": "a", "username": "b", "passphrase": "c", "protocol": "imapz%x"},',
        b'{"accounts": [', b"]}"),
}
EVERY = ([("mail.jcfg", each) for each in sorted(HOSTILE.items())]
         + [("filters.jcfg", each) for each in sorted(HOSTILE_FILTERS.items())]
         + [("mail-fetcher.jcfg", each) for each in sorted(HOSTILE_FETCHERS.items())])


@pytest.mark.parametrize("name, case", EVERY,
                         ids=["%s-%s" % (name, case[0]) for name, case in EVERY])
def test_a_hostile_file_costs_little(folder, name, case):
    data = case[1]
    assert len(data) <= USER.octets
    loaded(folder, b"{}", name)         # what is imported late
    began = time.thread_time() if hasattr(time, "thread_time") else time.process_time()
    loaded(folder, data, name)
    took = (time.thread_time() if hasattr(time, "thread_time") else time.process_time()) - began
    tracemalloc.start()
    try:
        loaded(folder, data, name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 1024 * 1024      # the JSON parser of CPython 3.6 takes 8, later ones 4
    assert took < 0.5, "the aim is 0.1 s on a quiet machine"


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_with_and_without_jsoncomment(folder, parser, name):
    loaded(folder, HOSTILE[name])


def test_a_control_character_is_told_with_its_place(folder):
    assert str(loaded(folder, b"{\x01 5}")).startswith("alice/mail/mail.jcfg:1:2: ")


@pytest.mark.parametrize("size", [USER.octets + 1, 400 * 1024 * 1024])
def test_of_a_large_file_little_is_read(folder, size):
    path = folder / "mail.jcfg"
    with open(str(path), "wb") as file:
        file.write(b"{}")
        file.truncate(size)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match="alice/mail/mail.jcfg:1:1: expected at most %d bytes"
                           % USER.octets):
            loader.load_user(str(path), Root(str(folder.parent.parent)))
        assert tracemalloc.get_traced_memory()[1] < 4 * USER.octets
    finally:
        tracemalloc.stop()


def test_the_octets_of_included_files_count_together(folder):
    (folder / "half").write_bytes(b"{}" + b" " * (USER.octets // 2))
    assert not isinstance(loaded(folder, b'{"include": ["half"]}'), ConfigError)
    assert "alice/mail/half:1:1: expected at most" in str(loaded(folder,
                                                                 b'{"include": ["half", "half"]}'))


def test_the_values_of_included_files_count_together(folder):
    (folder / "half").write_bytes(b'{"x": [%s]}' % b",".join([b"0"] * (USER.values // 2)))
    assert "unknown key" in str(loaded(folder, b'{"include": ["half"]}'))
    assert "at most %d values" % USER.values in str(loaded(folder,
                                                           b'{"include": ["half", "half"]}'))


def test_files_that_include_each_other_in_all_ways_end(folder):
    for number in range(12):
        (folder / ("part%d" % number)).write_text(json.dumps(
            {"include": ["part%d" % other for other in range(12) if other != number]}))
    assert "at most %d included files" % USER.files in str(
        loaded(folder, b'{"include": ["part1"]}'))


def test_problems_are_counted_over_all_files(folder):
    (folder / "bad").write_bytes(b'{"x": [' + b"y," * 90 + b"0]}")
    assert len(loaded(folder, b'{"include": ["bad", "bad", "bad"]}').problems) == MAX_PROBLEMS


def test_the_servers_file_may_be_larger_and_has_bounds_too(tmp_path):
    root = Root(str(tmp_path))
    root.create()
    lines = {"user%05d" % number: "/user%05d/mail" % number for number in range(10000)}
    with open(root.configuration, "w") as file:
        json.dump({"sender-domain": "example.org", "domains": {"example.org": lines}}, file)
    assert os.path.getsize(root.configuration) > USER.octets
    assert len(loader.load_server(root, True).domains["example.org"]) == 10000
    with open(root.configuration, "w") as file:
        file.write('{"x": [' + "0," * SERVER.values + "0]}")
    with pytest.raises(ConfigError, match="at most %d values" % SERVER.values):
        loader.load_server(root, True)
    with open(root.configuration, "w") as file:
        file.truncate(SERVER.octets + 1)
    with pytest.raises(ConfigError, match="at most %d bytes" % SERVER.octets):
        loader.load_server(root, True)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing", "link to itself",
                                  "link outside", "link to bob", "no right"])
def test_what_is_no_file_of_the_user_is_not_read(tmp_path, kind):
    folder = tmp_path / "root" / "alice" / "mail"
    other = tmp_path / "root" / "bob" / "mail"
    folder.mkdir(parents=True)
    other.mkdir(parents=True)
    secret = '{"passphrase": "%s"}' % ("0" * 64)
    (other / "mail.jcfg").write_text(secret)
    (tmp_path / "outside").write_text(secret)
    path = folder / "mail.jcfg"
    if kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no named pipes here")
        os.mkfifo(str(path))
    elif kind == "folder":
        path.mkdir()
    elif kind == "no right":
        if not hasattr(os, "geteuid") or os.geteuid() == 0:
            pytest.skip("root may read everything")
        path.write_text(secret)
        path.chmod(0)
    else:
        path.symlink_to({"link to nothing": "nothing", "link to itself": "mail.jcfg",
                         "link outside": str(tmp_path / "outside"),
                         "link to bob": str(other / "mail.jcfg")}[kind])
    try:
        found = loader.load_user(str(path), Root(str(tmp_path / "root")))
    except (OSError, ConfigError) as error:
        assert secret[-10:-2] not in str(error)
        assert not isinstance(error, OSError) or error.filename == str(path)
    else:
        assert (kind, found.passphrase) in (("link to nothing", None), ("link to bob", "0" * 64))


def test_a_file_that_grows_while_it_is_read(folder):
    path, stop = folder / "mail.jcfg", threading.Event()
    path.write_bytes(b"{}")

    def grow():
        with open(str(path), "ab") as file:
            while not stop.is_set():
                file.write(b" " * 65536)
                if file.tell() > 64 * 1024 * 1024:
                    file.truncate(2)
                    file.seek(2)
    thread = threading.Thread(target=grow)
    thread.start()
    try:
        for _ in range(50):
            try:
                loader.load_user(str(path), Root(str(folder.parent.parent)))
            except ConfigError as error:
                assert "at most" in str(error) or "value" in str(error)
    finally:
        stop.set()
        thread.join()


PIECES = st.sampled_from([
    b"{", b"}", b"[", b"]", b",", b":", b'"', b'"""', b"#", b";", b"//", b"/*", b"*/", b"\n", b"\r",
    b" ", b"\\", b"\\u", b"\\ud800",
    b'"passphrase": ', b'"filters": [', b'"include": [', b'"include-overwrite": ["mail.jcfg"]',
    b'"accounts": [{', b'"type": "match"', b"true",
    b"1e999999", b"-", b"9" * 30, b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\0",
    b"\x01", b"\x7f", b"\xe2\x80\xa8", b"x", b"null"])


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=25).map(b"".join) | st.binary(max_size=60),
       st.sampled_from(sorted(LOADERS)), st.booleans())
def test_any_bytes(folder, data, name, without):
    kept = sys.modules.get("jsoncomment")
    if without:
        sys.modules["jsoncomment"] = None
    try:
        loaded(folder, data, name)
    finally:
        if without:
            sys.modules.pop("jsoncomment")
            if kept is not None:
                sys.modules["jsoncomment"] = kept
