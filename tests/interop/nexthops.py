"""Other people's mail servers as the next hop of outgoing mail: Postfix, Exim, chasquid, OpenSMTPD,
and Postfix's rude smtp-sink.

Each lives in a temporary folder, on a free port of the loopback, with configuration of its own;
nothing of the system is touched, and it ends with the test. They take mail for `DOMAIN` at the
mailboxes `MAILBOXES`, offer STARTTLS with one and the same certificate, and write a Received field
that says whether it was used. What each refuses stands with it.
"""
import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
import tempfile
import time

from tests.bench.peers import postfix
from tests.bench.peers.process import Child, Missing, await_banner, free_port
from tests.interop.house import eventually, run, succeed

DOMAIN = "example.net"
HOST = "mx." + DOMAIN
MAILBOXES = ("ann", "bob", "cyd", "grey")
REFUSED, LATER = "refused", "later"  # 550 and 451, always
USER, PASSWORD = "phen", "open sesame"  # for AUTH, where it is offered
ELSEWHERE = "elsewhere"  # the mailbox of what a smarthost took for other domains
_NAMES = (HOST, "localhost", "smart." + DOMAIN)


class Forbidden(Exception):
    """What a server needs is not allowed on this machine."""


class Certificate:
    """A certificate for all of the next hops' names, signed by itself: `path` and `key`, PEM files
    that all may read."""

    def __init__(self, openssl, folder):
        self.path = os.path.join(folder, "certificate.pem")
        self.key = os.path.join(folder, "key.pem")
        succeed([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                 "-nodes", "-days", "30",
                 "-subj", "/CN=" + HOST, "-addext",
                 "subjectAltName=" + ",".join("DNS:" + name for name in _NAMES),
                 "-out", self.path, "-keyout", self.key])
        os.chmod(self.key, 0o644)

    def digest(self, openssl):
        """SHA-256 of its public key in hexadecimal: what TLSA 3 1 1 says."""
        public = succeed([openssl, "x509", "-in", self.path, "-noout", "-pubkey"])
        return hashlib.sha256(succeed([openssl, "pkey", "-pubin", "-outform", "DER"],
                                      public)).hexdigest()


