"""The MIME scanner: trees of valid and broken messages, limits, and any cut of the chunks."""
import json
import os
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail.structure import Limits, leaves, scan

from .samples import NESTED, UGLY, multipart, wire


def body(data, part):
    return data[part.body:part.end]


def outline(part):
    """A part as nested tuples that two scans can be compared by."""
    return (part.start, part.body, part.end, part.lines, part.type, part.subtype, part.params,
            part.id, part.encoding, part.disposition,
            part.header, [outline(child) for child in part.parts],
            part.message and outline(part.message))


def everyone(part):
    yield part
    for child in list(part.parts) + ([part.message] if part.message else []):
        for below in everyone(child):
            yield below


def check_nesting(part, size):
    """Offsets ascend, children lie in order inside their parent's body, lines are at most bytes."""
    assert 0 <= part.start <= part.body <= part.end <= size
    assert 0 <= part.lines <= part.end - part.body
    floor = part.body
    for child in list(part.parts) + ([part.message] if part.message else []):
        assert floor <= child.start and child.end <= part.end
        floor = child.end
        check_nesting(child, size)
    assert (part.type.lower() == b"multipart") == bool(part.parts)


def test_tree_of_a_nested_message():
    root = scan(NESTED)
    assert root.media_type() == b"multipart/mixed" and root.end == len(NESTED)
    alternative, message, pdf = root.parts
    plain, html = alternative.parts
    assert (body(NESTED, plain), plain.lines) == (b"one\r\ntwo", 1)
    assert NESTED[plain.start:plain.body] == b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
    assert body(NESTED, html) == b"<p>" and html.params == ((b"charset", b"us-ascii"),)
    assert body(NESTED, alternative).endswith(b"--outer inner--\r\nepilogue of inner")
    assert body(NESTED, message) == b"From: b@example.org\r\nSubject: inside\r\n\r\nbody inside"
    assert message.lines == 3 and body(NESTED, message.message) == b"body inside"
    assert message.message.header == b"From: b@example.org\r\nSubject: inside\r\n"
    assert (pdf.encoding, pdf.id, pdf.params) == (b"BASE64", b"<x@y>", ((b"name", b"a;b.pdf"),))
    assert pdf.disposition == (b"attachment", ((b"filename*", b"utf-8''a%20b.pdf"),))
    assert root.header == wire("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=outer\n")
    assert plain.header is None


def test_single_part_defaults():
    data = b"Subject: x\r\n\r\none\r\ntwo\r\n"
    root = scan(data)
    assert (root.media_type(), root.params,
            root.encoding) == (b"text/plain", ((b"charset", b"us-ascii"),), b"7bit")
    assert (root.body, root.end, root.lines, root.parts,
            root.message) == (14, len(data), 2, (), None)
    assert (root.id, root.description, root.md5, root.disposition, root.languages,
            root.location) == (None, None, None, None, (), None)


@pytest.mark.parametrize("name, bodies", [
    ("empty", [b""]),
    ("only an empty line", [b""]),
    ("no body", [b""]),
    ("no line end", [b""]),
    ("no header", [b"body\r\n"]),
    ("lf only", [b"hi"]),
    ("no boundary parameter", [b""]),
    ("empty boundary", [b""]),
    ("wrong boundary", [b""]),
    ("no final boundary", [b"x", b"y\r\n"]),
    ("header cut by boundary", [b"", b"y"]),
    ("boundary at once", [b"", b"", b""]),
    ("boundary at the very end", [b"x"]),
    ("boundary line with blanks", [b"x"]),
    ("junk after boundary", [b"x"]),
    ("same boundary twice", [b"inner", b"outer"]),
    ("inner never closed", [b"inner", b"outer"]),
    ("prefix boundaries", [b"inner", b"outer"]),
    ("digest", [b"first", b"second"]),
    ("message in message", [b"x"]),
    ("message without anything", [b""]),
    ("encoded message", [b"", b"x"]),
    ("long boundary", [b"x"]),
    ("folded boundary", [b"x"]),
    ("broken type", [b"x"]),
])
def test_leaves_of_ugly_messages(name, bodies):
    data = UGLY[name]
    assert [body(data, part) for part in leaves(scan(data))] == bodies


