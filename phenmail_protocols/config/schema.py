"""What may be written in each configuration file: one table of options a file.

A row is key, kind of value, default, help, and whether its part is not built
yet; defaults, checks, unknown keys and "not yet" all follow from it.  Keys
that exclude or need each other, and defaults that depend on others, are in
`build.py`.  Filters have a table of their own, in `filtering.py`.
"""

from typing import Any

from .actions import DomainsKind, ExternalMda
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
    is_host_name,
    is_ip_address,
    seconds,
    size,
    split_port,
)
from .filtering import FILTER_LIST
from .problems import Path
from .root import is_component
from .settings import Limits

NONE = Limits()  # its fields are the defaults

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

    expected = '[priority, "server name"], the priority from 0 to 65535'

    def accepts(self, value: Any) -> bool:
        return (isinstance(value, (list, tuple)) and len(value) == 2
                and Integer(0, 65535).accepts(value[0])
                and isinstance(value[1], str) and is_host_name(value[1]))

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        clean = super().read(reader, path, value)
        return None if clean is None else (clean[0], HOST_NAME.read(reader, path + (1,), clean[1]))


class NameServer(Kind):
    """`address` or `address:port`; gives (address, port)."""

    expected = '"address" or "address:port" of a name server'

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        found = split_port(value, 53) if isinstance(value, str) else None
        if found is None:
            reader.problem(path, self.expected, value)
        return found


# Listeners

LISTEN = Section(
    Option("host", HOST, "*", "where to listen"),
    Option("port", PORT, None, "0 picks a free one"),
    Option("tls", Choice("implicit", "starttls", "none"), None, "how TLS begins, if at all"),
    Option("plaintext-auth", Bool(), False, "take passwords in the clear off the loopback"),
)
ADDRESS = (
    Option("host", HOST, None, "where to listen; every address if absent"),
    Option("port", PORT, None, "0 picks a free one"),
)
LISTENERS = (
    Option("listen", ListOf(LISTEN, "listeners"), None, "several listeners"),
    Option("disabled", Bool(), False, "true closes this section's listeners"),
)
PLAIN = (
    Option("disable-ssl", Bool(), None, "no implicit TLS; STARTTLS is still offered"),
    Option("plaintext-auth", Bool(), None, "take passwords in the clear off the loopback"),
)
READING = Switch(*ADDRESS, *PLAIN, *LISTENERS,
                 Option("debug", Bool(), False, "log the dialogue without secrets"))
SMTP = Switch(*ADDRESS, *LISTENERS,
              Option("max-size", size(1024), None, "the largest message from outside"),
              Option("only-relay", Bool(), False, "no public listener"))
LMTP = Switch(*ADDRESS,
              Option("socket", PathTo("a Unix socket"), None, "instead of host and port"),
              Option("disabled", Bool(), False, "true closes the listener"))
RELAY = Switch(
    *ADDRESS, *PLAIN, *LISTENERS,
    Option("dkim-key", PathTo("the private key"), None, "signs what leaves"),
    Option("dkim-selector", SELECTOR, "all", "the key's name in the DNS"),
    Option("queue-folder", PathTo("a folder"), None, "mail on its way out"),
    Option("remote-port", REMOTE_PORT, 25, "the port of other servers"),
    Option("private-addresses", Bool(), False,
           "send to domains whose mail servers have loopback or private addresses"))

# Parts of the server

HOSTED = Section(
    Option("server", SERVER, None, "the smarthost", required=True),
    Option("port", REMOTE_PORT, 587, "465 is implicit TLS"),
    Option("username", Text(), None, "the name to log in with"),
    Option("password", Text(), None, "plain or obscured", secret=True),
    Option("require-tls", Bool(), True, "never send without TLS"),
    Option("require-authentication", Bool(), True, "never send without login"))
RESOLVER = Section(
    Option("nameservers", ListOf(NameServer(), "addresses"), (), "the system's if absent"),
    Option("timeout", seconds(0.1, 300), 10.0, "how long to wait for an answer"))
BOUNCE = Section(
    Option("subject", Text(), None, "the subject of a bounce"),
    Option("warning", Text("a text", limit=10000, lines=True), None,
           "the words for people; {reason} and {headers} are filled in"))
