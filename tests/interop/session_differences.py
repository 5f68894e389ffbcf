"""What may differ between our answers and Dovecot's, and why no mail program minds."""
import re
from typing import NamedTuple, Optional


class Difference(NamedTuple):
    """`what` differs in the answers to `command`; `box`: the selected mailbox; `found`: our
    answer, Dovecot's, and for SEARCH, SORT, THREAD and FETCH what Dovecot says when it is asked
    again; `codes`: the codes of the tagged responses; `lost_date`: Dovecot finds no date in some
    message, although all have one."""
    command: str
    box: Optional[str]
    what: str
    found: list
    codes: tuple
    lost_date: bool

    @property
    def ours(self):
        return self.found[0]

    @property
    def theirs(self):
        return self.found[1]

    @property
    def words(self):
        return self.command.replace("UID ", "").split() or [""]


def _reasonless(it):
    return it.what == "code" and it.theirs is None and it.ours in (
        "NONEXISTENT", "CANNOT", "ALREADYEXISTS", "TRYCREATE", "EXPUNGEISSUED", "MAILBOXID")


def _read_only(it):
    return it.codes[0] == "READ-ONLY" and it.words[0] in ("STORE", "EXPUNGE", "SELECT") and (
        it.what in ("status", "code", "MODIFIED"))


def _more_codes(it):
    return it.what == "code" and (it.ours, it.theirs) in (
        ("HIGHESTMODSEQ", None), (None, "HIGHESTMODSEQ"), ("EXPUNGEISSUED", "HIGHESTMODSEQ"))


def _gone_and_modified(it):
    return it.words[0] == "STORE" and it.codes == ("EXPUNGEISSUED", "MODIFIED")


def _status_of_selected(it):
    return it.what == "code" and (it.ours, it.theirs) == (None, "CLIENTBUG")


def _wrong_in_two_ways(it):
    return it.words[0] == "RENAME" and it.found == ["NONEXISTENT", "ALREADYEXISTS"] or (
        it.what == "code" and it.words[0] == "RENAME" and it.words[1] == it.words[2])


def _enabled_nothing(it):
    return it.command == "ENABLE NOTHING" and it.what == "data"


def _unknown_name(it):
    return it.words[0] == "SUBSCRIBE" and (it.ours, it.theirs) == ("OK", "NO")


def _nothing_to_copy(it):
    return it.words[0] in ("MOVE", "COPY") and (it.ours, it.theirs) == ("NO", "OK")


def _only_saved(it):
    return "RETURN (SAVE) " in it.command and it.what == "data" and not it.ours


def _higher_than_all(it):
    return it.what == "data" and re.search(r"NOT .*MODSEQ \{after", it.command)


def _empty_level(it):
    return it.what == "data" and it.words[0] == "LIST" and it.ours == [
        row for row in it.theirs if row in it.ours or row[0] != "LIST" or "\\noselect" not in row[2]]


def _joined_limits(it):
    return it.what == "data" and re.search(
        r"NOT \((LARGER|SMALLER|\w*BEFORE|\w*SINCE) \S+ \1 \S+\)", it.command)


def _sorted_at_last(it):
    return it.what == "data" and it.words[0] in ("SORT", "THREAD") and it.found[2] == it.ours


def _lost_a_date(it):
    return it.lost_date and it.what in ("data", "fetched")


def _name_of_a_level(it):
    return it.words[0] in ("RENAME", "CREATE") and it.codes == (None, "ALREADYEXISTS") or (
        it.words[0] in ("RENAME", "DELETE") and it.codes == ("NONEXISTENT", None)
        and it.what == "status")


def _skipped_a_uid(it):
    if it.what not in ("APPENDUID", "COPYUID") or None in it.found:
        return False
    (*ours_before, ours), (*theirs_before, theirs) = it.found
    return ours_before == theirs_before and len({
        their - our for our, their in zip(ours, theirs)}) == 1


# A difference -> why it is none that a mail program minds.
EXPLAINED = (
    (_reasonless, "RFC 5530 and 8474 have response codes for these; Dovecot 2.3 sends few of them"),
    (_read_only, "after EXAMINE, Dovecot says OK to STORE and EXPUNGE, and does nothing"),
    (_more_codes, "RFC 7162 asks for HIGHESTMODSEQ after commands that expunged: Dovecot sends it "
                  "after others, too, and we after EXPUNGE also if there was nothing to expunge"),
    (_gone_and_modified, "RFC 7162 3.1.3 leaves open whether MODIFIED has messages that another "
                         "session expunged"),
    (_status_of_selected, "RFC 3501 6.3.10 tells programs not to; Dovecot complains"),
    (_wrong_in_two_ways, "either of two codes is true"),
    (_enabled_nothing, "RFC 5161 3.2 wants ENABLED also if nothing was; Dovecot sends none"),
    (_unknown_name, "RFC 3501 6.3.6 leaves it open whether unknown names can be subscribed to"),
    (_nothing_to_copy, "Dovecot looks at the target only if there is a message to copy"),
    (_only_saved, "SAVE alone suppresses ESEARCH (RFC 5182 2.1); Dovecot sends an empty one"),
    (_higher_than_all, "NOT MODSEQ of a number that no message has reached yet means all: Dovecot "
                       "finds none"),
    (_empty_level, "dbox keeps the folder of a name after the last mailbox below it was deleted"),
    (_joined_limits, "NOT (LARGER 300 LARGER 200): Dovecot answers NOT LARGER 200"),
    (_sorted_at_last, "Dovecot's first answer can be out of order; it numbers subjects and "
                      "addresses while it sorts"),
    (_lost_a_date, "Dovecot 2.3.19 sometimes loses the date of a mailbox's first message"),
)
# After these, the mailboxes of the two differ, and the session ends.
PARTING = (
    (_name_of_a_level, "a name that only has names below it is no mailbox; to dbox it is a folder "
                       "that exists, and a RENAME to a name below it leaves it even if that fails"),
    (_skipped_a_uid, "Dovecot sometimes leaves out UIDs, or we do (RFC 3501 2.3.1.1 allows it)"),
)
