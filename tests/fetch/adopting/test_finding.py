"""Which server an address's mail is on."""
import pytest

from phenmail_protocols.fetch.adopting import finding
from phenmail_protocols.net.resolver import Answer, Unanswered


def find(domain, records=(), answering=()):
    asked = []

    def ask(name, kind):
        asked.append((name, kind))
        if records is None:
            raise Unanswered("no")
        return Answer(tuple(records), True, False, name)

    return finding.server_of(domain, ask, lambda server, port: (server, port) in answering)


@pytest.mark.parametrize("domain, records, answering, expected", [
    ("gmail.com", None, [], ("imap.gmail.com", 993)),
    ("example.org", ["10 1 993 b.example.org.", "5 1 1993 a.example.org."],
     [("b.example.org", 993), ("a.example.org", 1993)], ("a.example.org", 1993)),
    ("example.org", ["5 1 1993 a.example.org."], [("mail.example.org", 993)],
     ("mail.example.org", 993)),
    ("example.org", ["0 0 0 ."], [], ("", 0)),  # it says that there is no such service
    ("example.org", ["nonsense", b"x", "a b c d"], [("imap.example.org", 993)],
     ("imap.example.org", 993)),
    ("b\u00fccher.example", None, [("imap.xn--bcher-kva.example", 993)],
     ("imap.xn--bcher-kva.example", 993)),
    ("a b", None, [], ("", 0)),
])
def test_servers(domain, records, answering, expected):
    assert find(domain, records, answering) == expected
