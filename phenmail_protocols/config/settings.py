"""The configuration as immutable values, and which listeners it asks for.

Everything here has been checked and has its defaults filled in; paths are
absolute.  Nothing here knows files, JSON or where a value came from.
"""

from typing import Any, Mapping, NamedTuple, Optional, Tuple


class Listen(NamedTuple):
    """One listener of a section.

    `host`: a name or an address; "*" is every address, IPv4 and IPv6.
    `port`: 0 picks a free one.  `tls`: "implicit", "starttls" or "none".
    `plaintext_auth`: passwords in the clear are taken off the loopback too.
    `path`: a Unix socket instead of host and port, or None.
    """

    host: str
    port: int
    tls: str = "starttls"
    plaintext_auth: bool = False
    path: Optional[str] = None


class Action(NamedTuple):
    """What happens to mail for one local part.

    `kind` and its `value`:
      "disabled"  the text after the minus sign
      "mailbox"   the absolute path of the mail folder
      "alias"     `user@domain`, the domain always there and in lower case
      "agent"     the command with its arguments, without the hash
      "forward"   the address
      "plugin"    the plugin's name, and after a space its parameters
    `secret`: 64 lower-case hexadecimal digits (sha256 of the passphrase with
    which this address may submit), or None; for "agent" and "forward" only.
    """

    kind: str
    value: str
    secret: Optional[str] = None

    def __repr__(self) -> str:
        return "Action(%r, %r%s)" % (
            self.kind, self.value, ", secret" if self.secret else "")


class Relay(NamedTuple):
    """How mail leaves: absolute paths, the DKIM selector, the port of others.

    `private_addresses`: mail for other domains goes to loopback and private addresses too.
    """

    dkim_key: str
    dkim_selector: str
    queue_folder: str
    remote_port: int
    private_addresses: bool = False


class Hosted(NamedTuple):
    """The smarthost; `password` is plain or obscured, as it was written."""

    server: str
    port: int
    username: Optional[str]
    password: Optional[str]
    require_tls: bool
    require_authentication: bool

    def __repr__(self) -> str:
        return "Hosted(%r, %r, username=%r)" % (self.server, self.port, self.username)


class Resolver(NamedTuple):
    """Name servers as (address, port), and seconds to wait for them."""

    nameservers: Tuple[Tuple[str, int], ...]
    timeout: float


class Bounce(NamedTuple):
    """The words for people in a bounce; None is the built-in text."""

    subject: Optional[str] = None
    warning: Optional[str] = None


class Tls(NamedTuple):
    """Absolute paths of the PEM files.

    `own`: the configuration names them, so nobody makes or renews them.
    """

    certificate: str
    key: str
    own: bool = False


class Inbound(NamedTuple):
    """What to do with the judgement of mail from outside."""

    dmarc: str = "report"


class Limits(NamedTuple):
    """Bounds of everything: counts, seconds and bytes.

    `line` is the longest command line of SMTP and POP3 (RFC 4954 section 4.3
    asks for 12288), `command_timeout` the time for one whole command,
    `login_timeout` the time until somebody has logged in.  `connections_before_login`:
    in each protocol; an eighth of all, so that five protocols leave slots to those who
    log in.  `retry_first` to
    `give_up` are seconds in the life of a message that waits in the queue.
    """

    connections: int = 1024
    connections_per_address: int = 100
    connections_before_login: int = 128
    tls_handshakes: int = 64
    line: int = 12288
    smtp_idle_timeout: float = 300.0
    imap_idle_timeout: float = 1800.0
    pop_idle_timeout: float = 600.0
    command_timeout: float = 600.0
    login_timeout: float = 120.0
    message_size: int = 128 * 1024 * 1024
    recipients: int = 1000
    errors: int = 10
    login_failures: int = 3
    retry_first: float = 300.0
    retry_longest: float = 14400.0
    delay_warning: float = 14400.0
    give_up: float = 432000.0
    relay_connections: int = 20
    relay_connections_per_destination: int = 2
    disk_reserve: int = 16 * 1024 * 1024


class Settings(NamedTuple):
    """The server's configuration.

    `domains`: {domain in lower case: {local part as written: Action}}.
    `relay` is None when relaying is closed; `queue` is always there, for
    bounces and forwards.  `smtp_message_size`: the public listener's limit.
    `complaints`: `problems.Problem` values that `check` tells and that hinder nobody.
    """

    sender_domain: str
    receivers: Tuple[Tuple[int, str], ...]
    domains: Mapping[str, Mapping[str, Action]]
    smtp: Tuple[Listen, ...]
    submission: Tuple[Listen, ...]
    imap: Tuple[Listen, ...]
    pop3: Tuple[Listen, ...]
    lmtp: Tuple[Listen, ...]
    relay: Optional[Relay]
    queue: Relay
    hosted: Optional[Hosted]
    resolver: Optional[Resolver]
    bounce: Bounce
    admin: Tuple[str, ...]
    tls: Tls
    global_filters: Tuple[Any, ...]
    run_as: Optional[str]
    plugins: Mapping[str, str]
    inbound: Inbound
    python: Optional[str]
    limits: Limits
    smtp_message_size: int
    imap_debug: bool
    pop3_debug: bool
    complaints: Tuple[Any, ...]


