"""What may be written in each configuration file: one table of options for each file.

A row has the key, the kind of its value, the default and a help text. Everything else follows
from it: the checks, the unknown keys and the settings, whose fields have the names of the keys.
What depends on the root, on the process or on several sections is in `build.py`. Filters have
their own table in `filtering.py`.
"""

from types import MappingProxyType
from typing import Any, Optional, Tuple

from .actions import DomainsKind, ExternalMda
from .addresses import is_host_name, is_ip_address, is_mail_address, split_port
from .checks import (
    Bool,
    Choice,
    HostName,
    Integer,
    Kind,
    ListOf,
    MapOf,
    OneOfForms,
    Option,
    PathTo,
    Reader,
    Section,
    Switch,
    Text,
    seconds,
    size,
)
from .filtering import FILTER_LIST
from .imap_extensions import ExtensionName
from .oauth2 import OAUTH2, PROVIDER, check_missing, check_oauth2
from .problems import Path
from .root_folder import is_component
from .settings import (
    Bounce,
    FetchAccount,
    FetcherSettings,
    Hosted,
    Inbound,
    Limits,
    Quota,
    Resolver,
    ServerQuota,
    UserSettings,
)

PROTOCOLS = 5  # smtp, submission, imap, pop3 and lmtp each have a share of the connections

PORT = Integer(0, 65535, "a port number")
REMOTE_PORT = Integer(1, 65535, "a port number")
HOST = HostName('a host name, an address, or "*" for every address',
                lambda text: text == "*" or is_ip_address(text))
SERVER = HostName("the name or address of a server", is_ip_address)
HOST_NAME = HostName()
SELECTOR = Text("a host name", lambda text: is_host_name(text) and all(c < "\x80" for c in text))
IDENTITY = Text("the name of an identity: a folder of the root", is_component)


class Receiver(Kind):
    """`[priority, "server name"]`: one MX record (RFC 5321 section 5.1)."""

    expected = '[priority, "server name"] with a priority from 0 to 65535'

    def clean(self, value: Any) -> Optional[Tuple[int, str]]:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            return None
        found = Integer(0, 65535).clean(value[0]), HOST_NAME.clean(value[1])
        return None if None in found else found


class NameServer(Kind):
    """`address` or `address:port`; returns (address, port)."""

    expected = 'a name server as "address" or "address:port"'

    def clean(self, value: Any) -> Optional[Tuple[str, int]]:
        return split_port(value, 53) if isinstance(value, str) else None


# Listeners

LISTEN = (
    Option("host", HOST, "*", "where to listen"),
    Option("port", PORT, None, "0 picks a free one"),
    Option("tls", Choice("implicit", "starttls", "none"), None, "how TLS begins, if at all"),
    Option("plaintext-auth", Bool(), False, "accept passwords without TLS from other hosts"))
WITHOUT = Option("without", ListOf(ExtensionName(), "names of IMAP extensions"), (),
                 "IMAP extensions that are neither offered nor understood")
ADDRESS = (
    Option("host", HOST, None, "where to listen; by default on every address"),
    Option("port", PORT, None, "0 picks a free one"))
DISABLED = Option("disabled", Bool(), False, "true closes the listeners of this section")
LISTENERS = (
    Option("listen", ListOf(Section(*LISTEN), "listeners"), None, "several listeners"), DISABLED)
PLAIN = (
    Option("disable-ssl", Bool(), None, "no implicit TLS; STARTTLS is still offered"),
    Option("plaintext-auth", Bool(), None, "accept passwords without TLS from other hosts"))
DEBUG = Option("debug", Bool(), False, "log the dialogue without secrets")
IMAP = Switch(*ADDRESS, *PLAIN,
              Option("listen", ListOf(Section(*LISTEN, WITHOUT), "listeners"), None,
                     "several listeners"), DISABLED, DEBUG, WITHOUT)
POP = Switch(*ADDRESS, *PLAIN, *LISTENERS, DEBUG)
SMTP = Switch(*ADDRESS, *LISTENERS,
              Option("max-size", size(1024), None, "the largest message from outside"),
              Option("only-relay", Bool(), False, "no public listener"))
LMTP = Switch(*ADDRESS,
              Option("socket", PathTo("a Unix socket"), None, "instead of host and port"),
              Option("disabled", Bool(), False, "true closes the listener"))
