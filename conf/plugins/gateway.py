"""A gateway between mail and chat rooms in the same program: a plugin for phenmail.

Each chat room has a mail address. A message to that address is said in the
room, and what is said in the room can be mailed to its subscribers.

    python3 conf/plugins/gateway.py

in the folder of phenmail.py demonstrates it with a server on free ports.
"""
import os
import sys
from email.message import EmailMessage

if __name__ == "__main__":
    sys.path.insert(0, os.path.abspath(
        os.path.join(os.path.dirname(__file__), "..", "..")))

from phenmail import PluginRefused  # noqa: E402


class Room:
    """Stands for a class of your program, which knows nothing about mail."""

    def __init__(self):
        self.said = []

    def say(self, who, text):
        self.said.append((who, text))


class Gateway:
    """`rooms`: {name: an object with say(who, text)}.

    The parameters name the room (".chat lobby"), or else the tag of the
    address: chat+lobby@example.org.
    """

    def __init__(self, rooms):
        self._rooms = rooms

    def start(self, server):
        self._server = server

    def mail_received(self, message, origin, parameters):
        if origin.automatic:  # ignore bounces and mailing lists
            return
        room = self._rooms.get(parameters or origin.tag)
        if room is None:
            raise PluginRefused("No such room")
        text = text_of(message)
        if not text:
            raise PluginRefused("The message contains no plain text")
        room.say(origin.sender, text)

    def send(self, name, subscribers, who, text):
        """Mail to the subscribers what somebody said in a room."""
        mail = EmailMessage()
        mail["From"] = name
        mail["Subject"] = "%s in the room" % who
        mail["Precedence"] = "list"  # prevents vacation answers
        mail.set_content(text)
        self._server.send_mail(name, subscribers, mail)


def text_of(message):
    """The plain text of a message, without quoted lines at its end."""
    part = message.get_body(preferencelist=("plain",))
    if part is None:
        return ""
    try:
        lines = part.get_content().rstrip().split("\n")
    except LookupError:  # an unknown charset
        return ""
    while lines and (lines[-1].startswith(">") or not lines[-1].strip()):
        lines.pop()
    return "\n".join(lines)


def main():
    import smtplib
    import time

    from phenmail import MailServer

    room = Room()
    settings = {"domains": {"example.org": {"lobby": ".chat lobby"}}}
    with MailServer(settings=settings, users={"alice@example.org": "secret"},
                    plugins={"chat": Gateway({"lobby": room})}) as server:
        client = smtplib.SMTP("127.0.0.1", server.port("smtp"))
        client.sendmail("bob@example.net", ["lobby@example.org"],
                        "Subject: hi\n\nIs somebody here?\n\n> old words\n")
        client.quit()
        end = time.time() + 10
        while not room.said and time.time() < end:
            time.sleep(0.05)
        print(room.said)


if __name__ == "__main__":
    main()
