"""LIST and LSUB in all their forms."""
import pytest


@pytest.mark.parametrize("words", ['"" ' + "*" * 8000, '"" (%s)' % " ".join("a" * 4000),
                                   '"%s" *' % ("x" * 8000)])
def test_patterns_that_fill_a_line_of_8000_octets(lasting, words):
    """RFC 2683 3.2.1.5: servers accept such lines."""
    lasting.ok("LIST " + words)
    if "(" not in words:
        lasting.ok("LSUB " + words)


@pytest.mark.parametrize("words", ['"" ' + "*" * 8193, '"" (%s)' % " ".join("a" * 8193),
                                   '"%s" *' % ("x" * 8192)])
def test_patterns_that_no_program_sends(lasting, words):
    assert lasting.ask("LIST " + words)[-1].startswith(b"BAD At most")


@pytest.fixture(scope="module")
def listed(lasting):
    lasting.ok("CREATE Lists/dev/old")
    lasting.ok("CREATE Lists")
    lasting.ok("SUBSCRIBE Lists/dev/old")
    lasting.ok("SUBSCRIBE lost/and/gone")
    for name in ("Archive", "Drafts", "Junk", "Trash"):
        lasting.ok("UNSUBSCRIBE " + name)
    return lasting


def lines(client, command):
    return [line.decode()[2:] for line in client.ok(command)]


def test_list(listed):
    assert lines(listed, 'LIST "" *') == [
        'LIST (\\HasNoChildren) "/" INBOX', 'LIST (\\HasNoChildren \\Archive) "/" Archive',
        'LIST (\\HasNoChildren \\Drafts) "/" Drafts',
        'LIST (\\HasNoChildren \\Junk) "/" Junk', 'LIST (\\HasChildren) "/" Lists',
        'LIST (\\Noselect \\HasChildren) "/" Lists/dev',
        'LIST (\\HasNoChildren) "/" Lists/dev/old', 'LIST (\\HasNoChildren \\Sent) "/" Sent',
        'LIST (\\HasNoChildren \\Trash) "/" Trash']
    assert lines(listed, 'LIST "" ""') == ['LIST (\\Noselect) "/" ""']
    assert lines(listed, 'LIST Lists/ %') == ['LIST (\\Noselect \\HasChildren) "/" Lists/dev']
    assert lines(listed, 'LIST "" nothing') == []
    assert lines(listed, 'LIST "" iNbOx') == ['LIST (\\HasNoChildren) "/" INBOX']


def test_lsub(listed):
    # Where % stops at the parent of a subscribed name, the parent is listed (RFC 3501 6.3.9).
    subscribed = lines(listed, 'LSUB "" *')
    assert 'LSUB () "/" Lists/dev/old' in subscribed and 'LSUB () "/" lost/and/gone' in subscribed
    assert not any("Noselect" in line for line in subscribed)
    above = lines(listed, 'LSUB "" %')
    assert 'LSUB (\\Noselect) "/" Lists' in above and 'LSUB (\\Noselect) "/" lost' in above
    assert lines(listed, 'LSUB "" Lists/%') == ['LSUB (\\Noselect) "/" Lists/dev']


def test_a_new_user_is_subscribed_to_the_first_mailboxes(connect):
    """Claws Mail 4.1.1 sends LSUB before any command that opens a mailbox."""
    assert lines(connect(None), 'LSUB "" %') == [
        'LSUB () "/" ' + name for name in ("Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash")]


def test_list_extended(listed):
    assert lines(listed, 'LIST (SUBSCRIBED) "" (Lists* lost*)') == [
        'LIST (\\Subscribed \\HasNoChildren) "/" Lists/dev/old',
        'LIST (\\NonExistent \\Subscribed \\HasNoChildren) "/" lost/and/gone']
    assert lines(listed, 'LIST (SUBSCRIBED RECURSIVEMATCH) "" %')[-2:] == [
        'LIST (\\Subscribed \\HasNoChildren \\Sent) "/" Sent',
        'LIST (\\NonExistent \\HasChildren) "/" lost ("CHILDINFO" ("SUBSCRIBED"))']
    assert 'LIST (\\HasChildren) "/" Lists ("CHILDINFO" ("SUBSCRIBED"))' in lines(
        listed, 'LIST (RECURSIVEMATCH SUBSCRIBED) "" %')
    assert lines(listed, 'LIST (SPECIAL-USE) "" * RETURN (SUBSCRIBED)')[-2:] == [
        'LIST (\\Subscribed \\HasNoChildren \\Sent) "/" Sent',
        'LIST (\\HasNoChildren \\Trash) "/" Trash']
    assert lines(listed, 'LIST () "" "" RETURN (CHILDREN)') == []
    assert lines(listed, 'LIST (REMOTE) "" INBOX') == ['LIST (\\HasNoChildren) "/" INBOX']
    assert listed.ask('LIST (RECURSIVEMATCH) "" *')[-1].startswith(b"BAD")
    assert listed.ask('LIST (RECURSIVEMATCH REMOTE) "" *')[-1].startswith(b"BAD")


def test_list_status(listed):
    found = lines(listed, 'LIST "" (Lists Lists/dev) RETURN (STATUS (MESSAGES UIDNEXT))')
    assert found == ['LIST (\\HasChildren) "/" Lists', 'STATUS Lists (MESSAGES 0 UIDNEXT 1)',
                     'LIST (\\NonExistent \\HasChildren) "/" Lists/dev']