class UserSettings(NamedTuple):
    """A user's `mail.jcfg`; paths absolute, secrets as written, absent ones None.

    `external_mda` is the text, over which `authorization` holds; `outward` is
    the Action that it means ("agent" or "forward"), whether it may or not.
    """

    passphrase: Optional[str]
    scram: Optional[str]
    pop3pwd: Optional[str]
    external_mda: Optional[str]
    authorization: Optional[str]
    delivery: str
    filters: str
    use_global_filters: bool
    outward: Optional[Action] = None

    def __repr__(self) -> str:
        return "UserSettings(delivery=%r, filters=%r)" % (self.delivery, self.filters)


class Vacation(NamedTuple):
    """What is answered to those who write while a user is away.

    `subject` None: that of the message.  `period`: seconds in which a sender
    is answered once.  `since`, `until`: epoch seconds, None for no bound.
    `addresses`: further ones by which this user is meant.
    """

    text: str
    subject: Optional[str] = None
    period: float = 7 * 86400.0
    since: Optional[float] = None
    until: Optional[float] = None
    addresses: Tuple[str, ...] = ()


class Filter(NamedTuple):
    """One filter, by its `type`.

    "match" uses headers to name; "py" code, `code_file` (the absolute path
    where the code is `file:…`, which may not be there) and authorization;
    "vacation" the value of that name.  `place`: where it was written, for
    people.  `from_server`: it is one of the server's global filters.
    """

    type: str
    headers: Tuple[str, ...] = ("Subject",)
    mode: str = "contains"
    content: str = ""
    action: str = ""
    name: Optional[str] = None
    code: str = ""
    code_file: Optional[str] = None
    authorization: Optional[str] = None
    vacation: Optional[Vacation] = None
    place: str = ""
    from_server: bool = False


class FetchAccount(NamedTuple):
    """One mailbox elsewhere; `protocol` is imap, imaps, pop or pops; seconds."""

    server: str
    port: int
    protocol: str
    starttls: bool
    username: str
    passphrase: str
    period: float
    first_time: str
    boxes: Tuple[Tuple[str, str], ...]
    idle: bool
    remove: bool

    def __repr__(self) -> str:
        return "FetchAccount(%r, %r, %r)" % (self.server, self.protocol, self.username)


class FetcherSettings(NamedTuple):
    """A user's `mail-fetcher.jcfg`: the folders' absolute paths by name."""

    device: Optional[str]
    mail_folders: Mapping[str, str]
    accounts: Tuple[FetchAccount, ...]


class NamedListen(NamedTuple):
    """A listener and the name under which its port is asked for."""

    name: str
    listen: Listen


# The port on which the same service speaks without implicit TLS.
PLAIN_PORTS = {465: 587, 993: 143, 995: 110, 2465: 2587, 2993: 2143, 2995: 2110}

LOOPBACK = "localhost"


def listeners(settings: Settings, certificate: bool) -> Tuple[NamedListen, ...]:
    """Say which listeners to open.

    In: checked settings, and whether there is a certificate to speak TLS with.
    Out: names (smtp, lmtp, submission, submissions, imap, imaps, pop3, pop3s;
    a name may come more than once) with their listeners.

    Without a certificate whatever needed one moves to the plain port on the
    loopback, so that no passphrase can cross a network in the clear.  A
    listener that never wanted TLS stays as it was written.
    """
    sections = (("smtp", settings.smtp), ("lmtp", settings.lmtp),
                ("submission", settings.submission),
                ("imap", settings.imap), ("pop3", settings.pop3))
    named = []
    for section, listens in sections:
        for listen in listens:
            if not certificate:
                listen = _without_tls(listen)
            suffix = "s" if listen.tls == "implicit" else ""
            named.append(NamedListen(section + suffix, listen))
    return tuple(named)


def _without_tls(listen: Listen) -> Listen:
    if listen.tls == "none":
        return listen
    port = listen.port
    if listen.tls == "implicit":
        port = PLAIN_PORTS.get(port, port)
    return listen._replace(host=LOOPBACK, port=port, tls="none", plaintext_auth=False)