TLS = Section(
    Option("certificate", PathTo("a certificate file"), None, "PEM, with its chain"),
    Option("key", PathTo("a key file"), None, "PEM, without a passphrase"))
INBOUND = Section(Option("dmarc", Choice("report", "enforce"), "report",
                         "what to do with the judgement of mail from outside"))
LIMITS = Section(
    Option("connections", Integer(1, 1000000), NONE.connections, "at once in all"),
    Option("connections-per-address", Integer(1, 1000000), NONE.connections_per_address,
           "at once from one IPv4 address or IPv6 /48"),
    Option("connections-before-login", Integer(1, 1000000), None,
           "at once in one protocol, of those that have not logged in (smtp: all)"),
    Option("tls-handshakes", Integer(1, 1000000), NONE.tls_handshakes, "at once"),
    # RFC 5321 section 4.5.3.1.4: 512 octets at least, more with extensions.
    Option("line", size(1024, 1024 ** 2), NONE.line, "the longest command line"),
    Option("smtp-idle-timeout", seconds(), NONE.smtp_idle_timeout, "between two commands"),
    Option("imap-idle-timeout", seconds(), NONE.imap_idle_timeout, "RFC 3501: 30 min at least"),
    Option("pop-idle-timeout", seconds(), NONE.pop_idle_timeout, "RFC 1939: 10 min at least"),
    Option("command-timeout", seconds(), NONE.command_timeout, "for one whole command"),
    Option("login-timeout", seconds(), NONE.login_timeout, "until somebody has logged in"),
    Option("message-size", size(65536), NONE.message_size, "the largest message"),
    # RFC 5321 section 4.5.3.1.8: 100 at least.
    Option("recipients", Integer(100, 1000000), NONE.recipients, "of one message"),
    Option("errors", Integer(1, 1000), NONE.errors, "wrong commands until the connection ends"),
    Option("login-failures", Integer(1, 1000), NONE.login_failures,
           "wrong logins until the connection ends"),
    # The queue: RFC 5321 section 4.5.4.1 asks for four or five days.
    Option("retry-first", seconds(1), NONE.retry_first, "until a message is tried again"),
    Option("retry-longest", seconds(1), NONE.retry_longest, "between two tries, at most"),
    Option("delay-warning", seconds(1), NONE.delay_warning, "until the sender is told of a delay"),
    Option("give-up", seconds(1), NONE.give_up, "of trying until a message is returned"),
    Option("relay-connections", Integer(1, 1000), NONE.relay_connections,
           "to other servers at once"),
    Option("relay-connections-per-destination", Integer(1, 1000),
           NONE.relay_connections_per_destination, "to one of them at once"),
    Option("disk-reserve", size(0), NONE.disk_reserve, "bytes of the disk that mail leaves free"))

# The server's mail.jcfg

SERVER_FILE = Section(
    Option("sender-domain", HOST_NAME, None, "the name of this mail domain and of the HELO"),
    Option("receivers", ListOf(Receiver(), "MX records"), (), "the servers that receive its mail"),
    Option("domains", DomainsKind(), None, "who gets mail, and what is done with it"),
    Option("relay", RELAY, None, "submission, and the queue of what leaves"),
    Option("hosted", HOSTED, None, "a smarthost instead of relaying directly"),
    Option("smtp", SMTP, None, "the public listener"),
    Option("imap", READING, None, "IMAP4"),
    Option("pop", READING, None, "POP3"),
    Option("pop3", READING, None, "the same as pop"),
    Option("lmtp", LMTP, None, "local delivery for another mail server in front"),
    Option("resolver", RESOLVER, None, "name servers"),
    Option("bounce", BOUNCE, None, "the words of a bounce"),
    Option("admin", ListOf(IDENTITY, "identities"), (), "identities that need no authorization"),
    Option("tls", TLS, None, "certificate and key"),
    Option("global-filters", FILTER_LIST, (), "for users with use-global-filters"),
    Option("run-as", Text("the name of a system user"), None, "who to be after binding ports"),
    Option("plugins", MapOf(Text("a plugin's name", lambda text: " " not in text),
                            Text('"module:object"', lambda text: _is_entry_point(text)),
                            'names and "module:object"'), None, "programs that get mail"),
    Option("inbound", INBOUND, None, "mail from outside"),
    Option("python", Text("the path of a Python interpreter"), None, "runs code filters"),
    Option("limits", LIMITS, None, "bounds"))