RELAY = Switch(
    *ADDRESS, *PLAIN, *LISTENERS,
    Option("dkim-key", PathTo("the private key"), None, "signs outgoing mail"),
    Option("dkim-selector", SELECTOR, "all", "the name of the key in the DNS"),
    Option("queue-folder", PathTo("a folder"), None, "outgoing mail"),
    Option("remote-port", REMOTE_PORT, 25, "the port of other servers"),
    Option("private-addresses", Bool(), False,
           "send to domains whose mail servers have loopback or private addresses"))

# Other sections


def _check_hosted(reader: Reader, path: Path, hosted: Hosted) -> None:
    check_missing(reader, path, "server", "the smarthost's name or address", hosted.provider)
    if hosted.username is None and (hosted.require_authentication or hosted.auth == "oauth2"):
        reader.problem(path, 'a "username"' + (', or "require-authentication": false'
                                               if hosted.auth == "password" else ""))
    check_oauth2(reader, path, hosted)


def _check_resolver(reader: Reader, path: Path, resolver: Resolver) -> None:
    # dnspython takes only one port for each address.
    if len(dict(resolver.nameservers)) < len(resolver.nameservers):
        reader.problem(path + ("nameservers",), "each address only once")


def _check_tls(reader: Reader, path: Path, tls: Any) -> None:
    written = reader.written(path)
    if ("certificate" in written) != ("key" in written):
        reader.problem(path, 'both "certificate" and "key", or neither')


def _check_limits(reader: Reader, path: Path, limits: Limits) -> None:
    share = limits.connections_before_login
    if share is not None and share * PROTOCOLS >= limits.connections:
        reader.problem(path + ("connections-before-login",),
                       'less than a fifth of "connections" (%d), because each of five protocols '
                       'may have so many before login' % limits.connections, share)


def _limit(key: str, kind: Kind, help: str) -> Option:
    return Option(key, kind, Limits._field_defaults[key.replace("-", "_")], help)


HOSTED = Section(
    Option("server", SERVER, "", "the smarthost's name or address; a named provider has one"),
    Option("port", REMOTE_PORT, 587, "465 is implicit TLS"),
    Option("username", Text(), None, "the name to log in with"),
    Option("password", Text(), None, "plain or obscured", secret=True),
    Option("require-tls", Bool(), True, "never send without TLS"),
    Option("require-authentication", Bool(), True, "never send without login"),
    *OAUTH2,
    gives=Hosted, check=_check_hosted)
RESOLVER = Section(
    Option("nameservers", ListOf(NameServer(), "addresses"), (), "by default the system's"),
    Option("timeout", seconds(0.1, 300), 10.0, "how long to wait for an answer"),
    gives=Resolver, check=_check_resolver)
BOUNCE = Section(
    Option("subject", Text(), None, "the subject of a bounce"),
    Option("warning", Text(limit=10000, lines=True), None,
           "the text for people; {reason} and {headers} are filled in"),
    gives=Bounce)
TLS = Section(
    Option("certificate", PathTo("a certificate file"), None, "PEM, with its chain"),
    Option("key", PathTo("a key file"), None, "PEM, without a passphrase"),
    check=_check_tls)
INBOUND = Section(
    Option("dmarc", Choice("report", "enforce"), "report",
           "what to do with the DMARC result of mail from outside"),
    gives=Inbound)
COUNT = Integer(1, 1000000)
LIMITS = Section(
    _limit("connections", COUNT, "at once in all"),
    _limit("connections-per-address", COUNT, "at once from one IPv4 address or IPv6 /48"),
    Option("connections-before-login", COUNT, None,
           "at once in one protocol, of those that have not logged in (smtp: all)"),
    _limit("tls-handshakes", COUNT, "at once"),
    # RFC 5321 section 4.5.3.1.4: 512 octets at least, more with extensions.
    _limit("line", size(1024, 1024 ** 2), "the longest command line"),
    _limit("smtp-idle-timeout", seconds(), "between two commands"),
    _limit("imap-idle-timeout", seconds(), "RFC 3501: 30 min at least"),
    _limit("pop-idle-timeout", seconds(), "RFC 1939: 10 min at least"),
    _limit("command-timeout", seconds(), "for one whole command"),
    _limit("login-timeout", seconds(), "from connecting to login"),
    _limit("message-size", size(65536), "the largest message"),
    # RFC 5321 section 4.5.3.1.8: 100 at least.
    _limit("recipients", Integer(100, 1000000), "of one message"),
    _limit("errors", Integer(1, 1000), "wrong commands until the connection is closed"),
    _limit("login-failures", Integer(1, 1000), "failed logins until the connection is closed"),
    # The queue: RFC 5321 section 4.5.4.1 asks for four or five days.
    _limit("retry-first", seconds(1), "until the first retry of a message"),
    _limit("retry-longest", seconds(1), "between two retries, at most"),
    _limit("delay-warning", seconds(1), "until the sender gets a warning of the delay"),
    _limit("give-up", seconds(1), "of retries until a message is bounced"),
    _limit("relay-connections", Integer(1, 1000), "to other servers at once"),
    _limit("relay-connections-per-destination", Integer(1, 1000), "to one of them at once"),
    _limit("disk-reserve", size(0), "bytes of the disk that mail leaves free"),
    gives=Limits, check=_check_limits)

