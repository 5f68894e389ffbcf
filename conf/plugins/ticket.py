"""Ticket numbers: a plugin for phenmail.

Each message to its address gets a number, which is added to the subject: [#7].
The message is sent to the people who answer, and its sender gets an
acknowledgment. A reply with a number in its subject keeps it. In mail.jcfg:

    "domains": {"example.org": {"help": ".ticket support@example.org"}},
    "plugins": {"ticket": "ticket:Ticket"}

Python must find this file:

    PYTHONPATH=conf/plugins python3 phenmail.py

The numbers are kept in tickets.json beside mail.jcfg. A plugin gets one message
at a time, so this one needs no lock.
"""
import json
import os
import re
from email.message import EmailMessage

from phenmail_protocols.disk.atomic import write_file

NUMBER = re.compile(r"\[#([0-9]{1,9})\]")


class Ticket:

    def start(self, server):
        self._server = server
        self._file = os.path.join(server.root.mail_system, "tickets.json")

    def mail_received(self, message, origin, parameters):
        """`parameters`: the address of the people who answer."""
        subject = str(message["Subject"] or "")
        state = self._read()
        number = self._known(subject, state)
        is_new = number is None
        if is_new:
            number = self._next(state, origin.identity)
            subject = ("[#%d] %s" % (number, subject)).rstrip()
        self._forward(message, origin, subject, parameters)
        if is_new and not origin.obstacle():
            self._acknowledge(message, origin, subject)
        if is_new:  # it will not be retried
            del state["open"][origin.identity]
            self._write(state)

    def _known(self, subject, state):
        found = NUMBER.search(subject)
        number = int(found.group(1)) if found else 0
        return number if 0 < number <= state["last"] else None

    def _next(self, state, identity):
        """A new number, saved before it is used: if something fails later, the
        message is retried and must get the same number."""
        if identity not in state["open"]:
            state["last"] += 1
            state["open"][identity] = state["last"]
            self._write(state)
        return state["open"][identity]

    def _forward(self, message, origin, subject, address):
        del message["Subject"]
        message["Subject"] = subject
        # A failure bounces to this address. A bounce is sent on without a
        # sender: bounces of bounces would loop.
        sender = origin.recipient if origin.sender else ""
        self._server.send_mail(sender, address, message)

    def _acknowledge(self, message, origin, subject):
        answer = EmailMessage()
        answer["From"] = origin.recipient
        answer["To"] = origin.sender
        answer["Subject"] = subject
        if message["Message-ID"]:
            answer["In-Reply-To"] = str(message["Message-ID"])
            answer["References"] = str(message["Message-ID"])
        answer["Auto-Submitted"] = "auto-replied"  # RFC 3834
        answer.set_content("Thank you, we have your message. Please keep the"
                           "\nnumber in the subject when you write again.\n")
        self._server.send_mail("", origin.sender, answer)

    def _read(self):
        try:
            with open(self._file, encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return {"last": 0, "open": {}}

    def _write(self, state):
        write_file(self._file, json.dumps(state).encode("utf-8"))
