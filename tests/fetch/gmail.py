"""A Gmail-like IMAP server on the loopback, for tests of clients.

    with Gmail() as gmail:
        gmail.add(b"Subject: a\r\n\r\nhello\r\n", labels=["\\Inbox", "Work"], flags=["\\Seen"])
        … 127.0.0.1, gmail.port … gmail.accounts[user] is its password, gmail.tokens its tokens …

As Gmail does it (developers.google.com/gmail/imap/imap-extensions):

- A message exists once, and has labels. Each label is a mailbox, and "[Gmail]/All Mail" has all
  messages that are not in Spam or Trash. A message has its own UID in each mailbox.
- FETCH has X-GM-MSGID, X-GM-THRID and X-GM-LABELS. The labels do not name the mailbox that is open.
- LIST always shows special uses. "[Gmail]" itself cannot be opened.
- Expunging removes the mailbox's label; in All Mail it moves the message to Trash; in Trash and
  Spam it removes the message.
- AUTHENTICATE knows PLAIN, XOAUTH2 and OAUTHBEARER.

What goes wrong on demand: `throttle(after=…)`, `expire(token)`, and `drop(after=…)`.
"""
import base64
import re
import socket
import threading
import time

from phenmail_protocols.text import utf7

PATIENCE = 10.0  # seconds that the server waits for a client

OVERQUOTA = "[OVERQUOTA] Account exceeded command or bandwidth limits."
EXPIRED = "[AUTHENTICATIONFAILED] Invalid credentials (Failure)"
ALL, SPAM, TRASH = "[Gmail]/All Mail", "[Gmail]/Spam", "[Gmail]/Trash"
# label: (its mailbox, the special use in LIST)
SYSTEM = {"\\Inbox": ("INBOX", ""), "\\Sent": ("[Gmail]/Sent Mail", "\\Sent"),
          "\\Draft": ("[Gmail]/Drafts", "\\Drafts"), "\\Starred": ("[Gmail]/Starred", "\\Flagged"),
          "\\Important": ("[Gmail]/Important", "\\Important"),
          "\\Spam": (SPAM, "\\Junk"), "\\Trash": (TRASH, "\\Trash")}
CAPABILITY = ("IMAP4rev1 UNSELECT IDLE NAMESPACE ID CHILDREN X-GM-EXT-1 UIDPLUS ENABLE MOVE "
              "CONDSTORE SASL-IR AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER")
_ATOM = re.compile(r'"((?:\\.|[^"\\])*)"|\(|\)|[^\s()"\[]*\[[^\]]*\](?:<[0-9.]+>)?|[^\s()]+')


class Message(object):
    """`uids`: {mailbox: UID}. `changed`: its mod-sequence."""

    def __init__(self, number, octets, labels, flags, date, thread):
        self.msgid = 1278455344230334865 + number
        self.thrid = thread or self.msgid
        self.octets, self.labels, self.flags = octets, set(labels), set(flags)
        self.date, self.changed, self.uids = date, 0, {}