_QUOTA = (
    Option("bytes", size(1024, 2 ** 60), None, "of all messages together"),
    Option("messages", Integer(1, 10 ** 12), None, "in all mailboxes together"))
QUOTA = Section(*_QUOTA, gives=Quota)
SERVER_QUOTA = Section(
    *_QUOTA,
    Option("users", MapOf(Text("a mail address", is_mail_address), QUOTA, "addresses and quotas"),
           MappingProxyType({}), "of single users; {} is no limit"),
    gives=ServerQuota)

# The server's mail.jcfg


def _is_entry_point(text: str) -> bool:
    module, colon, name = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in
                               module.split(".") + name.split("."))


_INDEXED = 'true, "headers" or false'
SERVER_FILE = Section(
    Option("sender-domain", HOST_NAME, None, "the name of this mail domain, also for HELO"),
    Option("receivers", ListOf(Receiver(), "MX records"), (), "the servers that receive its mail"),
    Option("domains", DomainsKind(), MappingProxyType({}), "who gets mail, and what happens to it"),
    Option("relay", RELAY, RELAY.defaults(), "submission, and the queue of outgoing mail"),
    Option("hosted", HOSTED, None, "a smarthost instead of sending directly"),
    Option("smtp", SMTP, SMTP.defaults(), "the public listener"),
    Option("imap", IMAP, IMAP.defaults(), "IMAP4"),
    Option("pop", POP, POP.defaults(), "POP3"),
    Option("pop3", POP, POP.defaults(), "the same as pop"),
    Option("lmtp", LMTP, LMTP.defaults(disabled=True), "local delivery from another mail server"),
    Option("resolver", RESOLVER, None, "name servers"),
    Option("bounce", BOUNCE, BOUNCE.defaults(), "the text of a bounce"),
    Option("admin", ListOf(IDENTITY, "identities"), (), "identities that need no authorization"),
    Option("tls", TLS, TLS.defaults(), "certificate and key"),
    Option("global-filters", FILTER_LIST, (), "for users with use-global-filters"),
    Option("run-as", Text("the name of a system user"), None, "the user to run as"),
    Option("plugins", MapOf(Text("a plugin's name", lambda text: " " not in text),
                            Text('"module:object"', _is_entry_point),
                            'names and "module:object"'),
           MappingProxyType({}), "Python objects that receive mail"),
    Option("inbound", INBOUND, INBOUND.defaults(), "mail from outside"),
    Option("python", Text("the path of a Python interpreter"), None, "runs Python filters"),
    Option("search", OneOfForms(_INDEXED, {bool: Bool(), str: Choice("headers",
                                                                     expected=_INDEXED)}),
           True, "true: bodies are indexed for searches, too; else only headers"),
    Option("limits", LIMITS, LIMITS.defaults(), "bounds"),
    Option("quota", SERVER_QUOTA, SERVER_QUOTA.defaults(), "what a user may keep"))

# A user's mail.jcfg


def is_stored_passphrase(text: str) -> bool:
    """Whether text has one of the forms in which passphrases are stored."""
    if text.startswith(("pbkdf2-sha256$", "scrypt$")):
        return text.isprintable() and " " not in text and text.count("$") >= 2
    return len(text) == 64 and all(c in "0123456789abcdefABCDEF" for c in text)


