"""What the tests of plugins share: a message of the queue, a server that only notes what it is to
send, plugins of a dict."""
import io

from phenmail_protocols.mail.address import Address
from phenmail_protocols.plugins.calling import Plugins
from phenmail_protocols.queue.model import Message, Recipient

BOB, ROBOT = Address("bob", "example.net"), Address("robot", "example.org")
NOW = 1782000000.0
LETTER = (
    b"From: Bob <bob@example.net>\r\nTo: robot@example.org\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
          b"Message-ID: <1@example.net>\r\n\r\nHello,\r\nrobot.\r\n")


class Server:
    """Stands for app.MailServer; `sent` has (sender, recipients, message)."""

    def __init__(self, root=None):
        self.root = root
        self.sent = []

    def send_mail(self, sender, recipients, message):
        self.sent.append((sender, recipients, message))
        return []


class House:
    """Plugins over a Server, and messages for them."""

    def __init__(self, given=(), configured=(), points=(), server=None, **more):
        self.configured, self.points, self.looked = dict(configured), dict(points), []
        self.server = server or Server()
        self.plugins = Plugins(dict(given), lambda: self.configured, self.server, self._offered,
                               **more)

    def _offered(self, group):
        self.looked.append(group)
        return self.points

    def hand(self, name="it", parameters="", content=LETTER, recipient=ROBOT, tag=None, **changes):
        values = dict(identity="6-1", sender=BOB, recipients=(Recipient(recipient),), arrived=NOW,
                      size=len(content))
        values.update(changes)
        return self.plugins.hand(name, parameters, Message(**values), io.BytesIO(content),
                                 recipient, tag)
