"""A message between MAIL and its answer: limits, line ends, the one answer of many."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.envelope import Recipient
from phenmail_protocols.mail.reply import Outcome, Reply
from phenmail_protocols.protocol.session import TooMuchInput
from phenmail_protocols.smtp import replies, transaction
from phenmail_protocols.smtp.grammar import Mail
from phenmail_protocols.smtp.transaction import Transaction

ANNA, BERT = Address("anna", "example.org"), Address("bert", "example.org")


class Destination:
    def __init__(self, folder):
        self.folder, self.tag = folder, None


class Incoming:
    def __init__(self, outcomes=()):
        self.data, self.outcomes, self.aborted, self.apart = b"", list(outcomes), False, None

    def write(self, data):
        self.data += data

    def finish(self, apart):
        self.apart = apart
        return self.outcomes

    def abort(self):
        self.aborted = True


class Router:
    def __init__(self, incoming):
        self.incoming = incoming

    def begin(self, envelope, origin, destinations, submitter):
        self.envelope = envelope
        return self.incoming


def begun(incoming, limit=1000):
    made = Transaction(Mail(None), limit)
    made.add(Recipient(ANNA), Destination("/anna"))
    made.add(Recipient(BERT), Destination("/bert"))
    router = Router(incoming)
    made.begin(router, None, None)
    assert [each.address for each in router.envelope.recipients] == [ANNA, BERT]
    return made


def outcome(code, address=ANNA):
    return Outcome(address, Reply(code, "%d.0.0" % (code // 100), "text"))


@pytest.mark.parametrize("codes, answer", [
    ([250, 250], 250), ([250, 451], 451), ([550, 250], 550), ([550, 452], 452), ([552, 550], 552),
])
def test_one_answer_for_all_is_the_one_that_loses_nothing(codes, answer):
    made = begun(Incoming([outcome(code) for code in codes]))
    assert [reply.code for reply in made.finish(False)] == [answer]


def test_an_answer_for_each():
    incoming = Incoming([outcome(250), outcome(451, BERT)])
    assert [reply.code for reply in begun(incoming).finish(True)] == [250, 451]
    assert incoming.apart is True


def test_too_large_is_counted_to_its_end_and_refused_for_each():
    incoming = Incoming()
    made = begun(incoming, limit=10)
    for _ in range(4):
        made.content(b"12345")
    assert incoming.data == b"1234512345" and incoming.aborted
    assert made.finish(True) == [replies.TOO_LARGE] * 2


def test_far_too_large_ends_it(monkeypatch):
    monkeypatch.setattr(transaction, "DRAINED", 100)
    made = begun(Incoming(), limit=10)
    made.content(b"x" * 110)
    with pytest.raises(TooMuchInput):
        made.content(b"x")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"a", b".", b"\r\n.\r\n"]),
                max_size=12).map(b"".join), st.data())
def test_a_cr_or_lf_alone_is_found_in_chunks_of_any_cut(text, data):
    made = begun(Incoming([outcome(250)]))
    rest = text
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        made.octets(rest[:cut])
        rest = rest[cut:]
    bare = text.replace(b"\r\n", b"")
    expected = replies.BARE_LINE_END.code if b"\r" in bare or b"\n" in bare else 250
    assert made.finish(False)[0].code == expected