class NextHop:
    """One server: `port` once it is started; a context manager that ends it."""

    name = ""

    def __init__(self, program, port=None):
        """`program(name)` gives the path of a program, as the fixture of that name does."""
        self.folder = tempfile.mkdtemp(prefix="phenmail-%s-" % self.name)
        os.chmod(self.folder, 0o755)  # the servers become other users
        self.port = port or free_port()
        self._program = program
        self._maildirs = os.path.join(self.folder, "mail")
        self._child = None
        os.mkdir(self._maildirs)

    def __enter__(self):
        try:
            self.certificate = Certificate(self._program("openssl"), self.folder)
            command, environment = self.prepare()
            self._child = Child(command, os.path.join(self.folder, "output"), environment)
            self.await_start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._child is not None:
            self._child.stop()
            self._end_offspring()
        shutil.rmtree(self.folder, ignore_errors=True)

    def await_start(self):
        await_banner(self._child, self.port)

    def _offspring(self):
        """The processes that still run with this folder in their command: Exim's make a new one, to
        log that they end."""
        folder = self.folder.encode("ascii")
        for number in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
            try:
                with open("/proc/%s/cmdline" % number, "rb") as file:
                    if folder in file.read():
                        yield int(number)
            except OSError:
                pass  # it ended just now

    def _end_offspring(self):
        end = time.monotonic() + 5
        while time.monotonic() < end and any(self._offspring()):
            time.sleep(0.01)
        for number in self._offspring():
            os.kill(number, signal.SIGKILL)

    def prepare(self):
        """Write the configuration: (command that runs the server in the foreground, its
        environment)."""
        raise NotImplementedError

    def _write(self, name, text, mode=0o644):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def _own(self, uid, gid, *names):
        """Folders of a user that the server becomes."""
        for name in names:
            path = os.path.join(self.folder, name)
            os.makedirs(path, exist_ok=True)
            os.chown(path, uid, gid)

    # What arrived

    def mail(self, mailbox):
        """The messages in a mailbox, in the order of their arrival: list of bytes in wire form."""
        folder = os.path.join(self._maildirs, mailbox, "new")
        found = []
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found.append((os.stat(path).st_mtime_ns,
                              file.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")))
        return [message for _, message in sorted(found)]

    def elsewhere(self):
        """What it took as a smarthost for other domains."""
        return self.mail(ELSEWHERE)

    def arrived(self, mailbox, count=1, seconds=30.0):
        """Wait for so many messages in a mailbox; more of them are a failure."""
        try:
            found = eventually(lambda: len(self.mail(mailbox)) >= count and self.mail(mailbox),
                               "%d messages for %s at %s" % (count, mailbox, self.name), seconds)
        except AssertionError as failure:
            raise AssertionError("%s\n%s" % (failure, self.log())) from None
        assert len(found) == count, "%s got %d messages for %s" % (self.name, len(found), mailbox)
        return found

    def log(self):
        """All that it said, for whoever looks why a test failed."""
        said = []
        for path, _, names in os.walk(self.folder):
            for name in names:
                whole = os.path.join(path, name)
                if (name == "output" or name.endswith("log")) and os.path.isfile(whole):
                    with open(whole, errors="replace") as file:
                        said.append(file.read()[-6000:])
        return "\n".join(said)


def account(name):
    """A user of the system that a server becomes; raises Missing."""
    if os.geteuid() != 0:
        raise Missing("%s needs root" % name)
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise Missing("the user " + name) from None


def over_tls(message):
    """Whether the server that a message reached says that it came over TLS: its Received field is
    the first."""
    fields = re.findall(rb"^Received:.*\r\n(?:[ \t].*\r\n)*", message, re.M)
    assert fields, message
    return b"TLS" in fields[0]


class Postfix(NextHop):
    """550 5.1.1 for whom it does not know and `REFUSED`, 451 4.2.0 for `LATER`. `more`: settings of
    main.cf over its own."""

    name = "Postfix"

    def __init__(self, program, port=None, more=None):
        super().__init__(program, port)
        self._more = more or {}

    def prepare(self):
        self._program("postfix")
        nobody = pwd.getpwnam("nobody")
        self._own(nobody.pw_uid, nobody.pw_gid, *("mail/" + name for name in MAILBOXES))
        return postfix.lay_out(self.folder, self.port, dict({
            "myhostname": HOST, "smtpd_peername_lookup": "no",
            "virtual_mailbox_domains": DOMAIN, "virtual_mailbox_base": self._maildirs,
            "virtual_mailbox_maps": "inline:{ %s }" % ", ".join(
                "{ %s@%s = %s/ }" % (name, DOMAIN, name) for name in MAILBOXES + (LATER,)),
            "virtual_uid_maps": "static:%d" % nobody.pw_uid,
            "virtual_gid_maps": "static:%d" % nobody.pw_gid,
            "smtpd_recipient_restrictions":
                "check_recipient_access inline:{ { %s@%s = 451 4.2.0 Mailbox busy } }"
            % (LATER, DOMAIN),
            "smtpd_tls_security_level": "may", "smtpd_tls_received_header": "yes",
            "smtpd_tls_cert_file": self.certificate.path,
            "smtpd_tls_key_file": self.certificate.key,
            "maillog_file": os.path.join(self.folder, "mail.log"),
            "maillog_file_prefixes": self.folder}, **self._more))


_EXIM = """\
primary_hostname = {host}
exim_path = {program}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/spool/pid
keep_environment =
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {key}
log_selector = +tls_cipher
host_lookup =
rfc1413_hosts =
never_users = root
deliver_drop_privilege
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
message_size_limit = 200M
acl_smtp_rcpt = recipient
{more}

begin acl
recipient:
  accept authenticated = *
  deny local_parts = {refused}
    message = 550 5.1.1 Nobody of that name
  defer local_parts = {later}
    message = 451 4.2.0 Mailbox busy
  defer local_parts = grey
    !ratelimit = 1.5 / 1h / strict / per_rcpt / $sender_address
    message = 451 4.7.1 Greylisted, come again
  accept local_parts = {mailboxes}
    domains = {domain}
  deny message = 550 5.1.1 Nobody of that name

begin routers
here:
  driver = accept
  domains = {domain}
  local_parts = dsearch;{folder}/mail
  transport = maildir
elsewhere:
  driver = accept
  transport = elsewhere

begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = {folder}/mail/$local_part_data
elsewhere:
  driver = appendfile
  maildir_format
  directory = {folder}/mail/{elsewhere}

begin retry
* * F,1h,1m

begin authenticators
{authenticators}"""
_AUTHENTICATORS = {
    "PLAIN": "plain:\n driver = plaintext\n public_name = PLAIN\n server_prompts = :\n"
             " server_condition = ${if and {{eq{$auth2}{%(user)s}}{eq{$auth3}{%(password)s}}}}\n "
             "server_set_id = $auth2\n",
    "LOGIN": "login:\n driver = plaintext\n public_name = LOGIN\n server_prompts = <| Username: | "
             "Password:\n"
             " server_condition = ${if and {{eq{$auth1}{%(user)s}}{eq{$auth2}{%(password)s}}}}\n "
             "server_set_id = $auth1\n",
    "CRAM-MD5": "cram:\n driver = cram_md5\n public_name = CRAM-MD5\n"
                " server_secret = ${if eq{$auth1}{%(user)s}{%(password)s}fail}\n server_set_id = "
                "$auth1\n"}


class Exim(NextHop):
    """550 5.1.1 for whom it does not know and `REFUSED`, 451 4.2.0 for `LATER`, 451 4.7.1 for a
    sender's first try at "grey".

    `mechanisms`: for whom logs in it takes everything; mail for other domains lies in
    `elsewhere()`. `more`: lines of its main configuration.
    """

    name = "Exim"

    def __init__(self, program, port=None, mechanisms=(), more=""):
        super().__init__(program, port)
        self._mechanisms = mechanisms
        self._more = more

    def prepare(self):
        path = self._program("exim4")
        user = account("Debian-exim")
        self._own(user.pw_uid, user.pw_gid, "spool", "log",
                  *("mail/" + name for name in MAILBOXES + (ELSEWHERE,)))
        settings = self._write("exim.conf", _EXIM.format(
            host=HOST, program=path, folder=self.folder, port=self.port,
            certificate=self.certificate.path,
            key=self.certificate.key, refused=REFUSED, later=LATER, mailboxes=" : ".join(MAILBOXES),
            domain=DOMAIN,
            elsewhere=ELSEWHERE, more=self._more, authenticators="\n".join(
                _AUTHENTICATORS[mechanism] % {"user": USER, "password": PASSWORD}
                for mechanism in self._mechanisms)))
        return [path, "-C", settings, "-bdf"], {}


_CHASQUID = """\
hostname: "{host}"
smtp_address: "127.0.0.1:{port}"
submission_address: "127.0.0.1:{submission}"
data_dir: "{folder}/data"
mail_log_path: "{folder}/mail.log"
mail_delivery_agent_bin: "{folder}/deliver"
mail_delivery_agent_args: "%to_user%"
max_data_size_mb: 200
"""
_DELIVER = """\
#!/bin/sh
set -e
cd '{folder}/mail'
mkdir -p "$1/new"
cat > "tmp.$$"
mv "tmp.$$" "$1/new/$$"
"""


class Chasquid(NextHop):
    """550 for whom it does not know; `submission` is a port for which `USER` at `DOMAIN` has to log
    in, after STARTTLS."""

    name = "chasquid"

    def prepare(self):
        path = self._program("chasquid")
        self.submission = free_port()
        config = os.path.join(self.folder, "config")
        self._write("config/chasquid.conf", _CHASQUID.format(
            host=HOST, port=self.port, submission=self.submission, folder=self.folder))
        self._write("deliver", _DELIVER.format(folder=self.folder), 0o755)
        os.makedirs(os.path.join(config, "domains", DOMAIN))
        os.makedirs(os.path.join(config, "certs", HOST))
        shutil.copy(self.certificate.path, os.path.join(config, "certs", HOST, "fullchain.pem"))
        shutil.copy(self.certificate.key, os.path.join(config, "certs", HOST, "privkey.pem"))
        for name in MAILBOXES + (USER,):
            succeed([self._program("chasquid-util"), "-C=" + config, "user-add",
                     "%s@%s" % (name, DOMAIN),
                     "--password=" + PASSWORD])
        return [path, "-config_dir", config, "-v", "1"], {}


_SMTPD = """\
pki {host} cert "{certificate}"
pki {host} key "{key}"
listen on 127.0.0.1 port {port} tls pki {host} hostname {host}
table boxes {{ {boxes} }}
action "keep" maildir "{folder}/mail/%{{dest.user}}" virtual <boxes>
match from any for domain "{domain}" action "keep"
"""
# Its users and folders are compiled in: it sees them where others see the system's.
_APART = """\
set -e
mount --make-rprivate /
mount --bind '{folder}/passwd' /etc/passwd
mount --bind '{folder}/group' /etc/group
mount --bind '{folder}/spool' /var/spool
mount --bind '{folder}/lib' /var/lib
mount --bind '{folder}/run' /run
mount --bind '{libexec}' /usr/libexec
exec '{program}' -d -F -f '{folder}/smtpd.conf'
"""
_SMTPD_USERS = ("opensmtpd", "opensmtpq")


class OpenSmtpd(NextHop):
    """524 for whom it does not know; no PIPELINING; STARTTLS that fails after 220, wherever Debian
    12 built it for OpenSSL 3.

    In a mount namespace of its own; where there can be none it raises Forbidden.
    """

    name = "OpenSMTPD"

    def prepare(self):
        path = self._program("smtpd")
        apart = self._program("unshare")
        if run([apart, "--mount", "true"]).code:
            raise Forbidden("nobody may mount anything here")
        nobody = account("nobody")
        self._own(nobody.pw_uid, nobody.pw_gid, "mail")
        for name in ("spool", "run", "lib/opensmtpd/empty"):
            os.makedirs(os.path.join(self.folder, name), 0o755)
        for file, line in (("passwd", "{0}:x:{1}:{1}::/:/bin/false\n"), ("group", "{0}:x:{1}:\n")):
            with open("/etc/" + file) as system:
                self._write(file, system.read() + "".join(
                    line.format(name, 65100 + number) for number, name in enumerate(_SMTPD_USERS)))
        os.chmod(self.certificate.key, 0o600)
        self._write("smtpd.conf", _SMTPD.format(
            host=HOST, certificate=self.certificate.path, key=self.certificate.key, port=self.port,
            folder=self.folder,
            domain=DOMAIN, boxes=", ".join('"%s" = "nobody"' % name for name in MAILBOXES)))
        script = self._write("apart", _APART.format(
            folder=self.folder, program=path,
            libexec=os.path.join(os.path.dirname(os.path.dirname(path)), "libexec")))
        return [apart, "--mount", "sh", script], {}


class Sink(NextHop):
    """Postfix's smtp-sink: takes everything, in the clear; `manners`: its options, for refusals and
    sudden closes."""

    name = "smtp-sink"

    def __init__(self, program, *manners, port=None):
        super().__init__(program, port)
        self._manners = manners

    def prepare(self):
        nobody = account("nobody")
        self._own(nobody.pw_uid, nobody.pw_gid, "mail/all/new")
        return [self._program("smtp-sink"), "-u", "nobody", "-R", self.folder, "-d",
                "mail/all/new/%M."] + list(
            self._manners) + ["127.0.0.1:%d" % self.port, "100"], {}

    def await_start(self):
        """Until it can be reached; it need not say anything."""
        eventually(self._takes_connections, "smtp-sink")

    def _takes_connections(self):
        self._child.check()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def messages(self):
        """What was sent, whole or not, below fields X-Mail-Args, X-Rcpt-Args and Received of its
        own."""
        return self.mail("all")
