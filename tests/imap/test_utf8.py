"""UTF8=ACCEPT (RFC 6855): names and quoted strings in UTF-8 after ENABLE; APPEND's UTF8 (...)."""
import pytest

HEADER = "From: \u00e4 <j\u00f6rg@ex\u00e4mple.org>\r\nSubject: Gr\u00fc\u00dfe \u65e5\r\n\r\n".encode("utf-8")
MESSAGE = HEADER + b"hello\r\n"
NAME = "Entw\u00fcrfe & \u65e5\u672c"
UTF7 = b'"Entw&APw-rfe &- &ZeVnLA-"'
UTF8 = ('"%s"' % NAME).encode("utf-8")


@pytest.fixture
def utf8(connect):
    """A client with UTF8=ACCEPT enabled and no mailbox selected."""
    client = connect(login=False)
    client.log_in()
    assert client.ok("ENABLE UTF8=ACCEPT") == [b"* ENABLED UTF8=ACCEPT"]
    return client


@pytest.fixture
def old(connect):
    """A client without it."""
    return connect()


def body(client, section=b"BODY.PEEK[]", number=1):
    line, = client.ok(b"FETCH %d %b" % (number, section))
    return line.partition(b"\r\n")[2][:-1]


# -- CAPABILITY, ENABLE

def test_it_is_offered_once_logged_in(connect):
    client = connect(login=False)
    assert b"UTF8=" not in client.greeting
    assert b" UTF8=ACCEPT" in client.ask("LOGIN u p")[-1]
    assert b" UTF8=ACCEPT" in client.ok("CAPABILITY")[0]
    assert b"UTF8=ONLY" not in client.ok("CAPABILITY")[0]


def test_enable_in_any_case_with_others(connect):
    client = connect(login=False)
    assert client.ask("ENABLE UTF8=ACCEPT")[-1].startswith(b"BAD")
    client.log_in()
    assert client.ok("ENABLE utf8=Accept UTF8=ONLY CONDSTORE X") == [
        b"* ENABLED UTF8=ACCEPT CONDSTORE"]


def test_enable_is_too_late_once_a_mailbox_is_selected(old):
    assert old.ask("ENABLE CONDSTORE UTF8=ACCEPT")[-1].startswith(b"BAD")
    old.ok("CREATE x&AOQ-")
    assert b"x&AOQ-" in old.ok('LIST "" x*')[0]


# -- mailbox names

@pytest.mark.parametrize("write, read", [(UTF8, UTF8), (b"{%d+}\r\n%b" % (len(UTF8) - 2, UTF8[1:-1]), UTF8)])
def test_names_in_every_command_and_response(utf8, write, read):
    utf8.ok(b"CREATE " + write)
    utf8.ok(b"SUBSCRIBE " + write)
    assert utf8.ok(b'LIST "" ' + write) == [b'* LIST (\\HasNoChildren) "/" ' + read]
    assert utf8.ok(b'LIST "" "*" RETURN (STATUS (MESSAGES))').count(
        b"* STATUS %b (MESSAGES 0)" % read) == 1
    assert utf8.ok(b'LIST (SUBSCRIBED) "" "Entw*"') == [
        b'* LIST (\\Subscribed \\HasNoChildren) "/" ' + read]
    assert utf8.ok(b'LSUB "" ' + write) == [b'* LSUB () "/" ' + read]
    assert utf8.ok(b"STATUS %b (MESSAGES)" % write) == [b"* STATUS %b (MESSAGES 0)" % read]
    assert utf8.append(b"A: b\r\n\r\nx", write.decode("utf-8"))[-1].startswith(b"OK [APPENDUID")
    utf8.ok(b"SELECT " + write)
    utf8.ok(b"COPY 1 " + write)
    utf8.ok(b"MOVE 1 " + write)
    utf8.ok(b"CLOSE")
    utf8.ok(b'RENAME %b "\xc3\xa4/\xe6\x97\xa5"' % write)
    assert utf8.ok('LIST "" "\u00e4/%"') == ['* LIST (\\HasNoChildren) "/" "\u00e4/\u65e5"'.encode()]
    assert utf8.ok('LIST "\u00e4" "/%"') == ['* LIST (\\HasNoChildren) "/" "\u00e4/\u65e5"'.encode()]
    utf8.ok(b"UNSUBSCRIBE " + write)
    utf8.ok('DELETE "\u00e4/\u65e5"')
    assert utf8.ok('LIST "" "\u00e4*"') == []
    assert utf8.ok("NAMESPACE") == [b'* NAMESPACE (("" "/")) NIL NIL']


def test_the_same_mailbox_for_old_and_new_clients(utf8, old):
    utf8.ok(b"CREATE " + UTF8)
    assert old.ok('LIST "" Entw*') == [b'* LIST (\\HasNoChildren) "/" ' + UTF7]
    old.ok(b"CREATE a&AOQ-b&-c")
    assert utf8.ok('LIST "" a*') == ['* LIST (\\HasNoChildren) "/" "a\u00e4b&c"'.encode("utf-8")]


