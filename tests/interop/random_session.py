"""Random IMAP sessions of a few connections, as commands with places for what differs between
servers.

A command is a str. In it, {modseq:N} stands for the N-th HIGHESTMODSEQ that the server has shown for
the selected mailbox, {after:N} for one more, and {validity:NAME} for a mailbox's UIDVALIDITY.
"""
from tests.interop.test_dovecot_order import letter

BOXES = ("INBOX", "INBOX", "INBOX", "a", "a/b", "c")
FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "\\Draft", "$Forwarded", "one", "Two")
KNOWN_IDS = ["%d@here" % number for number in range(12)]
ITEMS = ("FLAGS", "UID", "RFC822.SIZE", "INTERNALDATE", "MODSEQ", "ENVELOPE",
         "BODY.PEEK[HEADER.FIELDS (Subject From)]", "BODY.PEEK[TEXT]<0.20>", "BODY.PEEK[]")
CRITERIA = ("SUBJECT", "FROM", "TO", "CC", "SIZE", "ARRIVAL", "DATE", "DISPLAYFROM")
RETURNS = ("MIN", "MAX", "COUNT", "ALL", "SAVE")
TEXTS = ("Lunch", "dinner", "ann", "x", "nothing at all", "Re: ")
STATUS = ("MESSAGES", "UIDNEXT", "UNSEEN", "SIZE", "HIGHESTMODSEQ", "UIDVALIDITY")


