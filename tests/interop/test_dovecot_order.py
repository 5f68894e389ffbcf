"""SORT, THREAD, ESEARCH and CONDSTORE beside Dovecot, on copies of one Maildir."""
import random
import shutil

import pytest

from tests.interop.house import ok
from tests.interop.test_dovecot import dovecot  # noqa: F401 - a fixture

# Sharp s is "ss" to us and a letter of its own to Dovecot: so no subject here has both.
SUBJECTS = ("", "Lunch", "lunch", "Re: Lunch", "RE: [list] Lunch", "Fwd: Lunch (fwd)",
            "[list] Lunch",
            "[fwd: Lunch]", "Re[2]: Lunch", "Dinner", "re: re: Dinner", "[a] [b] Dinner",
            "=?utf-8?q?Stra=C3=9Fe?=", "Re: =?iso-8859-1?q?Stra=DFe?=", "=?utf-8?q?STRA=C3=9FE?=",
            "Reply", "  Lunch  ")
PEOPLE = ("ann@example.org", "Bob <bob@example.org>", '"Zoe, Q" <ann@other.example>', "carl@x",
          "=?utf-8?q?=C3=84nne?= <b@y>", "Team: d@e, f@g;", "ANN@example.org", "")
DATES = ("Mon, 1 Jan 2001 00:00:00 +0000", "Mon, 1 Jan 2001 00:00:00 -0800",
         "Tue, 2 Jan 2001 12:00:00 +0200", "1 Feb 2002 10:00 EST", "Fri, 01 Mar 2002 10:00:00 GMT",
         "")


def letter(dice, number, known):
    """A message that may answer some of the `known` Message-IDs."""
    fields = [("Subject", dice.choice(SUBJECTS)), ("From", dice.choice(PEOPLE)),
              ("To", dice.choice(PEOPLE)), ("Cc", dice.choice(PEOPLE)),
              ("Date", dice.choice(DATES))]
    if dice.random() < .9:
        fields.append(("Message-ID", "<%d@here>" % (number if dice.random() < .95 else 1)))
    if dice.random() < .6:
        chosen = [dice.choice(known) for _ in range(dice.randint(1, 4))]
        fields.append(("References", " ".join("<%s>" % each for each in chosen)))
    elif dice.random() < .4:
        fields.append(("In-Reply-To", "Your mail <%s> of Monday" % dice.choice(known)))
    header = "".join("%s: %s\r\n" % field for field in fields if field[1])
    return (header + "\r\n" + "x" * dice.randint(0, 99) + "\r\n").encode()


def answers(client, command):
    """The untagged data of a command, without the tag that ESEARCH repeats."""
    name, _, rest = command.partition(" ")
    kind, data = client.uid(name, rest) if name != "STATUS" else client.status("INBOX", rest)
    assert kind == "OK", (command, data)
    found = client.untagged_responses
    client.untagged_responses = {}
    key = name if "RETURN" not in command else "ESEARCH"
    lines = data if key == name else found.get(key, [])
    if key == "ESEARCH":  # (name, value) in any order (RFC 4466 2.6.2)
        words = lines[0].partition(b")")[2].split()
        assert words.pop(0) == b"UID"
        return sorted(zip(words[::2], words[1::2]))
    return [line for line in lines if line]


COMMANDS = (
    ["SORT (%s) UTF-8 ALL" % each for each in (
        "SUBJECT", "REVERSE SUBJECT", "FROM", "TO", "CC", "SIZE", "ARRIVAL", "DATE", "REVERSE DATE",
        "SUBJECT REVERSE DATE", "DISPLAYFROM", "DISPLAYTO", "FROM SIZE REVERSE SUBJECT")]
    + ["THREAD %s UTF-8 ALL" % each for each in ("REFERENCES", "ORDEREDSUBJECT")]
    + ["THREAD REFERENCES UTF-8 SUBJECT Lunch", "SORT (DATE) UTF-8 FROM ann",
       "SEARCH RETURN (MIN MAX COUNT ALL) SUBJECT Lunch", "SEARCH RETURN () FROM ann",
       "SEARCH RETURN (COUNT) SUBJECT nothing",
       "SORT RETURN (MIN MAX COUNT ALL) (SUBJECT) UTF-8 ALL"])


@pytest.mark.parametrize("seed", range(6))
def test_the_same_order_and_the_same_threads(house, user, dovecot, tmp_path, seed):  # noqa: F811
    dice = random.Random(seed)
    client = house.imap(user, "INBOX")
    known = ["%d@here" % number for number in range(30)] + ["%d@elsewhere" % number
                                                            for number in range(6)]
    for number in range(40):
        day = dice.randint(1, 28)
        ok(client.append("INBOX", None, '"%02d-Jan-2003 00:00:00 +0000"' % day,
                         letter(dice, number, known)))
    copy = str(tmp_path / "copy")
    shutil.copytree(user.folder, copy)
    other = dovecot(copy).connect()
    ok(other.select("INBOX"))
    ok(client.noop())
    client.untagged_responses = {}
    different = {}
    for command in COMMANDS:
        ours, theirs = answers(client, command), answers(other, command)
        if ours != theirs:
            different[command] = ours, theirs
    assert different == {}
    other.logout()
    client.logout()
