"""The composition root: builds the parts of a mail server and runs them.

``MailServer`` is all that an embedding program needs. It reads no environment
and no arguments, handles no signal, configures no logging; two of them run in
one process, and after ``stop()`` none of their threads is left.
"""
import contextlib
import logging
import os
import threading
import time
from typing import NamedTuple

from . import __version__
from .accounts.authorization import Authorizations
from .accounts.directory import Directory
from .config import loader
from .config.root import Root
from .config.settings import listeners
from .delivery.replies import PluginRefused
from .delivery.sending import MailRefused
from .disk.atomic import remove_stale
from .disk.locks import FileLock, LockTimeout
from .imap import handler as imap_handler
from .imap.session import Service as ImapServer
from .imap.trees import Trees
from .net import listener as net_listener
from .net import tls
from .net.address import is_loopback, is_served
from .net.errors import CertificateError
from .net.gate import Gate
from .net.turns import Turns
from .pipeline import Delivery
from .pop3 import handler as pop3_handler
from .smtp import handler as smtp_handler
from .store.filestore import FileStore

_SERVER_LOCK = "server.lock"
_DAY = 86400.0
_PROTOCOLS = {
    "submissions": "submission", "imaps": "imap", "pop3s": "pop3"}
_TOO_MANY = {
    "smtp": b"421 4.7.0 Too many connections, try again later\r\n",
    "imap": b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
    "pop3": b"-ERR [SYS/TEMP] Too many connections, try again later\r\n",
}
_EMBEDDED_SECTIONS = {
    "smtp": ("starttls",), "relay": ("starttls", "implicit"),
    "imap": ("starttls", "implicit"), "pop": ("starttls", "implicit")}
_log = logging.getLogger("phenmail")


__all__ = ["AlreadyRunning", "Listening", "MailRefused", "MailServer",
           "PluginRefused"]


class AlreadyRunning(Exception):
    """Another server holds the root folder."""


class Listening(NamedTuple):
    """One service as it is offered: ``tls`` as in settings.Listen."""
    name: str
    host: str
    port: int
    tls: str
    path: str = ""


