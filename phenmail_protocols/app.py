"""The composition root: `MailServer` builds the parts of a mail server and runs them.

`MailServer` is all that an embedding program needs. It reads no environment variables and no
arguments, handles no signals and configures no logging. Two of them can run in one process, and
`stop()` ends all their threads.

The order of a start (`bind`, then `serve`): lock the root, remove leftovers, prepare the
certificate, build the store, the directory and the delivery, bind the listeners; then accept
connections and begin to send. `stop` goes the other way.
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
from .config.root_folder import Root
from .config.settings import listeners
from .delivery.recipient_replies import PluginRefused
from .delivery.sending import MailRefused
from .disk.atomic import remove_stale
from .disk.locks import FileLock, LockTimeout
from .imap import handler as imap_handler
from .imap.fetching import derivations
from .imap.fetching.mime_trees import Trees
from .imap.orders import Orders
from .imap.session import Service as ImapServer
from .mail_flow import Delivery
from .net import listener as net_listener
from .net import tls
from .net.address import is_loopback, is_served
from .net.connection_limits import Gate
from .net.errors import CertificateError
from .net.fair_turns import Turns
from .pop3 import handler as pop3_handler
from .search.indexes import Indexes
from .smtp import handler as smtp_handler
from .store.filestore import FileStore

log = logging.getLogger("phenmail")

__all__ = ["AlreadyRunning", "Listening", "MailRefused", "MailServer", "PluginRefused"]

_SERVER_LOCK = "server.lock"
_DAY = 86400.0
_PROTOCOLS = {"submissions": "submission", "imaps": "imap", "pop3s": "pop3"}
_TOO_MANY = {
    "smtp": b"421 4.7.0 Too many connections, try again later\r\n",
    "imap": b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
    "pop3": b"-ERR [SYS/TEMP] Too many connections, try again later\r\n",
}
# The listeners of a temporary root: section -> the `tls` of each.
_EMBEDDED_SECTIONS = {
    "smtp": ("starttls",), "relay": ("starttls", "implicit"),
    "imap": ("starttls", "implicit"), "pop": ("starttls", "implicit")}


class AlreadyRunning(Exception):
    """Another server uses the root folder."""


class Listening(NamedTuple):
    """One service that is offered.

    `name`: as `MailServer.port` takes it; `host`: as configured; `tls`: "starttls", "implicit" or
    "none"; `path`: that of a Unix socket, else "".
    """
    name: str
    host: str
    port: int
    tls: str
    path: str = ""


class MailServer:
    """A mail server with one root folder.

    `root`: the root folder's path. None creates a temporary one, which `stop()` removes; every
    service then listens on a free port of the loopback unless `settings` says otherwise.
    `settings`: what mail.jcfg would hold, as a dict; None reads the file. `users`: {address:
    passphrase}, created before the start. `plugins`: {name: plugin}. `device`: the device
    identity, if the root has several.

    Raises ConfigError if the settings are invalid.
    """

    def __init__(self, root=None, settings=None, users=None, plugins=None, device=None):
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
        self._renewal = None  # the thread that renews the certificate
        self.store = self.directory = self.router = self.relay = None
        self._delivery = self._search_indexes = None
        self.certificates = None
        self.no_certificate = ""  # why there is none
        # The answer of the start holds for later reloads too, when root has become another user.
        self._privileged = not hasattr(os, "geteuid") or os.geteuid() == 0
        try:
            self.settings = self._read_settings()
        except BaseException:
            self._remove_temporary()
            raise

    # Settings

    def _read_settings(self):
        has_file = os.path.exists(self.root.configuration)
        if self._given is None and (has_file or not self._users):
            return loader.load_server(self.root, self._privileged)
        values = _with_users(dict(self._given or {}), self._users)
        return loader.server_from_dict(values, self.root, self._privileged)

    def _reloader(self):
        if self._given is None and os.path.exists(self.root.configuration):
            return self._read_settings
        return None

    def reload(self):
        """Read the configuration again.

        The log names what takes effect only at the next start (ports, the certificate's path).
        Raises ConfigError; the old settings then stay in force.
        """
        settings = self._read_settings()
        if listeners(settings, True) != listeners(self.settings, True):
            log.warning("changed listeners take effect at the next start")
        self.settings = settings
        self.directory.replace(settings)
        if self._search_indexes is not None:
            self._search_indexes.enable(settings.search is True)

    # Running

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.stop()

    def start(self):
        """Listen and serve. Returns when clients can connect.

        Raises AlreadyRunning, and OSError if a port cannot be used.
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
        """The first half of `start`: take the root folder and the ports.

        `taking_ports`: a context manager in which the process may bind ports below 1024.
        """
        if self._is_removed:
            os.mkdir(self._temporary, 0o700)  # raises if it exists
            self._is_removed = False
        self.root.create()
        lock = FileLock(os.path.join(self.root.mail_system, _SERVER_LOCK), 0)
        try:
            lock.acquire()
        except LockTimeout:
            raise AlreadyRunning("another server uses the root folder %s%s" % (
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
        """The second half of `start`: accept connections, and begin to send."""
        self._stopping.clear()
        for listener in self._listeners:
            listener.start()
        self._delivery.start()
        renewal = threading.Thread(target=self._renew_certificate, name="phenmail-certificate",
                                   daemon=True)
        renewal.start()
        self._renewal = renewal  # only a thread that was started can be joined

    def stop(self, seconds=5.0):
        """Send each client a last reply, close all connections, and end all threads in `seconds`.

        Any thread may call it, repeatedly. The server can be started again afterwards; a
        temporary root is empty then.
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
            log.error("threads that did not end in %g s: %s", seconds, left)
        self._listeners, self._named = [], []
        if self._delivery is not None:
            self._delivery.stop(max(0.5, end - time.monotonic()))
            self._delivery = self.relay = None
        if self.store is not None:
            self.store.close()
            self.store = None
        if self._search_indexes is not None:
            self._search_indexes.close()
            self._search_indexes = None
        if self._renewal is not None:
            self._renewal.join(seconds)
            self._renewal = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._remove_temporary()

    def _remove_temporary(self):
        if self._temporary is not None:
            import shutil
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._is_removed = not os.path.exists(self._temporary)

    # Building the parts

    def _write_users(self):
        if not self._users:
            return
        from .accounts import users  # not needed to serve
        directory = self._directory()
        for address, passphrase in self._users.items():
            account = directory.account(address)
            if account is None:
                raise ValueError("%s has no mailbox in the settings" % address)
            # CRAM-MD5 and APOP need the passphrase in a reversible form. It is written for
            # temporary roots only.
            users.write_secrets(self.root, account.folder, passphrase,
                                reversible=self._temporary is not None)

    def _directory(self):
        return Directory(self.settings, self.root, reload=self._reloader(),
                         authorizations=self._authorizations)

    def _build(self):
        limits = self.settings.limits
        self.store = FileStore(
            reserve=limits.disk_reserve,
            limit_of=lambda folder: self.directory.quota(folder),
            warn=lambda *arguments: self._delivery.warn_of_quota(*arguments))
        self.store.derive_with(derivations.derive, derivations.VERSION)
        self._search_indexes = Indexes(self.store.idle_work, self.settings.search is True)
        self.directory = self._directory()
        self.directory.is_own = self._is_own
        self._delivery = Delivery(
            self.directory, self._authorizations, self.store, self._plugins, self,
            self._public_addresses,
            # Tests start many temporary servers, so those make their keys on demand.
            is_temporary=self._temporary is not None)
        self.router, self.relay = self._delivery.router, self._delivery.relay
        self._trees, self._orders = Trees(), Orders()
        self._turns = Turns(taken=self.store.idle_work.postpone)
        self._gate = Gate(limits.connections, limits.connections_per_address,
                          limits.connections_before_login, limits.tls_handshakes)

    def _prepare_certificate(self):
        """Set `certificates`, after creating or renewing our own, or `no_certificate`."""
        files = self.settings.tls
        if not files.own:
            try:
                tls.ensure_self_signed(files.certificate, files.key, [self.settings.sender_domain])
            except CertificateError as error:
                self.no_certificate = str(error)
                log.error("no TLS, so only the loopback is served: %s", error)
                if not os.path.exists(files.certificate):
                    return
        self.certificates = tls.Certificates(files.certificate, files.key)

    def _renew_certificate(self):
        while not self._stopping.wait(_DAY):
            if self.certificates is not None:
                self._prepare_certificate()

    def _bind_listeners(self, taking_ports):
        for name, listen in listeners(self.settings, self.certificates is not None):
            self._bind(name, _PROTOCOLS.get(name, name), listen, taking_ports)

    def _bind(self, name, protocol, listen, taking_ports):
        options = dict(certificates=self.certificates, gate=self._gate, share=protocol,
                       turns=self._turns, too_many=_TOO_MANY.get(protocol, _TOO_MANY["smtp"]))
        handle = self._handler(protocol, listen)
        if listen.path:
            made = [net_listener.UnixListener(name, listen.path, handle, **options)]
        else:
            with taking_ports:
                made = net_listener.listen(name, listen.host, listen.port, handle,
                                           implicit_tls=listen.tls == "implicit", **options)
        self._listeners += made
        self._named.append(
            Listening(name, listen.host, made[0].port, listen.tls, listen.path or ""))

    def _handler(self, protocol, listen):
        settings = self.settings
        starttls = None
        if self.certificates is not None and listen.tls == "starttls":
            starttls = self.certificates.context
        if protocol == "imap":
            return imap_handler.make(ImapServer(
                directory=self.directory, store=self.store, limits=settings.limits,
                tls_context=starttls, plaintext_auth=listen.plaintext_auth,
                host=settings.sender_domain, debug=settings.imap_debug, trees=self._trees,
                orders=self._orders,
                search_indexes=self._search_indexes,
                without=listen.without,
                identity=(("name", "phenmail"), ("version", __version__))))
        if protocol == "pop3":
            return pop3_handler.make(
                self.directory, self.store, settings.limits, tls_context=starttls,
                plaintext_auth=listen.plaintext_auth, host=settings.sender_domain,
                implementation="phenmail-" + __version__, debug=settings.pop3_debug)
        size = settings.smtp_message_size if protocol == "smtp" else None
        return smtp_handler.make(protocol, listen, settings.limits, self.directory, self.router,
                                 self.certificates, size)

    # Where it listens

    @property
    def listening(self):
        """A Listening for each service, in the order of the sections in mail.jcfg."""
        return tuple(self._named)

    def port(self, name):
        """The port of smtp, lmtp, submission, submissions, imap, imaps, pop3 or pop3s (int).

        Raises KeyError for a service that is not offered.
        """
        for listening in self._named:
            if listening.name == name:
                return listening.port
        raise KeyError("service %s is not offered, only: %s" % (
            name, ", ".join(each.name for each in self._named) or "none"))

    def _is_own(self, ip):
        """Whether a normalised IP address, in an address literal, means this server."""
        hosts = [listener.server_address[0] for listener in self._listeners
                 if isinstance(listener.server_address, tuple)]
        return is_loopback(ip) or is_served(ip, hosts)

    def _public_addresses(self):
        """(ip, port) of the public listeners, which the relay must not connect to (a loop)."""
        return frozenset(listener.server_address[:2] for listener in self._listeners
                         if listener.name == "smtp")

    # Sending

    def send_mail(self, sender, recipients, message):
        """Send a message -> the ids under which it waits in the queue (list of str), empty if all
        its recipients are users here.

        `sender`: an address; "" for none, so that nothing bounces; None for the smarthost's user
        name, else postmaster. `recipients`: an address or several, here or elsewhere. `message`:
        bytes, str or an email.message.Message; missing header fields are added.

        The message is on the disk when this returns. Raises MailRefused if a recipient was
        refused; its `outcomes` have the reply for each, and the others have the message. Raises
        TypeError or ValueError (AddressError is one) for invalid arguments.
        """
        if self._delivery is None:
            raise RuntimeError("the server is not running")
        return self._delivery.sending.send_mail(sender, recipients, message)

    def try_filters(self, user, message, sender=None):
        """What each filter of a user would do with a message, without doing it.

        The server need not run. `user`: an address or a login name; `message`: as for send_mail;
        `sender`: that of the envelope, "" for none, None for that of the message. Returns an
        admin.filters.Result: `lines` (one for each filter: number, place, condition, matched,
        effect, reached, remarks) and `verdict` (kind, mailbox, reason, flags, copies, forward).

        Raises ConfigError for invalid filters, ValueError for a user without a mailbox here.
        """
        from .admin import filters  # not needed to serve
        settings = self.settings if self.directory is None else self.directory.settings
        return filters.try_message(self.root, settings, user, message, sender=sender)


def _holder(path):
    """Which process holds a lock file, for people."""
    try:
        with open(path) as file:
            return " (process %d)" % int(file.read(20))
    except (OSError, ValueError):
        return ""


def _embedded(settings):
    """Settings for a temporary root: each section that is not given listens on a free port."""
    values = dict(settings or {})
    for section, ways in _EMBEDDED_SECTIONS.items():
        if section not in values and not (section == "pop" and "pop3" in values):
            values[section] = {"listen": [
                {"host": "127.0.0.1", "port": 0, "tls": way} for way in ways]}
    return values


def _with_users(values, users):
    """The settings' values with a mailbox for each of `users`."""
    domains = {domain: dict(actions) for domain, actions in values.get("domains", {}).items()}
    for address in users:
        local, _, domain = address.rpartition("@")
        if not local:
            raise ValueError("users: expected an address user@domain, not %r" % address)
        actions = domains.setdefault(domain, {})
        actions.setdefault(local, "/%s/mail" % (local if len(domains) == 1 else address))
        for role in ("postmaster", "abuse"):
            actions.setdefault(role, ":" + local)
    values["domains"] = domains
    if users and "sender-domain" not in values:
        values["sender-domain"] = next(iter(users)).rpartition("@")[2]
    return values