def test_header_that_a_boundary_cuts_off_keeps_its_fields():
    data = UGLY["header cut by boundary"]
    first = scan(data).parts[0]
    assert first.media_type() == b"text/html"
    assert data[first.start:first.body] == b"Content-Type: text/html"


def test_digest_parts_are_messages_by_default():
    first, second = scan(UGLY["digest"]).parts
    assert first.media_type() == b"message/rfc822" and first.message.header == b"Subject: one\r\n"
    assert second.media_type() == b"text/plain" and second.message is None


def test_the_boundary_that_fits_longest_wins():
    outer = scan(UGLY["prefix boundaries"])
    assert [len(part.parts) for part in outer.parts] == [1, 0]


def test_a_message_with_neither_mime_version_nor_type_is_no_mime():
    assert scan(b"Content-Transfer-Encoding: base64\r\n\r\nx").encoding == b"7bit"
    assert scan(
        b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nx").encoding == b"base64"
    assert scan(multipart("Content-Transfer-Encoding: base64\n\nx")).parts[0].encoding == b"base64"


@pytest.mark.parametrize("name", sorted(UGLY))
def test_chunks_of_any_cut_give_the_same_tree(name):
    data = UGLY[name]
    whole = scan(data)
    check_nesting(whole, len(data))
    for size in (1, 2, 3, 7, 64):
        chunks = [data[i:i + size] for i in range(0, len(data), size)]
        assert outline(scan(iter(chunks))) == outline(whole), "chunks of %d" % size


def test_chunks_larger_than_the_window():
    filler = b"\r\n".join([b"-" * 70] * 1500)
    data = multipart("\nFILL", "Content-Type: message/rfc822\n\nSubject: s\n\nFILL",
                     "\nFILL").replace(b"FILL", filler)
    whole = scan(data)
    assert [len(body(data, part)) for part in leaves(whole)] == [len(filler)] * 3
    assert whole.parts[0].lines == 1499
    for size in (997, 65535, 65536, 65537, 200000):
        assert outline(scan(data[i:i + size] for i in range(0, len(data),
                                                            size))) == outline(
            whole), "chunks of %d" % size


# Words that make delimiters, headers and their near misses likely.
_WORDS = st.sampled_from([
    b"\r\n", b"\r\n", b"\n", b"\r", b"--", b"--a", b"--ab", b"--a--", b"\r\n--a\r\n",
    b"\r\n--ab\r\n", b"\r\n--a--\r\n", b"\r\n\r\n",
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n",
    b"Content-Type: multipart/digest; boundary=\"ab\"\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\n", b"Content-Type: text/plain\r\n", b"Content-Type:",
    b"x", b" ", b"\0", b"\xff"])
MESSAGES = st.lists(_WORDS | st.binary(max_size=8), max_size=40).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(MESSAGES, st.integers(1, 50))
def test_any_bytes_give_a_nested_tree_whatever_the_chunks(data, size):
    whole = scan(data)
    assert whole.end == len(data)
    check_nesting(whole, len(data))
    assert outline(scan(data[i:i + size] for i in range(0, len(data), size))) == outline(whole)


@settings(max_examples=100, deadline=None)
@given(MESSAGES, st.integers(1, 4), st.integers(1, 5), st.integers(0, 80), st.integers(0, 200))
def test_limits_hold_for_any_bytes(data, depth, parts, header, all_headers):
    limits = Limits(depth, parts, header, all_headers)
    whole = scan(data, limits)
    check_nesting(whole, len(data))
    real = [part for part in everyone(whole) if part.body > part.start]
    assert len(real) <= parts and all(len(part.header or b"") <= header for part in everyone(whole))
    assert outline(scan((data[i:i + 3] for i in range(0, len(data), 3)), limits)) == outline(whole)


def test_beyond_the_part_limit_the_rest_is_one_leaf():
    data = multipart(*["\n%d" % number for number in range(20)])
    root = scan(data, Limits(parts=5))
    assert len(root.parts) == 4
    assert body(data,
                root.parts[-1]).startswith(b"3\r\n--b\r\n\r\n4") and root.parts[-1].end == len(data)


def test_ten_thousand_parts():
    data = multipart(*["\n%0100d" % number for number in range(12000)])
    assert len(scan(data).parts) == 9999


def test_small_parts_in_their_thousands_are_not_taken_in():
    """What is taken in costs no more than an honest message of that size, and a little beside."""
    data = multipart(*["\n%d" % number for number in range(12000)])
    root = scan(data)
    assert 1000 < len(root.parts) < 3000 and root.parts[-1].end == len(data)
    assert outline(scan(data[at:at + 1000] for at in range(0, len(data), 1000))) == outline(root)
    assert len(scan(multipart(*["Content-Type: a/b%s\n\n%s"
                                % ("; c=d" * 5, "x" * 1000)] * 2000)).parts) == 2000


def test_beyond_the_depth_limit_the_rest_is_one_leaf():
    data = wire('Content-Type: multipart/mixed; boundary="b0000"\n\n' + "".join(
        '--b%04d\nContent-Type: multipart/mixed; boundary="b%04d"\n\n' % (level, level + 1)
        for level in range(2000)))
    part, depth = scan(data), 1
    while part.parts:
        part, depth = part.parts[0], depth + 1
    assert (depth, part.media_type(), part.end) == (50, b"application/octet-stream", len(data))
    messages = wire("Content-Type: message/rfc822\n\n" * 2000)
    part, depth = scan(messages), 1
    while part.message:
        part, depth = part.message, depth + 1
    assert (depth, part.media_type()) == (50, b"application/octet-stream")


def test_a_huge_header_is_passed_and_read_as_far_as_the_limit():
    data = b"Content-Type: text/html\r\nX: " + b"a" * 100000 + b"\r\nContent-ID: <late>\r\n\r\nbody"
    root = scan((data[i:i + 1000] for i in range(0, len(data), 1000)), Limits(header=4096))
    assert (root.media_type(), root.id, len(root.header),
            data[root.body:]) == (b"text/html", b"<late>", 45, b"body")
    data = data.replace(b"X:", b"Content-Description:")
    root = scan((data[i:i + 1000] for i in range(0, len(data), 1000)), Limits(header=4096))
    assert (root.media_type(), root.id, len(root.header),
            data[root.body:]) == (b"text/html", None, 4096, b"body")
    assert len(root.description) == 4096 - len(b"Content-Type: text/html\r\nContent-Description: ")


def test_fields_behind_megabytes_of_recipients_are_read():
    data = (b"To: %s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--"
            % b"\r\n ".join([b"a@example.org,"] * 200000))
    root = scan(data[at:at + 100000] for at in range(0, len(data), 100000))
    assert body(data, root.parts[0]) == b"x" and len(root.header) < 100
    inside = scan(b"Content-Type: message/rfc822\r\n\r\n" + data)
    assert inside.message.parts[0].lines == 0 and len(inside.message.header) == 65536


def test_boundaries_that_never_come_do_not_cost_the_rest_each():
    """Quadratic search would take minutes here, linear takes well under a second."""
    inner = "Content-Type: multipart/mixed; boundary=never%d\n\n" + "x" * 2000
    data = multipart(*[inner % number for number in range(5000)])
    started = time.process_time()
    assert len(scan(data).parts) == 5000
    assert time.process_time() - started < 8


CORPUS = os.path.join(os.path.dirname(__file__), "..", "..", "..", "shared", "corpus")


@pytest.mark.skipif(not os.path.isdir(CORPUS), reason="no corpus beside the repository")
def test_leaf_sizes_as_another_server_reads_them():
    """Every leaf's section number and size, compared with the recorded BODYSTRUCTUREs.

    One message differs: a delimiter cuts off a header, and the line end before it belongs to the
    delimiter (RFC 2046 section 5.1.1), not to the body.
    """
    differing = []
    with open(os.path.join(CORPUS, "dovecot.jsonl")) as lines:
        recorded = [json.loads(line) for line in lines]
    for record in recorded:
        with open(os.path.join(CORPUS, "messages", record["file"]), "rb") as file:
            data = re.sub(rb"\r?\n", b"\r\n", file.read())
        if sizes_recorded(record["bodystructure"]) != sizes_here(scan(data)):
            differing.append(record["file"])
    assert differing == ["attachment_2_base64.eml"]


def sizes_recorded(structure):
    if not isinstance(structure[0], list):
        return [structure[6]]
    return [sizes_recorded(child) for child in structure if isinstance(child, list) and child
            and isinstance(child[0], (list, str))
            and len(child) > 7 or isinstance(child, list) and child and isinstance(child[0], list)]


def sizes_here(part):
    return [sizes_here(child) for child in part.parts] or [part.end - part.body]