class Session:
    """Makes commands: `next(box, writable, uids, modseqs, selected)`.

    `box`: the selected mailbox or None; `writable`: it was opened with SELECT; `uids`: those in it,
    ascending; `modseqs`: how many mod-sequences the server has shown for it; `selected`: the
    mailboxes of all connections.
    """

    def __init__(self, dice):
        self._dice = dice
        self._made = 0  # messages, for their Message-IDs
        self._selected, self._writable = (), True

    def beginning(self):
        return ["CREATE a"] + [self._letter("INBOX") for _ in range(8)]

    def next(self, box, writable, uids, modseqs, selected):
        self._selected, self._writable = selected, writable
        if box is None:
            kinds = [self._select, self._select, self._append, self._mailboxes, self._status,
                     self._enable]
        else:
            kinds = 3 * [self._store] + 2 * [self._fetch, self._search, self._append] + [
                self._select, self._mailboxes, self._copy, self._expunge, self._sort, self._simple,
                self._status, self._enable]
        return self._dice.choice(kinds)(box, uids, modseqs)

    # Parts

    def _some(self, values, most):
        return self._dice.sample(list(values), self._dice.randint(1, min(most, len(values))))

    def _set(self, uids, uid):
        """A sequence set, nearly always of messages that exist."""
        dice = self._dice
        top = max(uids, default=1) if uid else max(len(uids), 1)
        if uid and uids and dice.random() < .5:
            return ",".join(map(str, self._some(uids, 4)))
        if dice.random() < .2:
            return dice.choice(("1:*", "*", "%d:*" % top, "*:1"))
        if dice.random() < .03:
            return str(top + dice.randint(1, 9))
        low, high = dice.randint(1, top), dice.randint(1, top)
        return dice.choice(("%d" % low, "%d:%d" % (low, high), "%d,%d" % (low, high)))

    def _flags(self, most=3):
        return "(%s)" % " ".join(self._some(FLAGS, most))

    def _modseq(self, modseqs, name="modseq"):
        return "{%s:%d}" % (name, self._dice.randrange(modseqs)) if modseqs else "1"

    # Commands: each takes (selected mailbox, UIDs, number of mod-sequences)

    def _select(self, box, uids, modseqs):
        dice, name = self._dice, self._dice.choice(BOXES + (box or "INBOX",) * 3)
        command = "%s %s" % (dice.choice(("SELECT", "SELECT", "EXAMINE")), name)
        kind = dice.random()
        if kind < .2:
            return command + " (CONDSTORE)"
        if kind < .6 and name == box and modseqs:
            known = ""
            if uids and dice.random() < .5:
                known = " " + ",".join(map(str, uids))
                if dice.random() < .5:
                    places = sorted(self._some(range(len(uids)), 3))
                    known += " (%s %s)" % (",".join(str(place + 1) for place in places),
                                           ",".join(str(uids[place]) for place in places))
            return "%s (QRESYNC ({validity:%s} %s%s))" % (command, name, self._modseq(modseqs),
                                                          known)
        return command

    def _append(self, box, uids, modseqs):
        flags = self._flags() + " " if self._dice.random() < .6 else ""
        return self._letter(self._dice.choice(BOXES), flags)

    def _letter(self, box, flags=""):
        """APPEND. For SENTON and the like, Dovecot takes a message without a Date field for one of
        1970; we take INTERNALDATE, as SORT does. So each message has a Date."""
        self._made += 1
        text = letter(self._dice, self._made, KNOWN_IDS).decode()
        if "\r\nDate:" not in "\r\n" + text:
            text = "Date: Sat, 3 Jan 2004 12:00:00 +0000\r\n" + text
        return "APPEND %s %s\"%02d-Jan-2004 10:00:00 +0000\" {%d+}\r\n%s" % (
            box, flags, self._dice.randint(1, 28), len(text), text)

    def _mailboxes(self, box, uids, modseqs):
        dice, name = self._dice, self._dice.choice(("a", "a/b", "c", "c/d", "e"))
        commands = [
            "CREATE " + name, "CREATE " + name, "SUBSCRIBE " + name, "UNSUBSCRIBE " + name,
            'LIST "" ' + dice.choice(("*", "%", "a/%", "a*", "%/%")), 'LSUB "" *',
            'LIST (SUBSCRIBED) "" *', 'LIST "" * RETURN (CHILDREN SUBSCRIBED)',
            'LIST "" % RETURN (STATUS (MESSAGES UNSEEN))', 'LIST (SUBSCRIBED RECURSIVEMATCH) "" %']
        if not any((box + "/").startswith(name + "/") for box in self._selected):
            commands += ["DELETE " + name,
                         "RENAME %s %s" % (name, dice.choice(("a", "c", "e", "e/f", "a/b")))]
        return dice.choice(commands)

    def _status(self, box, uids, modseqs):
        return "STATUS %s (%s)" % (self._dice.choice(BOXES), " ".join(self._some(STATUS, 6)))

    def _enable(self, box, uids, modseqs):
        return "ENABLE " + self._dice.choice(("CONDSTORE", "QRESYNC", "QRESYNC", "NOTHING"))

    def _simple(self, box, uids, modseqs):
        return self._dice.choice(("NOOP", "NOOP", "CHECK", "CLOSE", "UNSELECT", "IDLE", "IDLE"))

    def _uid(self):
        return self._dice.choice((True, True, False))

    def _store(self, box, uids, modseqs):
        dice, uid = self._dice, self._uid()
        unchanged = "(UNCHANGEDSINCE %s) " % self._modseq(modseqs) if dice.random() < .25 else ""
        return "%sSTORE %s %s%sFLAGS%s %s" % (
            "UID " * uid, self._set(uids, uid), unchanged, dice.choice(("+", "+", "-", "")),
            dice.choice(("", ".SILENT")), self._flags())

    def _fetch(self, box, uids, modseqs):
        dice, uid = self._dice, self._uid()
        changed = ""
        if dice.random() < .3:
            vanished = " VANISHED" if uid and dice.random() < .5 else ""
            changed = " (CHANGEDSINCE %s%s)" % (self._modseq(modseqs), vanished)
        return "%sFETCH %s (%s)%s" % ("UID " * uid, self._set(uids, uid),
                                      " ".join(self._some(ITEMS, 4)), changed)

    def _copy(self, box, uids, modseqs):
        uid = self._uid()
        name = self._dice.choice(("COPY", "MOVE" if self._writable else "COPY"))
        return "%s%s %s %s" % ("UID " * uid, name, self._set(uids, uid), self._dice.choice(BOXES))

    def _expunge(self, box, uids, modseqs):
        return self._dice.choice(("EXPUNGE", "UID EXPUNGE " + self._set(uids, True)))

    def _keys(self, uids, modseqs, depth=0):
        dice = self._dice
        kind = dice.randrange(12 if depth < 2 else 9)
        if kind == 0:
            return "UID " + self._set(uids, True)
        if kind == 1:
            return self._set(uids, False)
        if kind == 2:
            return dice.choice(("SEEN", "UNSEEN", "DELETED", "UNFLAGGED", "ANSWERED", "DRAFT",
                                "KEYWORD one", "UNKEYWORD Two", "ALL", "$"))
        if kind == 3:
            return "MODSEQ " + self._modseq(modseqs, "after")
        if kind == 4:
            return "%s %s" % (dice.choice(("SUBJECT", "FROM", "TO", "CC", "TEXT", "BODY")),
                              '"%s"' % dice.choice(TEXTS))
        if kind == 5:
            return "%s %d-Jan-%d" % (dice.choice(("BEFORE", "SINCE", "ON", "SENTBEFORE",
                                                  "SENTSINCE", "SENTON")),
                                     dice.randint(1, 28), dice.choice((2001, 2004)))
        if kind == 6:
            return "%s %d" % (dice.choice(("LARGER", "SMALLER")), dice.randint(100, 400))
        if kind in (7, 8):
            return "HEADER %s %s" % (dice.choice(("Subject", "Message-ID", "References", "X")),
                                     dice.choice(('""', "here", "Lunch")))
        first = self._keys(uids, modseqs, depth + 1)
        if kind == 9:
            return "NOT " + first
        second = self._keys(uids, modseqs, depth + 1)
        return ("OR %s %s" if kind == 10 else "(%s %s)") % (first, second)

    def _search(self, box, uids, modseqs):
        returns = ""
        if self._dice.random() < .5:
            returns = "RETURN (%s) " % " ".join(self._some(RETURNS, 3))
        return "%sSEARCH %s%s" % ("UID " * self._uid(), returns, self._keys(uids, modseqs))

    def _sort(self, box, uids, modseqs):
        dice, keys = self._dice, self._keys(uids, modseqs)
        uid = "UID " * self._uid()
        if dice.random() < .5:
            return "%sTHREAD %s UTF-8 %s" % (
                uid, dice.choice(("REFERENCES", "ORDEREDSUBJECT")), keys)
        criteria = " ".join(dice.choice(("", "REVERSE ")) + each
                            for each in self._some(CRITERIA, 2))
        returns = "RETURN (%s) " % " ".join(self._some(RETURNS[:4], 3))
        return "%sSORT %s(%s) UTF-8 %s" % (uid, dice.choice(("", "", returns)), criteria, keys)