def test_modified_utf7_means_nothing_after_enable(utf8, old):
    utf8.ok(b"CREATE a&AOQ-")
    assert utf8.ok('LIST "" a*') == [b'* LIST (\\HasNoChildren) "/" a&AOQ-']
    assert old.ok('LIST "" a*') == [b'* LIST (\\HasNoChildren) "/" a&-AOQ-']
    assert utf8.ask('SELECT "a\u00e4"')[-1].startswith(b"NO [NONEXISTENT]")


def test_a_quoted_utf8_name_before_enable(old):
    old.ok(b"CREATE " + UTF8)
    assert old.ok('LIST "" Entw*') == [b'* LIST (\\HasNoChildren) "/" ' + UTF7]
    old.ok(b"SELECT " + UTF8)


@pytest.mark.parametrize("command", [
    b'SELECT "%b"', b'CREATE "%b"', b'LIST "" "%b"', b'LIST "%b" ""', b'STATUS "%b" (MESSAGES)',
    b'SEARCH SUBJECT "%b"', b'ID ("name" "%b")'])
@pytest.mark.parametrize("octets", [b"\xe4", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])
def test_quoted_octets_that_are_no_utf8(utf8, command, octets):
    utf8.ok("SELECT INBOX")
    assert utf8.ask(command % octets)[-1].startswith(b"BAD")


def test_a_name_as_a_literal_that_is_no_utf8(utf8):
    assert utf8.ask(b"SELECT {1+}\r\n\xe4")[-1].startswith(b"NO [CANNOT]")


@pytest.mark.parametrize("name", ["a\x80", "a\x9f", "\u2028", "a\u2029b", "a\x01", "a\x7f"])
def test_characters_that_no_new_name_may_have(utf8, name):
    assert utf8.ask('CREATE "%s"' % name)[-1].startswith(b"NO [CANNOT]")
    utf8.ok("CREATE a")
    assert utf8.ask('RENAME a "%s"' % name)[-1].startswith(b"NO [CANNOT]")
    assert utf8.ask('RENAME INBOX "%s"' % name)[-1].startswith(b"NO [CANNOT]")


# -- SEARCH

def test_search_in_utf8_without_a_charset(utf8):
    utf8.ok("SELECT INBOX")
    utf8.ok(b"APPEND INBOX UTF8 (~{%d+}\r\n%b)" % (len(MESSAGE), MESSAGE))
    assert utf8.ok('SEARCH SUBJECT "gr\u00fcsse"') == [b"* SEARCH 1"]
    assert utf8.ok('UID SEARCH FROM "j\u00f6rg@ex\u00e4mple"') == [b"* SEARCH 1"]
    assert utf8.ask("SEARCH CHARSET UTF-8 ALL")[-1].startswith(b"BAD")
    assert utf8.ask("UID SEARCH RETURN (ALL) CHARSET US-ASCII ALL")[-1].startswith(b"BAD")
    assert utf8.ok("SORT (SUBJECT) UTF-8 ALL") == [b"* SORT 1"]  # RFC 5256: it must have one


def test_search_with_a_charset_before_enable(old):
    assert old.ok("SEARCH CHARSET UTF-8 ALL") == [b"* SEARCH"]


# -- APPEND

@pytest.mark.parametrize("mark", [b"~{%d+}", b"~{%d}"])
def test_append_utf8(utf8, mark):
    utf8.send(b'a APPEND INBOX (\\Seen) " 1-Feb-2020 12:00:00 +0000" UTF8 (' + mark % len(MESSAGE) + b"\r\n")
    if b"+" not in mark:
        assert utf8.line().startswith(b"+ ")
    utf8.send(MESSAGE + b")\r\n")
    assert utf8.until(b"a ")[-1].startswith(b"a OK [APPENDUID ")
    utf8.ok("SELECT INBOX")
    assert body(utf8) == MESSAGE
    line, = utf8.ok("FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)")
    assert b"\\Seen" in line and b"01-Feb-2020 12" in line and b"SIZE %d)" % len(MESSAGE) in line


def test_append_with_8bit_headers_as_a_plain_literal_after_enable(utf8):
    assert utf8.append(MESSAGE)[-1].startswith(b"OK")


@pytest.mark.parametrize("sent, kept", [
    (b"UTF8 (" + MESSAGE + b")", MESSAGE), (b"UTF8 (A: b", b"A: b"), (b"UTF8 )", b"UTF8 )"),
    (b"UTF8", b"UTF8"), (b"UTF8 (", b""), (MESSAGE + b")", MESSAGE + b")")])