USER_FILE = Section(
    Option("passphrase", Text("the SHA-256 hash of a passphrase (64 hexadecimal digits), "
                              '"pbkdf2-sha256$…" or "scrypt$…"', is_stored_passphrase),
           None, "for SMTP, IMAP and POP3", secret=True),
    Option("scram", Text('"SCRAM-SHA-256$…"', lambda text: text.startswith("SCRAM-SHA-256$")),
           None, "the secret of RFC 5803", secret=True),
    Option("pop3pwd", Text("an obscured passphrase"), None, "for APOP and CRAM-MD5", secret=True),
    Option("external-MDA", ExternalMda(), None, "gets this user's mail instead of the mailbox"),
    Option("authorization", Text(limit=10000, least=0), None, "the administrator's signature"),
    Option("delivery", PathTo("a folder"), None, "drop folder for other programs"),
    Option("filters", PathTo("a filter file"), None, "the filter file"),
    Option("use-global-filters", Bool(), False, "apply the server's too"),
    Option("quota", QUOTA, QUOTA.defaults(), "can only lower the server's"),
    WITHOUT,
    gives=UserSettings)

# A user's mail-fetcher.jcfg


def is_box_action(text: str) -> bool:
    """`filter`, `filter:folder`, `accept:Box`, `accept:folder:Box`, `delete`."""
    parts = text.split(":")
    counts = {"filter": (1, 2), "accept": (2, 3), "delete": (1,)}
    return len(parts) in counts.get(parts[0], ()) and all(part.strip() for part in parts)


def _check_fetch_account(reader: Reader, path: Path, account: FetchAccount) -> None:
    if account.starttls and account.protocol in ("imaps", "pops"):
        reader.problem(path + ("starttls",), "false: %s starts with TLS" % account.protocol)
    check_missing(reader, path, "server", "the mail server's name or address", account.provider)
    if account.auth == "password":
        check_missing(reader, path, "passphrase", "to log in with, plain or obscured")
    check_oauth2(reader, path, account)


def _is_fingerprint(text: str) -> bool:
    digits = text.replace(":", "")
    return len(digits) == 64 and all(c in "0123456789abcdefABCDEF" for c in digits)


BOX = Text("the name of a mailbox there")
BOX_ACTION = Text("filter, filter:folder, accept:Box, accept:folder:Box or delete", is_box_action)
FETCH_ACCOUNT = Section(
    Option("name", Text("a name of at most 200 characters", limit=200), "",
           "for status and commands; by default username@server"),
    Option("server", SERVER, "", "the mail server's name or address; a named provider has one"),
    Option("port", REMOTE_PORT, None, "by default 143, 993, 110 or 995"),
    Option("protocol", Choice("imap", "imaps", "pop", "pops", "imap4", "pop3"), "imaps",
           "how to fetch"),
    Option("starttls", Bool(), False, "begin TLS on the plain port"),
    Option("username", Text(), "", "the name to log in with", required=True),
    Option("passphrase", Text(), "", "the passphrase to log in with, plain or obscured",
           secret=True),
    Option("period", seconds(1), 300.0, "between two checks"),
    Option("first-time", Choice("ignore-all", "download-all"), "ignore-all",
           "what to do with old mail"),
    Option("boxes", ListOf(OneOfForms("a mailbox's name or {name: action}",
                                      {str: BOX, dict: MapOf(BOX, BOX_ACTION, "name and action")}),
                           "mailboxes", 500), ("Inbox",), "what to fetch, and where to put it"),
    Option("idle", Bool(), True, "use IMAP IDLE if the server offers it"),
    Option("remove", OneOfForms("true, false or a number of days", {
        bool: Bool(), int: Integer(1, 36500, "true, false or a number of days")}), False,
           "remove from the server after delivery, or so many days after it"),
    Option("keep-flags", Bool(), False, "messages keep their flags (IMAP)"),
    Option("trust", HostName("an authserv-id, as in Authentication-Results"), None,
           "whose Authentication-Results filters may believe"),
    Option("fingerprint", Text("a SHA-256 fingerprint: 64 hexadecimal digits", _is_fingerprint),
           None, "of the server's certificate, if no authority has signed it"),
    Option("limit", size(65536), None, "octets that are fetched in a day"),
    *OAUTH2,
    gives=FetchAccount, check=_check_fetch_account)
FETCHER_FILE = Section(
    Option("device", IDENTITY, None, "only on this device"),
    Option("mail-folders", MapOf(Text("a name without a colon", lambda text: ":" not in text),
                                 PathTo("a mail folder"), "names and paths", 100), None,
           "mail folders for fetched mail"),
    Option("accounts", ListOf(FETCH_ACCOUNT, "accounts", 100), (), "mailboxes on other servers"),
    gives=FetcherSettings)

SECRETS = frozenset(option.key for table in (HOSTED, USER_FILE, FETCH_ACCOUNT, PROVIDER)
                    for option in table.options if option.secret)
