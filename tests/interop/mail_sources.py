"""Other people's mail servers as sources of mail: Dovecot, Courier and Cyrus, by IMAP and POP3.

Each lives in a temporary folder, on a free port of the loopback, with configuration of its own;
nothing of the system is touched. One user, USER with PASSPHRASE, has one mailbox that matters:

    with Cyrus(folder, "pop") as source:
        source.add([b"Subject: …"])     put messages into INBOX
        source.account(remove=True)     an account of mail-fetcher.jcfg
        source.left()                   how many messages are in INBOX

They raise Missing if their program is not there. Debian cannot install Courier and Cyrus beside
Dovecot, so .ci/run unpacks them.
"""
import contextlib
import imaplib
import os
import pwd
import socket
import subprocess
import threading
import time

from tests.bench.messages import PASSPHRASE, USER
from tests.bench.peers import dovecot
from tests.bench.peers.process import Child, Missing, await_banner, free_port

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNPACKED = os.path.join(TOP, ".venv", "debian")
_PATIENCE = 30.0


class MailSource:
    """A server. `name`, and `protocol`: imap or pop."""

    name = ""

    def __init__(self, folder, protocol="imap"):
        self.folder, self.protocol = str(folder), protocol
        self.port = 0
        self._added = 0

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception):
        self.stop()

    def start(self):
        raise NotImplementedError

    def stop(self):
        raise NotImplementedError

    def account(self, **values):
        """An account of mail-fetcher.jcfg for it."""
        return dict({"name": "source", "server": "127.0.0.1", "port": self.port,
                     "protocol": self.protocol, "username": USER, "passphrase": PASSPHRASE,
                     "first-time": "download-all"}, **values)

    def add(self, messages):
        """Put messages (bytes, CRLF) into INBOX, each at once."""
        raise NotImplementedError

    def left(self):
        """How many messages are in INBOX."""
        raise NotImplementedError


class _MaildirSource(MailSource):
    """A server on a Maildir, which also others may fill. `maildir`: its path."""

    maildir = ""
    owner = None  # pwd entry

    def make(self):
        for name in ("", "cur", "new", "tmp"):
            os.makedirs(os.path.join(self.maildir, name), 0o700, exist_ok=True)

    def add(self, messages):
        for message in messages:
            self._added += 1
            name = "%d.M%06dP%d.source" % (time.time(), self._added, os.getpid())
            path = os.path.join(self.maildir, "tmp", name)
            with open(path, "wb") as file:
                file.write(message.replace(b"\r\n", b"\n"))
            if self.owner is not None:
                os.chown(path, self.owner.pw_uid, self.owner.pw_gid)
            os.rename(path, os.path.join(self.maildir, "new", name))

    def left(self):
        return sum(len(os.listdir(os.path.join(self.maildir, name))) for name in ("cur", "new"))


class Dovecot(_MaildirSource):
    """Dovecot with Debian's defaults."""

    name = "Dovecot"

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        self._server = dovecot.Dovecot(self.folder)
        self.maildir = self._server.maildir
        self.owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.make()
        self._server.start()
        self.port = self._server.ports["pop3" if self.protocol == "pop" else "imap"]

    def stop(self):
        self._server.stop()


class Courier(_MaildirSource):
    """courierpop3d or Courier's imapd. Its own login wants a daemon with rights, so a login of ours
    stands before it; all the rest of a session is Courier's."""

    name = "Courier"

    def __init__(self, folder, protocol="imap"):
        super().__init__(folder, protocol)
        self._program = _unpacked("usr/bin/imapd" if protocol == "imap"
                                  else "usr/lib/courier/courier/courierpop3d")
        self.maildir = os.path.join(self.folder, "Maildir")

    def start(self):
        self.make()
        self._children = []
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(20)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends a waiting accept
        self._listener.close()
        for child in self._children:
            if child.poll() is None:
                child.terminate()
            child.wait(10)

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(_PATIENCE)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with contextlib.suppress(OSError), sock:
            tag = self._login_imap(sock) if self.protocol == "imap" else self._login_pop(sock)
            if tag is None:
                return
            sock.settimeout(None)
            with open(os.path.join(self.folder, "log"), "ab") as log:
                child = subprocess.Popen(
                    [self._program, self.maildir], stdin=sock, stdout=sock, stderr=log,
                    cwd=self.folder, env={
                        "PATH": os.environ.get("PATH", os.defpath), "HOME": self.folder,
                        "AUTHENTICATED": USER, "AUTHADDR": USER, "TCPREMOTEIP": "127.0.0.1",
                        "TCPREMOTEPORT": "1", "PROTOCOL": "IMAP", "IMAPLOGINTAG": tag,
                        "IMAP_CAPABILITY": "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE IDLE",
                        "IMAP_USELOCKS": "1", "IMAP_CHECK_ALL_FOLDERS": "0", "IMAP_UMASK": "077",
                        "IMAP_IDLE_TIMEOUT": "1"})
            self._children.append(child)

    def _login_pop(self, sock):
        sock.sendall(b"+OK Hello there.\r\n")
        while True:
            words = _line(sock).split(b" ", 1)
            command = words[0].upper()
            if command == b"CAPA":
                sock.sendall(b"+OK\r\nUSER\r\nTOP\r\nUIDL\r\nPIPELINING\r\n.\r\n")
            elif command == b"USER":
                sock.sendall(b"+OK Password required.\r\n")
            elif command == b"PASS":
                if words[1] == PASSPHRASE.encode("ascii"):
                    return ""  # courierpop3d gives the answer
                sock.sendall(b"-ERR Login failed.\r\n")
            else:
                sock.sendall(b"-ERR Invalid command.\r\n")
            if command in (b"QUIT", b""):
                return None

    def _login_imap(self, sock):
        sock.sendall(b"* OK [CAPABILITY IMAP4rev1 UIDPLUS CHILDREN NAMESPACE IDLE] Ready.\r\n")
        while True:
            tag, _, command = _line(sock).partition(b" ")
            word = command.split(b" ")[0].upper()
            if word == b"LOGIN":
                if command.split()[2].strip(b'"') == PASSPHRASE.encode("ascii"):
                    return tag.decode("ascii")  # imapd gives the answer
                sock.sendall(tag + b" NO Login failed.\r\n")
            elif word == b"CAPABILITY":
                sock.sendall(b"* CAPABILITY IMAP4rev1 UIDPLUS CHILDREN NAMESPACE IDLE\r\n"
                             + tag + b" OK done\r\n")
            else:
                sock.sendall(tag + b" BAD not now\r\n")
            if word in (b"LOGOUT", b""):
                return None


