"""FETCH's items: macros, sections, partial reads, and the label each answer carries."""
import pytest

from phenmail_protocols.imap.commands import fetch
from phenmail_protocols.imap.fetching import derivations
from phenmail_protocols.imap.syntax import fetch_grammar
from phenmail_protocols.imap.syntax.tokens import BadSyntax, Scanner
from phenmail_protocols.imap.syntax.values import Section

NONE = frozenset()


def items(*parts):
    scan = Scanner(list(parts))
    found = fetch_grammar.attributes(scan)
    scan.end()
    return found


@pytest.mark.parametrize("line, found", [
    (b"ALL", ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE")),
    (b"fast", ("FLAGS", "INTERNALDATE", "RFC822.SIZE")),
    (b"Full", ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY")),
    (b"UID", ("UID",)), (b"(uid)", ("UID",)), (b"(UID FLAGS uid)", ("UID", "FLAGS")),
    (b"(ENVELOPE BODY BODYSTRUCTURE INTERNALDATE RFC822.SIZE)",
     ("ENVELOPE", "BODY", "BODYSTRUCTURE", "INTERNALDATE", "RFC822.SIZE")),
    (b"preview", ("PREVIEW",)), (b"PREVIEW (lazy)", ("PREVIEW (LAZY)",)),
    (b"(UID preview (LAZY lazy) PREVIEW FLAGS)", ("UID", "PREVIEW (LAZY)", "PREVIEW", "FLAGS")),
])
def test_simple_items(line, found):
    assert items(line) == found


@pytest.mark.parametrize("line, section", [
    (b"BODY[]", Section(False, (), None, NONE, None, b"BODY[]")),
    (b"body.peek[]", Section(True, (), None, NONE, None, b"BODY[]")),
    (b"BODY[]<0.65536>", Section(False, (), None, NONE, (0, 65536), b"BODY[]<0>")),
    (b"BODY.PEEK[1.2.3]", Section(True, (1, 2, 3), None, NONE, None, b"BODY[1.2.3]")),
    (b"BODY[header]", Section(False, (), "HEADER", NONE, None, b"BODY[HEADER]")),
    (b"BODY[TEXT]<4294967295.4294967295>", Section(False, (), "TEXT", NONE,
                                                   (4294967295, 4294967295),
                                                   b"BODY[TEXT]<4294967295>")),
    (b"BODY[1.mime]", Section(False, (1,), "MIME", NONE, None, b"BODY[1.MIME]")),
    (b"BODY[4.2.Text]", Section(False, (4, 2), "TEXT", NONE, None, b"BODY[4.2.TEXT]")),
    (b"BODY[2.HEADER]", Section(False, (2,), "HEADER", NONE, None, b"BODY[2.HEADER]")),
    (b"BODY.PEEK[HEADER.FIELDS (To From)]",
     Section(True, (), "HEADER.FIELDS", frozenset((b"to", b"from")), None,
             b"BODY[HEADER.FIELDS (To From)]")),
    (b"BODY[3.HEADER.FIELDS.NOT (X-A)]<1.2>",
     Section(False, (3,), "HEADER.FIELDS.NOT", frozenset((b"x-a",)), (1, 2),
             b"BODY[3.HEADER.FIELDS.NOT (X-A)]<1>")),
    (b'BODY[HEADER.FIELDS ("To" "a\\"b" "c d")]',
     Section(False, (), "HEADER.FIELDS", frozenset((b"to", b'a"b', b"c d")), None,
             b'BODY[HEADER.FIELDS (To "a\\"b" "c d")]')),
    (b"RFC822", Section(False, (), None, NONE, None, b"RFC822")),
    (b"rfc822.header", Section(True, (), "HEADER", NONE, None, b"RFC822.HEADER")),
    (b"RFC822.TEXT", Section(False, (), "TEXT", NONE, None, b"RFC822.TEXT")),
])
def test_sections(line, section):
    for form in (line, b"(" + line + b")", b"(" + line + b" " + line + b")"):
        assert items(form) == (section,)
    assert items(b"(UID " + line + b" FLAGS)") == ("UID", section, "FLAGS")


def test_field_names_may_be_literals():
    assert items(b"BODY[HEADER.FIELDS (", b"X y", b" To)]") == (
        Section(False, (), "HEADER.FIELDS", frozenset((b"x y", b"to")), None,
                b'BODY[HEADER.FIELDS ("X y" To)]'),)


@pytest.mark.parametrize("literal", [b"a\r\nb", b"a\nb", b"a\0b", b"a\xe9"])
def test_a_field_name_that_would_break_the_answers_line_is_refused(literal):
    with pytest.raises(BadSyntax):
        items(b"BODY[HEADER.FIELDS (", literal, b")]")


@pytest.mark.parametrize("label", [b"BODY[HEADER.FIELDS (To From)]",
                                   b'BODY[1.HEADER.FIELDS.NOT ("a b" "\\\\")]', b"BODY[1.2.MIME]",
                                   b"BODY[]"])
def test_a_label_reads_back_as_the_section(label):
    (section,) = items(label)
    assert section.label == label and items(section.label) == (section,)


@pytest.mark.parametrize("line", [
    b"", b"()", b"(", b"(UID", b"UID FLAGS", b"( UID)", b"(UID )", b"(UID  FLAGS)", b"(ALL)",
    b"(FAST UID)", b"ALL]", b"FOO", b"BODYSTRUCTUR",
    b"UID[]", b"RFC822[]", b"BODY.PEEK", b"BODY[", b"BODY[]]", b"BODY[0]", b"BODY[01]", b"BODY[1.]",
    b"BODY[.1]", b"BODY[1..2]", b"BODY[MIME]",
    b"BODY[1.FOO]", b"BODY[TEXT.1]", b"BODY[HEADER.FIELDS]", b"BODY[HEADER.FIELDS ()]",
    b"BODY[HEADER.FIELDS (]", b"BODY[HEADER.FIELDS(To)]",
    b"BODY[HEADER.FIELDS (To From]", b"BODY[1HEADER]", b"BODY[]<>", b"BODY[]<0>", b"BODY[]<0.0>",
    b"BODY[]<.5>", b"BODY[]<0.5", b"BODY[]<-1.5>",
    b"BODY[]<0.4294967296>", b"BODY[] <0.5>", b"BODY[99999999999]", b"BODY [TEXT]", b"MODSEQ (5)",
    b"BODY[TEXT]<0.5>x",
])
def test_invalid_items(line):
    with pytest.raises(BadSyntax):
        items(line)


@pytest.mark.parametrize("item", [b"", b" UID", b"ALL", b"(FLAGS)", b"BODY.PEEK", b"BODY[0]",
                                  b"BODY[HEADER.FIELDS ()]", b"BODY[]<0.0>", b"UID[]"])
def test_invalid_items_in_a_list(item):
    for form in (b"(UID " + item + b")", b"(" + item + b" UID)"):
        with pytest.raises(BadSyntax):
            items(form)


def test_an_error_in_a_list_points_at_the_item():
    with pytest.raises(BadSyntax) as failed:
        items(b"(UID FLAGZ)")
    assert failed.value.text == b"expected a FETCH item at octet 6"


def test_every_item_of_the_grammar_has_a_value():
    known = set(fetch.COLUMNS) | set(derivations.ITEMS)
    assert known == set(fetch_grammar.ITEMS) | {fetch_grammar.LAZY_PREVIEW}
