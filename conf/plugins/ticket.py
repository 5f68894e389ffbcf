"""A ticket number responder: a plugin for phenmail.

Whoever writes to its address gets a number back, and the message goes on to
the people who answer, with the number in its subject: [#7]. A reply that has
the number keeps it. In mail.jcfg:

    "domains": {"example.org": {"help": ".ticket support@example.org"}},
    "plugins": {"ticket": "ticket:Ticket"}

and this file where Python finds modules:

    PYTHONPATH=conf/plugins python3 phenmail.py

The numbers are kept in tickets.json beside mail.jcfg. One message is handed
over at a time, so nothing here needs a lock.
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
        """``parameters``: the address that gets the messages."""
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
        if is_new:  # it will not come again
            del state["open"][origin.identity]
            self._write(state)

    def _known(self, subject, state):
        found = NUMBER.search(subject)
        number = int(found.group(1)) if found else 0
        return number if 0 < number <= state["last"] else None

    def _next(self, state, identity):
        """Whatever fails after this, the message comes again and has to get
        the same number: so that is on the disk first."""
        if identity not in state["open"]:
            state["last"] += 1
            state["open"][identity] = state["last"]
            self._write(state)
        return state["open"][identity]

    def _forward(self, message, origin, subject, address):
        del message["Subject"]
        message["Subject"] = subject
        # If it can't be delivered this address is told; a bounce of a bounce
        # would go round for ever.
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