def _line(sock):
    """A line without CRLF, and not an octet more of what the socket has."""
    line = b""
    while not line.endswith(b"\r\n") and len(line) < 1000:
        piece = sock.recv(1)
        if not piece:
            raise OSError("closed")
        line += piece
    return line[:-2]


_CYRUS = """\
configdirectory: %(folder)s/conf
partition-default: %(folder)s/spool
defaultpartition: default
admins: cyrus
allowplaintext: yes
sasl_pwcheck_method: alwaystrue
sasl_mech_list: PLAIN
unixhierarchysep: yes
altnamespace: yes
autocreate_quota: 0
autocreate_users: anyone
sendmail: /bin/true
idlesocket: %(folder)s/idle
lmtpsocket: %(folder)s/lmtp
notifysocket: %(folder)s/notify
popminpoll: 0
imapidlepoll: 1
cyrus_user: %(user)s
"""
_CYRUS_SERVICES = """\
START {
  recover cmd="%(bin)s/ctl_cyrusdb -r -C %(folder)s/imapd.conf"
}
SERVICES {
  imap cmd="%(bin)s/imapd -U 30 -C %(folder)s/imapd.conf" listen="127.0.0.1:%(imap)d" prefork=0
  pop3 cmd="%(bin)s/pop3d -U 30 -C %(folder)s/imapd.conf" listen="127.0.0.1:%(pop)d" prefork=0
}
EVENTS {
}
"""


class Cyrus(MailSource):
    """Cyrus IMAP. Any passphrase will do."""

    name = "Cyrus"

    def __init__(self, folder, protocol="imap"):
        super().__init__(folder, protocol)
        self._bin = os.path.dirname(_unpacked("usr/lib/cyrus/bin/master"))
        self._child = None

    def start(self):
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        for name in ("conf/db", "conf/proc", "conf/socket", "conf/msg", "conf/log", "spool"):
            os.makedirs(os.path.join(self.folder, name))
        self._imap, pop = free_port(), free_port()
        self.port = pop if self.protocol == "pop" else self._imap
        values = {"folder": self.folder, "user": user.pw_name, "bin": self._bin,
                  "imap": self._imap, "pop": pop}
        for name, text in (("imapd.conf", _CYRUS), ("cyrus.conf", _CYRUS_SERVICES)):
            with open(os.path.join(self.folder, name), "w") as file:
                file.write(text % values)
        command = [os.path.join(self._bin, "master"), "-M", self.folder + "/cyrus.conf",
                   "-C", self.folder + "/imapd.conf", "-p", self.folder + "/pid", "-D"]
        if os.geteuid() == 0:
            for path, folders, files in os.walk(self.folder):
                for name in [""] + files:
                    os.chown(os.path.join(path, name), user.pw_uid, user.pw_gid)
            command = ["setpriv", "--reuid=%d" % user.pw_uid, "--regid=%d" % user.pw_gid,
                       "--clear-groups"] + command
        self._child = Child(command, os.path.join(self.folder, "output"), {
            "CYRUS_USER": user.pw_name,
            "LD_LIBRARY_PATH": os.path.join(UNPACKED, "usr/lib/x86_64-linux-gnu")})
        await_banner(self._child, self._imap)
        with self._client():  # makes the mailbox
            pass

    def stop(self):
        if self._child is not None:
            self._child.stop()

    @contextlib.contextmanager
    def _client(self):
        client = imaplib.IMAP4("127.0.0.1", self._imap)
        try:
            client.login(USER, PASSPHRASE)
            yield client
        finally:
            with contextlib.suppress(imaplib.IMAP4.error, OSError):
                client.logout()

    def add(self, messages):
        with self._client() as client:
            for message in messages:
                status, answer = client.append("INBOX", None, None, message)
                if status != "OK":
                    raise RuntimeError("Cyrus does not take a message: %r" % answer)

    def left(self):
        with self._client() as client:
            return int(client.select("INBOX", readonly=True)[1][0])


def _unpacked(path):
    """The path of a file of a package that .ci/run unpacked. Raises Missing."""
    found = os.path.join(UNPACKED, path)
    if not os.path.exists(found):
        raise Missing(path)
    return found