def _is_entry_point(text: str) -> bool:
    module, colon, name = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in
                               module.split(".") + name.split("."))


# A user's mail.jcfg


def is_stored_passphrase(text: str) -> bool:
    """Whether text has one of the forms in which passphrases are kept."""
    if text.startswith(("pbkdf2-sha256$", "scrypt$")):
        return text.isprintable() and " " not in text and text.count("$") >= 2
    return len(text) == 64 and all(c in "0123456789abcdefABCDEF" for c in text)


USER_FILE = Section(
    Option("passphrase", Text("the sha256 of a passphrase in 64 hexadecimal digits, "
                              '"pbkdf2-sha256$…" or "scrypt$…"', is_stored_passphrase),
           None, "for SMTP, IMAP and POP3", secret=True),
    Option("scram", Text('"SCRAM-SHA-256$…"',
                         lambda text: text.startswith("SCRAM-SHA-256$")),
           None, "the secret of RFC 5803", secret=True),
    Option("pop3pwd", Text("an obscured passphrase"), None,
           "for APOP and CRAM-MD5", secret=True),
    Option("external-MDA", ExternalMda(), None,
           "gets this user's mail instead of the mailbox"),
    Option("authorization", Text(limit=10000, least=0), None,
           "the administrator's signature"),
    Option("delivery", PathTo("a folder"), None, "drop folder for other programs"),
    Option("filters", PathTo("a filter file"), None, "the filter file"),
    Option("use-global-filters", Bool(), False, "apply the server's too"))

# A user's mail-fetcher.jcfg


def is_box_action(text: str) -> bool:
    """`filter`, `filter:folder`, `accept:Box`, `accept:folder:Box`, `delete`."""
    parts = text.split(":")
    counts = {"filter": (1, 2), "accept": (2, 3), "delete": (1,)}
    return len(parts) in counts.get(parts[0], ()) and all(part.strip() for part in parts)


BOX = Text("the name of a mailbox there")
BOX_ACTION = Text("filter, filter:folder, accept:Box, accept:folder:Box or delete", is_box_action)
FETCH_ACCOUNT = Section(
    Option("server", SERVER, None, "where the mail lies", required=True),
    Option("port", REMOTE_PORT, None, "143, 993, 110 or 995 if absent"),
    Option("protocol", Choice("imap", "imaps", "pop", "pops", "imap4", "pop3"), "imaps",
           "how it is fetched"),
    Option("starttls", Bool(), False, "begin TLS on the plain port"),
    Option("username", Text(), None, "the name to log in with", required=True),
    Option("passphrase", Text(), None, "plain or obscured", secret=True, required=True),
    Option("period", seconds(1), 300.0, "between two looks"),
    Option("first-time", Choice("ignore-all", "download-all"), "ignore-all",
           "what to do with the mail that is there already"),
    Option("boxes", ListOf(OneOfForms("a mailbox's name or {name: action}",
                                      {str: BOX, dict: MapOf(BOX, BOX_ACTION, "name and action")}),
                           "mailboxes", 500), ("Inbox",), "what is fetched, and where to"),
    Option("idle", Bool(), True, "wait for news where the server can"),
    Option("remove", Bool(), False, "remove at the source after delivery"))
FETCHER_FILE = Section(
    Option("device", IDENTITY, None, "only on this device"),
    Option("mail-folders", MapOf(Text("a name without colon", lambda text: ":" not in text),
                                 PathTo("a mail folder"), "names and paths", 100), None,
           "where mail may go"),
    Option("accounts", ListOf(FETCH_ACCOUNT, "accounts", 100), (), "mailboxes elsewhere"))

SECRETS = frozenset(option.key for table in (HOSTED, USER_FILE, FETCH_ACCOUNT)
                    for option in table.options if option.secret)
