"""Courier's IMAP server over a Maildir: one user, logged in already (PREAUTH), because its login
needs Courier's authentication daemon. As root or not."""
import os
import pwd
import shutil
import socket
import subprocess
import threading

from .process import Missing

# Debian's Courier cannot be installed beside Dovecot, so it may be unpacked here.
UNPACKED = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))), ".venv", "debian")


class Courier:
    """`maildir` is INBOX; the other mailboxes lie in it."""

    name = "Courier"

    def __init__(self, folder):
        self._folder = str(folder)
        self._program, make = (_find(name) for name in ("imapd", "maildirmake.courier"))
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
        self.maildir = os.path.join(self._folder, "Maildir")
        os.chmod(self._folder, 0o755)
        subprocess.check_call([make, self.maildir])
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self.ports = {"imap": self._listener.getsockname()[1]}
        self._children = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self):
        for parent, _, names in os.walk(self._folder):
            for name in [""] + names:
                os.chown(os.path.join(parent, name), self._user.pw_uid, self._user.pw_gid)
        self._thread.start()
        return self

    def _serve(self):
        command = [self._program, "Maildir"]
        if os.geteuid() == 0:
            command = [shutil.which("setpriv"), "--reuid=%d" % self._user.pw_uid,
                       "--regid=%d" % self._user.pw_gid, "--clear-groups"] + command
        environment = {
            "PATH": os.environ.get("PATH", os.defpath), "HOME": self._folder,
            "IMAP_CAPABILITY": "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE SORT QUOTA IDLE",
            "IMAP_KEYWORDS": "1", "IMAP_USELOCKS": "1", "IMAP_ENHANCEDIDLE": "0",
            "IMAP_IDLE_TIMEOUT": "1"}
        with open(os.path.join(self._folder, "output"), "ab") as log:
            while True:
                try:
                    sock, _ = self._listener.accept()
                except OSError:
                    return
                with sock:
                    self._children.append(subprocess.Popen(
                        command, cwd=self._folder, env=environment, stdin=sock, stdout=sock,
                        stderr=log))

    def stop(self):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self._thread.join(10)
        for child in self._children:
            child.kill()
            child.wait()


def _find(name):
    path = shutil.which(name, path=os.pathsep.join(
        ("/usr/bin", os.path.join(UNPACKED, "usr", "bin"))))
    if path is None:
        raise Missing("Courier")
    return path