@pytest.mark.parametrize("cut", [1, 3, 6, 1000])
def test_imaplib_puts_the_extension_into_the_literal(utf8, sent, kept, cut):
    utf8.send(b"a APPEND INBOX {%d+}\r\n" % len(sent))
    for start in range(0, len(sent), cut):
        utf8.send(sent[start:start + cut])
    utf8.send(b"\r\n")
    assert utf8.until(b"a ")[-1].startswith(b"a OK")
    utf8.ok("SELECT INBOX")
    assert body(utf8) == kept


def test_before_enable_it_is_left_alone(old):
    assert old.append(b"UTF8 (A: b\r\n)")[-1].startswith(b"OK")
    assert body(old) == b"UTF8 (A: b\r\n)"


@pytest.mark.parametrize("header", [
    HEADER, b"Subject: \xe4\r\n\r\n", b"A: b\n\xff\n\n", b"\xe4", b"A: b\r\n\t\x80\r\n\r\n",
    b"A: " + b"x" * 300000 + b"\xe4\r\n\r\n"])
def test_8bit_headers_before_enable(old, tmp_path, header):
    """As UTF-8 they are refused; as they are in old mail that is copied here, they are kept."""
    message = header + b"text\r\n"
    assert old.ask(b"APPEND INBOX UTF8 (~{%d+}\r\n%b)" % (len(message), message))[-1].startswith(
        b"NO [CANNOT]")
    assert old.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]
    assert not list((tmp_path / "mail" / "tmp").iterdir())
    assert old.append(message)[-1].startswith(b"OK")
    assert body(old) == message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@pytest.mark.parametrize("message", [b"A: b\r\n\r\n\xe4\r\n", b"\r\n\xe4", b"\n\xe4", b"A: b\n\n\xe4"])
def test_8bit_bodies_before_enable(old, message):
    assert old.append(message)[-1].startswith(b"OK")
    assert old.ask(b"APPEND INBOX UTF8 (~{%d+}\r\n%b)" % (len(message), message))[-1].startswith(b"OK")


@pytest.mark.parametrize("rest", [b"", b"))", b" )", b")x", b") x", b" x)"])
def test_append_utf8_with_a_wrong_end(utf8, rest):
    assert utf8.ask(b"APPEND INBOX UTF8 (~{5+}\r\nA: b\n" + rest)[-1].startswith(b"BAD")
    assert utf8.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


@pytest.mark.parametrize("head", [b"UTF8 ({5+}", b"UTF8 ~{5+}", b"UTF8(~{5+}", b"UTF8 (  ~{5+}",
                                  b"UTF9 (~{5+}"])
def test_append_utf8_with_a_wrong_head(utf8, head):
    assert utf8.ask(b"APPEND INBOX " + head + b"\r\nA: b\n)")[-1].startswith(b"BAD")
    utf8.ok("NOOP")


def test_append_utf8_of_nothing_and_to_nowhere(utf8):
    assert utf8.ask(b"APPEND INBOX UTF8 (~{0+}\r\n)")[-1].startswith(b"NO")
    assert utf8.ask(b'APPEND "\xc3\xa4" UTF8 (~{5+}\r\nA: b\n)')[-1].startswith(b"NO [TRYCREATE]")


# -- FETCH

def test_headers_in_utf8(utf8, old):
    """8-bit strings are literals, which both kinds of clients can read (RFC 3501 4.3)."""
    utf8.ok(b"APPEND INBOX UTF8 (~{%d+}\r\n%b)" % (len(MESSAGE), MESSAGE))
    utf8.ok("SELECT INBOX")
    old.ok("NOOP")
    for client in (utf8, old):
        line, = client.ok("FETCH 1 ENVELOPE")
        assert "{11}\r\nGr\u00fc\u00dfe \u65e5".encode() in line and b"\r\nj\xc3\xb6rg" in line
        assert body(client, b"BODY.PEEK[HEADER]") == HEADER
        assert body(client, b"BODY.PEEK[HEADER.FIELDS (Subject)]").startswith(b"Subject: Gr\xc3\xbc")


# -- logging in (section 5)

def test_utf8_in_authenticate(connect, server):
    server.directory.users["\u00e4@b"] = "p\u00e4ss", server.directory.users["u"][1]
    client = connect(login=False, server=server._replace(plaintext_auth=True))
    client.ok(b"AUTHENTICATE PLAIN AMOkQGIAcMOkc3M=")


def test_only_ascii_letters_fold_in_inbox(utf8):
    """Python makes an I of U+0131, so it would be INBOX in upper case."""
    name = "\u0131nbox"
    utf8.ok('CREATE "%s"' % name)
    utf8.ok('RENAME "%s" "%s/"' % (name, name + "2"))
    utf8.ok('RENAME "%s2" "%s/"' % (name, name))
    utf8.append(MESSAGE, '"%s"' % name)
    assert utf8.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]
    utf8.ok('SUBSCRIBE "%s/"' % name)
    assert utf8.ok('LSUB "" "%s"' % name)
    utf8.ok('DELETE "%s"' % name)
