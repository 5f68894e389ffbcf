"""Other programs' delivery agents, as commands that phenmail runs: each into a Maildir, to fail for
now, and to fail for good.

`COMMANDS` is a table: a row makes what its command needs in a user's folder and gives the command
as it stands in the configuration behind ">", with `{FROM}`, `{TO}` and `{USER}`.
"""
import collections
import os

# How a row's command is to end.
DELIVERED, LATER, NEVER = "delivered", "later", "never"


class Row(collections.namedtuple("Row", "name end program write code enhanced said")):
    """`program`: its name or path. `write(program, folder) -> command`. `code`, `enhanced`: of
    the Reply; `said`: what of the program's own words stands in it (a text, "" for any)."""

    def __str__(self):
        return "%s-%s" % (self.name, self.end)


def delivered(folder):
    """What was delivered into a user's folder -> list of bytes, a message each."""
    found = []
    for place in ("new", "cur"):
        path = os.path.join(folder, "Maildir", place)
        for name in sorted(os.listdir(path) if os.path.isdir(path) else ()):
            with open(os.path.join(path, name), "rb") as file:
                found.append(file.read())
    return found


def _written(folder, name, *lines):
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    os.chmod(path, 0o600)  # maildrop reads no other
    status = os.stat(folder)
    os.chown(path, status.st_uid, status.st_gid)
    return path


def _maildir(folder):
    path = os.path.join(folder, "Maildir")
    status = os.stat(folder)
    for place in ("", "cur", "new", "tmp"):
        os.makedirs(os.path.join(path, place), 0o700, exist_ok=True)
        os.chown(os.path.join(path, place), status.st_uid, status.st_gid)
    return path


def _dovecot(*more):
    def write(program, folder):
        settings = _written(
            folder, "dovecot.conf", "base_dir = %s/run" % folder, "state_dir = %s/run" % folder,
            "log_path = /dev/stderr",
            "mail_location = maildir:%s/Maildir" % folder, "ssl = no",
            "postmaster_address = postmaster@example.org",
            "hostname = mx.example.org", "first_valid_uid = 0", "first_valid_gid = 0", *more)
        return "%s -c %s -e -f {FROM} -a {TO}" % (program, settings)
    return write


# Ten octets are too few for anything.
_FULL = ("mail_plugins = quota", "plugin {", "  quota = maildir:User quota",
         "  quota_rule = *:bytes=10", "}")


def _procmail(options, target):
    """Whatever it is told, it makes an empty mailbox in /var/mail for who it runs as."""
    def write(program, folder):
        _maildir(folder)
        rules = _written(folder, "procmailrc", "MAILDIR=" + folder, "DEFAULT=" + target,
                         "ORGMAIL=" + target)
        return "%s %s -f {FROM} -a {USER} %s" % (program, options, rules)
    return write


def _maildrop(*lines):
    def write(program, folder):
        _maildir(folder)
        rules = _written(folder, "mailfilter", *[line.replace("FOLDER", folder) for line in lines])
        return "%s -f {FROM} %s" % (program, rules)
    return write


_LDA = "/usr/lib/dovecot/dovecot-lda"
COMMANDS = (
    Row("dovecot-lda", DELIVERED, _LDA, _dovecot(), 250, "2.0.0", ""),
    Row("dovecot-lda", LATER, _LDA, _dovecot("quota_full_tempfail = yes", *_FULL), 451, "4.3.0",
        "Quota exceeded"),
    Row("dovecot-lda", NEVER, _LDA, _dovecot(*_FULL), 550, "5.7.1", "Quota exceeded"),
    Row("procmail", DELIVERED, "procmail", _procmail("", "Maildir/"), 250, "2.0.0", ""),
    Row("procmail", LATER, "procmail", _procmail("-t", "/dev/full"), 451, "4.3.0", "/dev/full"),
    Row("procmail", NEVER, "procmail", _procmail("", "/dev/full"), 554, "5.2.0", "/dev/full"),
    Row("maildrop", DELIVERED, "maildrop", _maildrop('to "FOLDER/Maildir"'), 250, "2.0.0", ""),
    Row("maildrop", LATER, "maildrop", _maildrop('to "FOLDER/missing/Maildir"'), 451, "4.3.0", ""),
    Row("maildrop", NEVER, "maildrop",
        _maildrop('echo "Nobody of that name"', "EXITCODE=67", "exit"), 550, "5.1.1",
        "Nobody of that name"),
)