class Gmail(object):
    """The server. Its attributes may be changed while it runs.

    `accounts`: {user: password}; `tokens`: {user: access tokens that are accepted}; `commands`: all
    commands received, without literals; `quoted_labels`: whether system labels are "\\\\Inbox", as
    Gmail sends them, or \\Inbox, as its documentation has them.
    """

    def __init__(self, user="someone@gmail.example", password="secret", context=None):
        self.accounts, self.tokens = {user: password}, {user: set()}
        self.quoted_labels = True
        self.commands = []
        self.messages = []
        self.sent = 0  # octets of FETCH responses
        self._labels = []  # user labels
        self._validity, self._next, self._modseq = {}, {}, 1
        self._throttle = self._drop = None
        self._context = context
        self._lock = threading.RLock()
        self._arrived = threading.Condition(self._lock)
        self._socks, self._threads, self._stopped = [], [], False
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(20)
        self.port = self._listener.getsockname()[1]

    # -- for tests

    def label(self, name):
        """Make a user label, and so a mailbox."""
        if name not in self._labels:
            self._labels.append(name)

    def add(self, octets, labels=(), flags=(), date=1700000000.0, thread=None):
        """A new Message. Labels are "\\Inbox", … and names of the user's (Unicode)."""
        with self._lock:
            for name in labels:
                if name not in SYSTEM:
                    self.label(name)
            message = Message(len(self.messages), octets, labels, flags, date, thread)
            self.messages.append(message)
            self._touch(message)
            self._arrived.notify_all()
        return message

    def boxes(self):
        """{mailbox: its Messages in the order of their UIDs}."""
        with self._lock:
            return {name: self.content(name) for name, _ in self._listed() if name != "[Gmail]"}

    def renumber(self, box):
        """Give a mailbox a new UIDVALIDITY and its messages new UIDs."""
        with self._lock:
            self._validity[box] = self._validity.get(box, 600) + 1
            for message in self.messages:
                message.uids.pop(box, None)

    def throttle(self, after=0, bye=False):
        """Refuse FETCH for lack of quota once so many octets were sent; None: no more.

        With `bye` the server closes the connection, else it says NO.
        """
        self._throttle = None if after is None else (self.sent + after, bye)

    def drop(self, after):
        """Close the connection in the middle of a FETCH after so many octets, once."""
        self._drop = self.sent + after

    def expire(self, token, bye=False):
        """Do not accept a token any more, not even in sessions that it opened: their next command
        gets NO, or BYE."""
        with self._lock:
            for tokens in self.tokens.values():
                tokens.discard(token)
            self._bye = bye

    _bye = False

    # -- mailboxes

    def _touch(self, message):
        self._modseq += 1
        message.changed = self._modseq

    def _listed(self):
        yield "INBOX", ""
        yield "[Gmail]", "\\Noselect"
        yield ALL, "\\All"
        for box, use in SYSTEM.values():
            if box != "INBOX":
                yield box, use
        for label in self._labels:
            yield label, ""

    def _is_in(self, message, box):
        if box == ALL:
            return not message.labels & {"\\Spam", "\\Trash"}
        return self.label_of(box) in message.labels

    def label_of(self, box):
        return next((label for label, (name, _) in SYSTEM.items() if name == box), box)

    def content(self, box):
        """The Messages of a mailbox, ordered by UID; new ones get theirs."""
        for message in self.messages:
            if not self._is_in(message, box):
                message.uids.pop(box, None)
            elif box not in message.uids:
                message.uids[box] = self._next.setdefault(box, 1)
                self._next[box] += 1
        return sorted((message for message in self.messages if box in message.uids),
                      key=lambda message: message.uids[box])

    def remove(self, message, box):
        """What expunging does."""
        if box in (SPAM, TRASH):
            self.messages.remove(message)
        elif box == ALL:
            message.labels = {"\\Trash"}
        else:
            message.labels.discard(self.label_of(box))
        message.flags.discard("\\Deleted")
        self._touch(message)

    # -- the server

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        self._stopped = True
        with self._lock:
            self._arrived.notify_all()
        socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
        for sock in list(self._socks):
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()

    def _start(self, *call):
        thread = threading.Thread(target=call[0], args=call[1:], daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            sock, _ = self._listener.accept()
            if self._stopped:
                return sock.close()
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(self._serve, sock)

    def _serve(self, sock):
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            self._socks.append(sock)
            Session(self, sock).run()
        except (OSError, ValueError, EOFError):
            pass
        finally:
            sock.close()

    # What may go wrong

    def count(self, octets):
        """Before a FETCH response of so many octets is sent -> None, or how many may be sent before
        the line breaks. Raises Refused."""
        with self._lock:
            if self._throttle is not None and self.sent >= self._throttle[0]:
                raise Refused(OVERQUOTA, self._throttle[1])
            self.sent += octets
            if self._drop is not None and self.sent >= self._drop:
                left, self._drop = octets - (self.sent - self._drop), None
                return max(left, 0)
        return None

    def check(self, user, token):
        """Raises Refused if a session's token has expired."""
        if token is not None and token not in self.tokens.get(user, ()):
            raise Refused("Session expired, please login again." if self._bye else EXPIRED,
                          self._bye)


class Refused(Exception):
    """The text of NO, or of BYE."""

    def __init__(self, text, bye=False):
        super(Refused, self).__init__(text)
        self.bye = bye


class Session(object):
    """One connection."""

    def __init__(self, gmail, sock):
        self.gmail, self.sock, self.file = gmail, sock, sock.makefile("rb")
        self.user = self.token = self.box = None
        self.seen = []  # the open mailbox's messages, by message number

    def say(self, line):
        self.sock.sendall(line.encode("utf-8") + b"\r\n")

    def line(self):
        data = self.file.readline(100000)
        if not data.endswith(b"\r\n"):
            raise EOFError
        return data[:-2].decode("utf-8")

    def command(self):
        """The next command with its literals as quoted strings."""
        text = self.line()
        while re.search(r"\{\d+\+?\}$", text):
            size = int(re.search(r"\{(\d+)\+?\}$", text).group(1))
            if not text.endswith("+}"):
                self.say("+ go ahead")
            literal = self.file.read(size).decode("utf-8")
            text = '%s"%s"%s' % (text[:text.rindex("{")], re.sub(r'(["\\])', r"\\\1", literal),
                                 self.line())
        return text

    def run(self):
        self.say("* OK Gimap ready for requests from 127.0.0.1")
        while True:
            text = self.command()
            self.gmail.commands.append(text)
            tag, _, rest = text.partition(" ")
            name, _, arguments = rest.partition(" ")
            name = name.upper()
            if name == "UID":
                word, _, arguments = arguments.partition(" ")
                name = "UID_" + word.upper()
            try:
                if name not in ("LOGOUT", "CAPABILITY"):
                    self.gmail.check(self.user, self.token)
                run = getattr(self, "run_" + name, None)
                if run is None or self.user is None and name not in (
                        "LOGIN", "AUTHENTICATE", "CAPABILITY", "LOGOUT", "ID", "NOOP"):
                    self.say(tag + " BAD Unknown command")
                    continue
                done = run(arguments) or "Success"
            except Refused as refused:
                if refused.bye:
                    return self.say("* BYE %s" % refused)
                self.say("%s NO %s" % (tag, refused))
                continue
            self.say("%s OK %s" % (tag, done))
            if name == "LOGOUT":
                return

    # -- any state

    def run_CAPABILITY(self, _):
        self.say("* CAPABILITY " + CAPABILITY)

    def run_ID(self, _):
        self.say('* ID ("name" "GImap" "vendor" "Google, Inc.")')

    def run_NOOP(self, _):
        if self.box is not None:
            self.announce()

    run_CHECK = run_NOOP

    def run_LOGOUT(self, _):
        self.say("* BYE LOGOUT Requested")

    # -- login

    def run_LOGIN(self, arguments):
        user, password = words(arguments)
        self._enter(user, self.gmail.accounts.get(user) == password)

    def run_AUTHENTICATE(self, arguments):
        mechanism, _, response = arguments.partition(" ")
        if not response:
            self.say("+ ")
            response = self.line()
        data = base64.b64decode(response, validate=True).decode("utf-8")
        if mechanism.upper() == "PLAIN":
            _, user, password = data.split("\0")
            return self._enter(user, self.gmail.accounts.get(user) == password)
        pattern = {"XOAUTH2": "user=([^\1]+)\1auth=Bearer ([^\1]+)\1\1",
                   "OAUTHBEARER": "n,a=([^\1,]+),\1host=[^\1]+\1port=[0-9]+\1"
                                  "auth=Bearer ([^\1]+)\1\1"}.get(mechanism.upper())
        found = pattern and re.match(pattern + r"\Z", data)
        if not found:
            raise Refused("Invalid SASL argument")
        user, self.token = found.groups()
        user = user.replace("=2C", ",").replace("=3D", "=")
        if self.token not in self.gmail.tokens.get(user, ()):
            self.token = None
            self.say("+ " + base64.b64encode(
                b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}').decode())
            self.line()
            raise Refused(EXPIRED)
        self._enter(user, True)

    def _enter(self, user, is_right):
        if not is_right:
            raise Refused(EXPIRED)
        self.user = user

    def run_NAMESPACE(self, _):
        self.say('* NAMESPACE (("" "/")) NIL NIL')

    def run_ENABLE(self, arguments):
        self.say("* ENABLED " + arguments)

    # -- mailboxes

    def run_LIST(self, arguments, verb="LIST"):
        pattern = utf7.decode(words(re.sub(r"\bRETURN \(.*", "", arguments))[1].encode())
        if not pattern:
            return self.say('* LIST (\\Noselect) "/" "/"')
        expression = re.escape(pattern).replace("\\*", ".*").replace("\\%", "%").replace(
            "%", "[^/]*")
        names = [name for name, _ in self.gmail._listed()]
        for name, use in self.gmail._listed():
            if re.match(expression + r"\Z", name):
                has = any(other.startswith(name + "/") for other in names)
                flags = ["\\HasChildren" if has else "\\HasNoChildren"] + ([use] if use else [])
                self.say('* %s (%s) "/" "%s"' % (verb, " ".join(flags), written(name)))

    def run_LSUB(self, arguments):
        self.run_LIST(arguments, "LSUB")

    def run_STATUS(self, arguments):
        name, *items = words(arguments)
        box = self._existing(name)
        numbers = self._numbers(box)
        self.say('* STATUS "%s" (%s)' % (written(box), " ".join(
            "%s %d" % (item, numbers[item]) for item in map(str.upper, items))))

    def _existing(self, name):
        name = utf7.decode(name.encode())
        name = "INBOX" if name.upper() == "INBOX" else name
        if name == "[Gmail]" or name not in [known for known, _ in self.gmail._listed()]:
            raise Refused("[NONEXISTENT] Unknown Mailbox: %s (Failure)" % name)
        return name

    def _numbers(self, box):
        with self.gmail._lock:
            messages = self.gmail.content(box)
            return {"MESSAGES": len(messages), "UIDNEXT": self.gmail._next.get(box, 1),
                    "UIDVALIDITY": self.gmail._validity.setdefault(box, 600),
                    "UNSEEN": sum("\\Seen" not in message.flags for message in messages),
                    "HIGHESTMODSEQ": self.gmail._modseq, "RECENT": 0}

    def run_SELECT(self, arguments, end="[READ-WRITE] %s selected. (Success)"):
        self.box = None
        box = self._existing(words(arguments)[0])
        numbers = self._numbers(box)
        self.box, self.seen = box, self.gmail.content(box)
        flags = "\\Answered \\Flagged \\Draft \\Deleted \\Seen $Forwarded $NotPhishing $Phishing"
        self.say("* FLAGS (%s)" % flags)
        self.say("* OK [PERMANENTFLAGS (%s \\*)] Flags permitted." % flags)
        self.say("* OK [UIDVALIDITY %(UIDVALIDITY)d] UIDs valid." % numbers)
        self.say("* %d EXISTS" % len(self.seen))
        self.say("* 0 RECENT")
        self.say("* OK [UIDNEXT %(UIDNEXT)d] Predicted next UID." % numbers)
        self.say("* OK [HIGHESTMODSEQ %(HIGHESTMODSEQ)d]" % numbers)
        return end % box

    def run_EXAMINE(self, arguments):
        return self.run_SELECT(arguments, "[READ-ONLY] %s selected. (Success)")

    def run_UNSELECT(self, _):
        self.box = None

    def run_CLOSE(self, _):
        self._expunge(None, quiet=True)
        self.box = None

    def announce(self):
        """EXPUNGE and EXISTS for what changed since."""
        with self.gmail._lock:
            now = self.gmail.content(self.box)
        for number in range(len(self.seen), 0, -1):
            if self.seen[number - 1] not in now:
                del self.seen[number - 1]
                self.say("* %d EXPUNGE" % number)
        if len(now) > len(self.seen):
            self.seen = now
            self.say("* %d EXISTS" % len(now))

    def run_IDLE(self, _):
        self.say("+ idling")
        self.sock.settimeout(0.02)
        end = time.monotonic() + PATIENCE
        received = b""
        while time.monotonic() < end and not self.gmail._stopped:
            self.announce()
            self.gmail.check(self.user, self.token)
            try:
                received += self.sock.recv(100)
            except socket.timeout:
                continue
            if received.upper().endswith(b"DONE\r\n"):
                self.sock.settimeout(PATIENCE)
                return "IDLE terminated (Success)"
            if not received:
                break
        raise EOFError

    # -- messages

    def _chosen(self, text, by_uid):
        """The (message number, Message) of a sequence set."""
        pairs = list(enumerate(self.seen, 1))
        value = (lambda pair: pair[1].uids.get(self.box, 0)) if by_uid else (lambda pair: pair[0])
        last = max(map(value, pairs), default=0)
        ranges = []
        for part in text.split(","):
            ends = [last if end == "*" else int(end) for end in part.split(":")]
            ranges.append((min(ends), max(ends)))
        return [pair for pair in pairs if any(low <= value(pair) <= high for low, high in ranges)]

    def run_FETCH(self, arguments, by_uid=False):
        chosen, _, rest = arguments.partition(" ")
        since = re.search(r"\(CHANGEDSINCE (\d+)\)", rest, re.I)
        items = [item for item in tokens(rest[:since.start()] if since else rest)
                 if item not in "()"]
        items = {"ALL": ["FLAGS", "INTERNALDATE", "RFC822.SIZE"],
                 "FAST": ["FLAGS", "INTERNALDATE", "RFC822.SIZE"]}.get(items[0].upper(), items)
        if by_uid and "UID" not in [item.upper() for item in items]:
            items.insert(0, "UID")
        if since and "MODSEQ" not in [item.upper() for item in items]:
            items.append("MODSEQ")
        for number, message in self._chosen(chosen, by_uid):
            if since is None or message.changed > int(since.group(1)):
                self._respond(number, message, items)

    def run_UID_FETCH(self, arguments):
        self.run_FETCH(arguments, True)

    def _respond(self, number, message, items):
        data = b"* %d FETCH (%s)\r\n" % (number, b" ".join(
            self._item(message, item) for item in items))
        left = self.gmail.count(len(data))
        if left is not None:
            self.sock.sendall(data[:left])
            raise EOFError
        self.sock.sendall(data)

    def _item(self, message, item):
        word = item.upper()
        if word == "UID":
            return b"UID %d" % message.uids.get(self.box, 0)
        if word == "FLAGS":
            return b"FLAGS (%s)" % " ".join(sorted(message.flags)).encode()
        if word == "INTERNALDATE":
            return b'INTERNALDATE "%s"' % internal_date(message.date)
        if word == "RFC822.SIZE":
            return b"RFC822.SIZE %d" % len(message.octets)
        if word == "MODSEQ":
            return b"MODSEQ (%d)" % message.changed
        if word in ("X-GM-MSGID", "X-GM-THRID"):
            return b"%s %d" % (word.encode(), getattr(message, word[5:].lower()))
        if word == "X-GM-LABELS":
            return b"X-GM-LABELS (%s)" % self._labels(message)
        if word == "RFC822":
            item = word = "BODY[]"
        return self._body(message, word)

    def _labels(self, message):
        shown = []
        for label in sorted(message.labels, key=lambda label: (label not in SYSTEM, label)):
            if label == self.gmail.label_of(self.box):
                continue
            if label in SYSTEM:
                label = ('"\\%s"' if self.gmail.quoted_labels else "%s") % label
            else:
                label = written(label)
                if not re.match(r"[A-Za-z0-9_&+,.-]+\Z", label):
                    label = '"%s"' % label
            shown.append(label)
        return " ".join(shown).encode("ascii")

    def _body(self, message, word):
        found = re.match(r"(BODY(?:\.PEEK)?)\[(.*?)\](?:<(\d+)\.(\d+)>)?\Z", word)
        if not found:
            raise Refused("Could not parse command")
        section = found.group(2)
        octets = message.octets
        header, blank, _ = octets.partition(b"\r\n\r\n")
        if section == "HEADER":
            octets = header + blank
        elif section.startswith("HEADER.FIELDS"):
            wanted = section[section.index("(") + 1:section.index(")")].split()
            fields = re.findall(rb"[^\r\n:]+:.*(?:\r\n[ \t].*)*", header)
            octets = b"".join(field + b"\r\n" for field in fields
                              if field.partition(b":")[0].decode().upper() in wanted) + b"\r\n"
        elif section == "TEXT":
            octets = octets[len(header + blank):]
        elif section:
            raise Refused("Could not parse command")
        place = ""
        if found.group(3):
            start, count = int(found.group(3)), int(found.group(4))
            octets, place = octets[start:start + count], "<%d>" % start
        if "PEEK" not in found.group(1) and "\\Seen" not in message.flags:
            message.flags.add("\\Seen")
            self.gmail._touch(message)
        return b"BODY[%s]%s {%d}\r\n%s" % (section.encode(), place.encode(), len(octets), octets)

    def run_SEARCH(self, arguments, by_uid=False):
        found = self._matching(tokens(arguments))
        self.say("* SEARCH" + "".join(" %d" % (
            message.uids[self.box] if by_uid else number) for number, message in found))

    def run_UID_SEARCH(self, arguments):
        self.run_SEARCH(arguments, True)

    def _matching(self, keys):
        """ALL, UID set, X-GM-MSGID number, X-GM-RAW rfc822msgid:ID, HEADER Message-ID text."""
        found = list(enumerate(self.seen, 1))
        keys = list(keys)
        while keys:
            key = keys.pop(0).upper()
            if key == "UID":
                allowed = self._chosen(keys.pop(0), True)
                found = [pair for pair in found if pair in allowed]
            elif key == "X-GM-MSGID":
                number = int(keys.pop(0))
                found = [pair for pair in found if pair[1].msgid == number]
            elif key in ("HEADER", "X-GM-RAW"):
                if key == "HEADER":
                    keys.pop(0)
                text = keys.pop(0).replace("rfc822msgid:", "").encode("utf-8")
                found = [pair for pair in found
                         if text in pair[1].octets.partition(b"\r\n\r\n")[0]]
            elif key == "UNDELETED":
                found = [pair for pair in found if "\\Deleted" not in pair[1].flags]
            elif key != "ALL":
                raise Refused("Could not parse command")
        return found

    def run_STORE(self, arguments, by_uid=False):
        chosen, what, rest = arguments.split(" ", 2)
        what = what.upper()
        values = {word for word in tokens(rest) if word not in "()"}
        with self.gmail._lock:
            for number, message in self._chosen(chosen, by_uid):
                on_labels = "X-GM-LABELS" in what
                old = message.labels if on_labels else message.flags
                new = {utf7.decode(word.encode()) for word in values} if on_labels else values
                new = old | new if what[0] == "+" else old - new if what[0] == "-" else new
                setattr(message, "labels" if on_labels else "flags", set(new))
                for label in new if on_labels else ():
                    if label not in SYSTEM:
                        self.gmail.label(label)
                self.gmail._touch(message)
                if "SILENT" not in what:
                    self._respond(number, message, ["UID", "X-GM-LABELS" if on_labels
                                                    else "FLAGS"])

    def run_UID_STORE(self, arguments):
        self.run_STORE(arguments, True)

    def run_EXPUNGE(self, _):
        self._expunge(None)

    def run_UID_EXPUNGE(self, arguments):
        self._expunge(self._chosen(arguments, True))

    def _expunge(self, chosen, quiet=False):
        with self.gmail._lock:
            for _, message in list(enumerate(self.seen, 1)) if chosen is None else chosen:
                if "\\Deleted" in message.flags:
                    self.gmail.remove(message, self.box)
            if not quiet:
                self.announce()


def tokens(text):
    """The words, quoted strings (without quotes) and parentheses of a command."""
    return [re.sub(r"\\(.)", r"\1", found.group(1)) if found.group(1) is not None
            else found.group() for found in _ATOM.finditer(text)]


def words(text):
    return [word for word in tokens(text) if word not in ("(", ")")]


def written(name):
    return utf7.encode(name).decode("ascii").replace("\\", "\\\\").replace('"', '\\"')


def internal_date(moment):
    months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    parts = time.gmtime(moment)
    return ("%02d-%s-%d %02d:%02d:%02d +0000" % (
        parts.tm_mday, months[parts.tm_mon - 1], parts.tm_year, parts.tm_hour, parts.tm_min,
        parts.tm_sec)).encode("ascii")