class MailServer:
    """A mail server over one root folder.

    ``root``: the root folder's path; None makes a temporary one that goes
    with ``stop()``, with every service on a free port of the loopback unless
    ``settings`` says otherwise. ``settings``: what mail.jcfg would hold, as a
    dict; None reads the file. ``users``: {address: passphrase}, made before
    the start. ``device``: the device identity where the root has several.

    Raises config.problems.ConfigError for settings that can't be used.
    """

    def __init__(self, root=None, settings=None, users=None, plugins=None,
                 device=None):
        self._temporary = None
        self._is_removed = False  # the temporary root, by a stop
        if root is None:
            import tempfile
            self._temporary = root = tempfile.mkdtemp(prefix="phenmail-")
            settings = _embedded(settings)
        self.root = Root(root, device)
        self._given = settings
        self._users = dict(users or {})
        self._plugins = dict(plugins or {})
        self._authorizations = Authorizations(self.root.mail_system)
        self._lock = None
        self._listeners = []
        self._named = []
        self._turn = threading.RLock()  # one start or stop at a time
        self._stopping = threading.Event()
        self._keeper = None
        self.store = self.directory = self.router = self.relay = None
        self._delivery = None
        self.certificates = None
        self.no_certificate = ""  # why there is none
        # As at the start, whoever it runs as when it rereads its settings.
        self._privileged = not hasattr(os, "geteuid") or os.geteuid() == 0
        try:
            self.settings = self._read_settings()
        except BaseException:
            self._remove_temporary()
            raise

    # Settings

    def _read_settings(self):
        if self._given is None and not self._users:
            return loader.load_server(self.root, self._privileged)
        values = dict(self._given) if self._given is not None else (
            {} if not os.path.exists(self.root.configuration) else None)
        if values is None:  # users for a root that has its own configuration
            return loader.load_server(self.root, self._privileged)
        return loader.server_from_dict(
            _with_users(values, self._users), self.root, self._privileged)

    def _reloader(self):
        if self._given is None and os.path.exists(self.root.configuration):
            return self._read_settings
        return None

    def reload(self):
        """Read the configuration again; what can't change while running
        (ports, certificates' paths) is told in the log.

        Raises ConfigError; the old settings then stay in force.
        """
        settings = self._read_settings()
        if listeners(settings, True) != listeners(self.settings, True):
            _log.warning("other listeners take effect at the next start")
        self.settings = settings
        self.directory.replace(settings)

    # Running

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.stop()

    def start(self):
        """Listen and serve; returns when clients can connect.

        Raises AlreadyRunning, OSError (a port that can't be had).
        """
        with self._turn:
            if self._lock is not None:
                raise RuntimeError("the server is running already")
            self.bind()
            try:
                self.serve()
            except BaseException:
                self.stop()
                raise

    def bind(self, taking_ports=None):
        """The first half of ``start``: take the root and the ports.

        ``taking_ports``: a context manager in which low ports can be had.
        """
        if self._is_removed:
            os.mkdir(self._temporary, 0o700)  # raises where somebody has it
            self._is_removed = False
        self.root.create()
        lock = FileLock(os.path.join(self.root.mail_system, _SERVER_LOCK), 0)
        try:
            lock.acquire()
        except LockTimeout:
            raise AlreadyRunning("another server holds %s%s" % (
                self.root.path, _holder(lock.path))) from None
        self._lock = lock
        try:
            with open(lock.path, "w") as file:
                file.write("%d\n" % os.getpid())
            remove_stale(self.root.mail_system)
            self._write_users()
            self._prepare_certificate()
            self._build()
            self._bind_listeners(taking_ports or contextlib.ExitStack())
        except BaseException:
            self.stop()
            raise

    def serve(self):
        """The second half of ``start``: begin to answer."""
        self._stopping.clear()
        for listener in self._listeners:
            listener.start()
        self._delivery.start()
        keeper = threading.Thread(
            target=self._keep_certificate, name="phenmail-keeper", daemon=True)
        keeper.start()
        self._keeper = keeper  # one that was not started can't be waited for

    def stop(self, seconds=5.0):
        """Say goodbye to everybody and end all threads within ``seconds``.

        From any thread, as often as you like. It may be started again then;
        a temporary root is empty after that.
        """
        with self._turn:
            self._stop(seconds)

    def _stop(self, seconds):
        end = time.monotonic() + seconds
        self._stopping.set()
        if self.directory is not None:
            self.directory.close()
        if self._delivery is not None:
            self._delivery.hurry()
        left = net_listener.stop_all(self._listeners, seconds)
        if left:
            _log.error("threads that did not end: %s", left)
        self._listeners, self._named = [], []
        if self._delivery is not None:
            self._delivery.stop(max(0.5, end - time.monotonic()))
            self._delivery = self.relay = None
        if self.store is not None:
            self.store.close()
            self.store = None
        if self._keeper is not None:
            self._keeper.join(seconds)
            self._keeper = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._remove_temporary()

    def _remove_temporary(self):
        if self._temporary is not None:
            import shutil
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._is_removed = not os.path.exists(self._temporary)

    def _write_users(self):
        if not self._users:
            return
        from .accounts import words  # not needed to serve
        directory = self._directory()
        for address, passphrase in self._users.items():
            account = directory.account(address)
            if account is None:
                raise ValueError("%s has no mailbox in the settings" % address)
            # What CRAM-MD5 and APOP need can be undone: a temporary root only.
            words.write_secrets(self.root, account.folder, passphrase,
                                reversible=self._temporary is not None)

    def _directory(self):
        return Directory(self.settings, self.root, reload=self._reloader(),
                         authorizations=self._authorizations)

    def _build(self):
        limits = self.settings.limits
        self.store = FileStore(reserve=limits.disk_reserve)
        self.directory = self._directory()
        self.directory.is_own = self._is_own
        self._delivery = Delivery(
            self.directory, self._authorizations, self.store,
            self._plugins, self, self._public_addresses,
            # Tests start many of these: keys are made when they are needed.
            is_temporary=self._temporary is not None)
        self.router, self.relay = self._delivery.router, self._delivery.relay
        self._trees, self._turns = Trees(), Turns()
        self._gate = Gate(
            limits.connections, limits.connections_per_address,
            limits.connections_before_login, limits.tls_handshakes)

    # Certificate

    def _prepare_certificate(self):
        """Make or renew our own; sets ``certificates``, or says why not."""
        files = self.settings.tls
        if not files.own:
            try:
                tls.ensure_self_signed(
                    files.certificate, files.key, [self.settings.sender_domain])
            except CertificateError as error:
                self.no_certificate = str(error)
                _log.error("no TLS, so only the loopback is served: %s", error)
                if not os.path.exists(files.certificate):
                    return
        self.certificates = tls.Certificates(files.certificate, files.key)

    def _keep_certificate(self):
        while not self._stopping.wait(_DAY):
            if self.certificates is not None:
                self._prepare_certificate()

    # Listeners

    def _bind_listeners(self, taking_ports):
        offered = listeners(self.settings, self.certificates is not None)
        for name, listen in offered:
            protocol = _PROTOCOLS.get(name, name)
            self._bind(name, protocol, listen, taking_ports)

    def _bind(self, name, protocol, listen, taking_ports):
        implicit = listen.tls == "implicit"
        options = dict(
            certificates=self.certificates, gate=self._gate, share=protocol,
            turns=self._turns,
            too_many=_TOO_MANY.get(protocol, _TOO_MANY["smtp"]))
        handle = self._handler(protocol, listen)
        if listen.path:
            made = [net_listener.UnixListener(
                name, listen.path, handle, **options)]
        else:
            with taking_ports:
                made = net_listener.listen(
                    name, listen.host, listen.port, handle,
                    implicit_tls=implicit, **options)
        self._listeners += made
        self._named.append(Listening(
            name, listen.host, made[0].port, listen.tls, listen.path or ""))

    def _handler(self, protocol, listen):
        settings = self.settings
        if protocol == "imap":
            return imap_handler.make(ImapServer(
                directory=self.directory, store=self.store,
                limits=settings.limits, tls_context=self._starttls(listen),
                plaintext_auth=listen.plaintext_auth,
                host=settings.sender_domain, debug=settings.imap_debug,
                trees=self._trees,
                identity=(("name", "phenmail"), ("version", __version__))))
        if protocol == "pop3":
            return pop3_handler.make(
                self.directory, self.store, settings.limits,
                tls_context=self._starttls(listen),
                plaintext_auth=listen.plaintext_auth,
                host=settings.sender_domain,
                implementation="phenmail-" + __version__,
                debug=settings.pop3_debug)
        size = settings.smtp_message_size if protocol == "smtp" else None
        return smtp_handler.make(
            protocol, listen, settings.limits, self.directory, self.router,
            self.certificates, size)

    def _starttls(self, listen):
        if self.certificates is None or listen.tls != "starttls":
            return None
        return self.certificates.context

    @property
    def listening(self):
        """A Listening for each service, in the order of the sections."""
        return tuple(self._named)

    def port(self, name):
        """The port of smtp, lmtp, submission, submissions, imap, imaps, pop3
        or pop3s; raises KeyError for one that is not offered."""
        for listening in self._named:
            if listening.name == name:
                return listening.port
        raise KeyError("%s is not among the services: %s" % (
            name, ", ".join(each.name for each in self._named) or "none"))

    # Sending

    def send_mail(self, sender, recipients, message):
        """Send a message; the answer is a list of the ids under which it
        waits in the queue, empty where all its recipients are users here.

        ``sender``: an address, "" for none (no bounces then), None for the
        smarthost's user name, else postmaster; ``recipients``: an address or
        several, here or elsewhere; ``message``: bytes, str or an
        ``email.message.Message``; missing fields are added.

        It is on the disk when this returns. Raises MailRefused, with an
        answer for each recipient, when one isn't taken (the others have it
        then); TypeError or ValueError (AddressError is one) for nonsense.
        """
        if self._delivery is None:
            raise RuntimeError("the server is not running")
        return self._delivery.sending.send_mail(sender, recipients, message)

    def try_filters(self, user, message, sender=None):
        """What each filter of a user would do with a message, without doing
        it; whether the server runs or not.

        ``user``: an address or a login name; ``message``: as for send_mail;
        ``sender``: of the envelope, "" for none, None takes it from the
        message. Gives an admin.filtertest.Result: ``lines`` (one a filter:
        number, place, condition, matched, effect, reached, remarks) and
        ``verdict`` (kind, mailbox, reason, flags, copies, forward).

        Raises ConfigError for filters that can't be read, ValueError for a
        user without mailbox here.
        """
        from .admin import filtertest  # not needed to serve
        settings = (self.settings if self.directory is None
                    else self.directory.settings)
        return filtertest.try_message(
            self.root, settings, user, message, sender=sender)

    def _is_own(self, ip):
        """Whether a normalised IP address, in an address literal, means this server."""
        hosts = [listener.server_address[0] for listener in self._listeners
                 if isinstance(listener.server_address, tuple)]
        return is_loopback(ip) or is_served(ip, hosts)

    def _public_addresses(self):
        """(ip, port) of the public listeners, by which loops are found."""
        return frozenset(listener.server_address[:2]
                         for listener in self._listeners
                         if listener.name == "smtp")


def _holder(path):
    try:
        with open(path) as file:
            return " (process %d)" % int(file.read(20))
    except (OSError, ValueError):
        return ""


def _embedded(settings):
    """Settings for a temporary root: what isn't said is on a free port."""
    values = dict(settings or {})
    for section, ways in _EMBEDDED_SECTIONS.items():
        if section not in values and not (
                section == "pop" and "pop3" in values):
            values[section] = {"listen": [
                {"host": "127.0.0.1", "port": 0, "tls": way} for way in ways]}
    return values


def _with_users(values, users):
    """The settings' values with a mailbox for each of ``users``."""
    domains = {domain: dict(parts) for domain, parts in
               values.get("domains", {}).items()}
    for address in users:
        local, _, domain = address.rpartition("@")
        if not local:
            raise ValueError("an address user@domain was expected, not %r"
                             % address)
        parts = domains.setdefault(domain, {})
        parts.setdefault(local, "/%s/mail" % (
            local if len(domains) == 1 else address))
        for role in ("postmaster", "abuse"):
            parts.setdefault(role, ":" + local)
    values["domains"] = domains
    if users and "sender-domain" not in values:
        values["sender-domain"] = next(iter(users)).rpartition("@")[2]
    return values
