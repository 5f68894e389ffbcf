"""Programs that nobody here wrote judge what left this server, by a DNS that serves what the word
`dns` prints."""
import email.utils
import re

import pytest

from tests.interop import judges, nexthops
from tests.interop.house import DOMAIN
from tests.interop.test_relay import sending  # noqa: F401 (a fixture)

HELO = "mail." + DOMAIN
# What the owner of the machine knows besides: its address. It has to look like one on the Internet;
# nobody talks to it.
IP = "93.184.215.14"
OWN = "%s. IN A %s\n" % (HELO, IP)
_MIME = "MIME-Version: 1.0\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n"
_TEXT = ("Hello Ann,\r\n\r\nshall we meet for lunch on Friday? I know a good place by the "
         "river.\r\n\r\nSee you\r\n")


def letters(author):
    def letter(subject, text, kind, encoding):
        return (
            "From: User One <%s>\r\nTo: Ann <ann@%s>\r\nSubject: %s\r\nDate: %s\r\n"
            "Message-ID: <%s>\r\n%s\r\n%s" % (
            author, nexthops.DOMAIN, subject, email.utils.formatdate(localtime=False),
            "%s.4711@%s" % (subject.replace(" ", "."), HELO), _MIME % (kind, encoding),
            text)).encode("utf-8")

    return {
        "plain": letter("lunch on Friday", _TEXT, "text/plain; charset=us-ascii", "7bit"),
        "8bit": letter("lunch on Saturday", _TEXT.replace("lunch", "caf\u00e9"),
                       "text/plain; charset=utf-8", "8bit"),
        "parts": letter("the picture",
                        "--=x\r\nContent-Type: text/plain\r\n\r\n%s\r\n--=x\r\n"
                        "Content-Type: application/pdf; "
                        "name=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                        "JVBERi0xLjQKJeLjz9MK\r\n--=x--\r\n" % _TEXT,
                        'multipart/mixed; boundary="=x"', "7bit")}


class Sent:
    """What one server sent, as it arrived next door without the next door's own fields; and the DNS
    that judges ask."""

    def __init__(self, house, hop):
        self.house = house
        self.letters = letters(house.author.address)
        for letter in self.letters.values():
            house.send(letter, "ann", options=["BODY=8BITMIME"])
        self.arrived = [_as_sent(each) for each in hop.arrived("ann", len(self.letters))]
        self.zone = house.words("dns").decode("utf-8")
        house.names.load(OWN + self.zone)
        self.server = house.names.address
        self.came = judges.Came(IP, house.author.address, DOMAIN)


def _as_sent(message):
    """Without the fields that the next hop wrote on top."""
    start = re.search(rb"^(?:DKIM-Signature|From):", message, re.M).start()
    return message[start:]


@pytest.fixture
def sent(nexthop, sending):  # noqa: F811
    hop = nexthop(nexthops.Postfix)
    return Sent(sending(hop.port, receivers=[[10, HELO]]), hop)


def test_all_of_them_believe_it(sent, program, tmp_path):
    assert judges.spf(sent.server, sent.came) == "pass"
    assert judges.spf(sent.server, sent.came._replace(ip="93.184.215.15")) in ("fail", "softfail")
    for message in sent.arrived:
        signatures = len(re.findall(rb"^DKIM-Signature:", message, re.M | re.I))
        assert signatures
        for index in range(signatures):
            assert judges.dkimverify(sent.server, message, index), message
        assert judges.authentication(sent.server, sent.came, message, str(tmp_path)) == {
            "spf": "pass", "dkim": "pass", "dmarc": "pass"}
        said = judges.opendkim(program, sent.server, message, str(tmp_path))
        assert said.count("dkim=pass") >= 1 and "dkim=fail" not in said, said


def test_nothing_of_ours_looks_like_spam(sent, program, tmp_path):
    for message in sent.arrived:
        marks = judges.spamassassin(program, sent.server, sent.came, message, str(tmp_path))
        assert {"DKIM_VALID", "DKIM_VALID_AU", "DKIM_VALID_EF", "SPF_PASS",
                "SPF_HELO_PASS"} <= set(marks), marks
        assert {name for name, points in marks.items() if points > 0} <= {"DKIM_SIGNED"}, marks
        assert sum(marks.values()) < 0, marks


def test_the_judges_can_say_no(sent, program, tmp_path):
    forged = sent.arrived[0].replace(b"river", b"creek")
    assert forged != sent.arrived[0]
    assert not judges.dkimverify(sent.server, forged)
    assert judges.authentication(sent.server, sent.came._replace(ip="93.184.215.15"), forged,
                                 str(tmp_path))["dmarc"] == "fail"
    assert "dkim=fail" in judges.opendkim(program, sent.server, forged, str(tmp_path))
    assert "DKIM_INVALID" in judges.spamassassin(program, sent.server, sent.came, forged,
                                                 str(tmp_path))


def test_a_second_author_breaks_the_signature(sent):
    """From is signed once more than it is there (RFC 6376 8.15)."""
    assert not judges.dkimverify(sent.server,
                                 b"From: Somebody Else <else@example.com>\r\n" + sent.arrived[0])
