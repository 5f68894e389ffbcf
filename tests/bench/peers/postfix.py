"""Postfix in folders of its own; for the delivery row: smtpd to virtual(8) into a Maildir, as
Debian would set it up.

Its master has to be root; for anybody else it counts as missing.
"""
import grp
import os
import pwd
import shutil
import subprocess

from ..messages import ADDRESS, DOMAIN, make
from .process import Child, Missing, await_banner, free_port

_DAEMONS = ("/usr/lib/postfix/sbin", "/usr/libexec/postfix", "/usr/lib/postfix")
_QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
           "private", "saved", "trace")
_WAITING = ("maildrop", "incoming", "active", "deferred")
_BASE = {
    "compatibility_level": "3.6",
    "command_directory": "/usr/sbin",
    "meta_directory": "/etc/postfix",
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8",
    "alias_maps": "",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "virtual_transport": "virtual",
    "virtual_mailbox_limit": "0",
    "message_size_limit": "209715200",
}
_MASTER = """\
127.0.0.1:%(port)d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


def daemons():
    """Where Postfix's own programs lie; raises Missing."""
    found = next((path for path in _DAEMONS if os.path.exists(path + "/master")), None)
    if found is None or shutil.which("postconf",
                                     path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
        raise Missing("Postfix")
    if os.geteuid() != 0:
        raise Missing("Postfix (its master needs root)")
    return found


def lay_out(folder, port, settings):
    """Write an instance that listens on `port` into a folder that all may read: (command that runs
    it, its environment).

    `settings` of main.cf stand over those that every instance has. Raises Missing.
    """
    where = daemons()
    _make_queue(folder, pwd.getpwnam("postfix").pw_uid, grp.getgrnam("postdrop").gr_gid)
    own = dict(_BASE, queue_directory=folder + "/queue", data_directory=folder + "/data",
               daemon_directory=where)
    config = os.path.join(folder, "config")
    os.mkdir(config)
    with open(os.path.join(config, "main.cf"), "w") as file:
        file.writelines("%s = %s\n" % item for item in dict(own, **settings).items())
    with open(os.path.join(config, "master.cf"), "w") as file:
        file.write(_MASTER % {"port": port})
    return [where + "/master", "-c", config, "-d"], {"MAIL_CONFIG": config}


def _make_queue(folder, postfix, postdrop):
    queue = os.path.join(folder, "queue")
    for path in (queue, os.path.join(queue, "pid")):
        os.mkdir(path, 0o755)
    for name in _QUEUES:
        path = os.path.join(queue, name)
        os.mkdir(path, 0o700)
        os.chown(path, postfix, 0)
    for name, mode in (("public", 0o2710), ("maildrop", 0o1730)):
        path = os.path.join(queue, name)
        os.mkdir(path)
        os.chown(path, postfix, postdrop)
        os.chmod(path, mode)
    data = os.path.join(folder, "data")
    os.mkdir(data, 0o700)
    os.chown(data, postfix, 0)


class Postfix:
    """Mail that it accepted is in the queue; `waits` says that arriving takes longer."""

    name = "Postfix"
    waits = True

    def __init__(self, folder, python=None):
        daemons()
        self._folder = folder
        self.maildir = os.path.join(folder, "mail")
        self.smtp = free_port()
        self.child = None
        self._command = self._prepare()

    def _prepare(self):
        nobody = pwd.getpwnam("nobody")
        os.chmod(self._folder, 0o755)
        make(self.maildir)
        for part in ("", "new", "cur", "tmp"):
            os.chown(os.path.join(self.maildir, part), nobody.pw_uid, nobody.pw_gid)
        return lay_out(self._folder, self.smtp, {
            "myhostname": "mail." + DOMAIN,
            "virtual_mailbox_domains": DOMAIN,
            "virtual_mailbox_base": self._folder,
            "virtual_mailbox_maps": "inline:{ { %s = mail/ } }" % ADDRESS,
            "virtual_uid_maps": "static:%d" % nobody.pw_uid,
            "virtual_gid_maps": "static:%d" % nobody.pw_gid,
            # The client's rate is what is measured, not the pause that keeps a flood within what
            # the disk takes.
            "in_flow_delay": "0"})

    def start(self):
        command, environment = self._command
        self.child = Child(command, os.path.join(self._folder, "log"), environment)
        await_banner(self.child, self.smtp)
        return self

    def stop(self):
        if self.child is not None:
            self.child.stop()


class PostfixQueue:
    """A queue of outgoing mail for the server at `next_hop`, a port of the loopback; `hold` defers
    all, `flush` lets it go.

    It takes mail from the loopback at `smtp`, without a login.
    """

    name = "Postfix"

    def __init__(self, folder, next_hop):
        os.chmod(folder, 0o755)
        self._folder = folder
        self.smtp = free_port()
        self.child = None
        self._settings = {"myhostname": "mail." + DOMAIN, "relayhost": "[127.0.0.1]:%d" % next_hop,
                          "in_flow_delay": "0"}
        self._command, self._environment = lay_out(folder, self.smtp, self._settings)

    def start(self):
        self.child = Child(self._command, os.path.join(self._folder, "log"), self._environment)
        await_banner(self.child, self.smtp)
        return self

    def hold(self):
        self._set("defer_transports", "smtp")

    def flush(self):
        """Let what waits be sent; returns once Postfix knows: how many messages that took, none."""
        self._set("defer_transports", "")
        self._run("postqueue", "-f")
        return 0

    def waiting(self):
        """How many messages are in the queue."""
        return sum(len(names) for queue in _WAITING for _, _,
                   names in os.walk(os.path.join(self._folder, "queue", queue)))

    def _set(self, name, value):
        self._run("postconf", "-e", "%s=%s" % (name, value))
        self._run("postfix", "reload")

    def _run(self, program, *words):
        subprocess.check_output(["/usr/sbin/" + program, "-c", self._environment["MAIL_CONFIG"]]
                                + list(words),
                                env=dict(os.environ, **self._environment), stderr=subprocess.STDOUT)

    def stop(self):
        if self.child is not None:
            self.child.stop()
