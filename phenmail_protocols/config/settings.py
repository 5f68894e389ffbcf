"""The configuration as immutable values, and which listeners to open for it.

All values have been checked and have their defaults filled in; paths are absolute. A field has
the name of its key in the file, with "_" for "-".
"""

from types import MappingProxyType
from typing import Any, FrozenSet, Mapping, NamedTuple, Optional, Tuple, Union


class Listen(NamedTuple):
    """One listener of a section.

    `host`: a name or an address; "*" is every address, IPv4 and IPv6. `port`: 0 picks a free
    one. `tls`: "implicit", "starttls" or "none". `plaintext_auth`: passwords are accepted
    without TLS from other hosts too. `path`: a Unix socket instead of host and port, or None.
    `without`: the IMAP extensions that are off.
    """

    host: str
    port: int
    tls: str = "starttls"
    plaintext_auth: bool = False
    path: Optional[str] = None
    without: FrozenSet[str] = frozenset()


class Action(NamedTuple):
    """What happens to mail for one local part.

    `kind` and its `value`:
      "disabled"  the text after the minus sign
      "mailbox"   the absolute path of the mail folder
      "alias"     `user@domain`, always with a domain, in A-labels
      "agent"     the command with its arguments, without the hash
      "forward"   the address
      "plugin"    the plugin's name, and after a space its parameters
    `secret`: only for "agent" and "forward": the SHA-256 hash (64 lower-case hexadecimal digits)
    of the passphrase with which this address may submit mail, or None.
    """

    kind: str
    value: str
    secret: Optional[str] = None

    def __repr__(self) -> str:
        return "Action(%r, %r%s)" % (self.kind, self.value, ", secret" if self.secret else "")


class Relay(NamedTuple):
    """How mail leaves, and whether users may submit it.

    `remote_port`: the port of other servers. `private_addresses`: mail for other domains is
    sent to loopback and private addresses too. `disabled`: nobody may submit mail for other
    domains; the queue still works, for bounces and forwards.
    """

    dkim_key: str
    dkim_selector: str
    queue_folder: str
    remote_port: int
    private_addresses: bool = False
    disabled: bool = False


class OAuth2(NamedTuple):
    """How to get OAuth2 tokens for one login (RFC 6749, RFC 8628), and where they are kept.

    Endpoints are web addresses, None if there is none; `client_secret`: in clear text. `redirect`:
    the host of the redirection address, or "oob": the provider shows the code to the user.
    `parameters`: pairs to add to the authorization request. `account`: its name for `fetch login`.
    `tokens`: the file of the tokens, which must be below the folder `within`.
    """

    token_endpoint: str
    client_id: str
    client_secret: Optional[str] = None
    scope: str = ""
    authorization_endpoint: Optional[str] = None
    device_endpoint: Optional[str] = None
    redirect: str = "127.0.0.1"
    parameters: Tuple[Tuple[str, str], ...] = ()
    account: str = ""
    tokens: str = ""
    within: str = ""

    def __repr__(self) -> str:
        return "OAuth2(%r, %r)" % (self.account, self.token_endpoint)


class Hosted(NamedTuple):
    """The smarthost; `password` is plain or obscured, as written; `provider`: an OAuth2 if `auth`
    is "oauth2", else None."""

    server: str
    port: int
    username: Optional[str]
    password: Optional[str]
    require_tls: bool
    require_authentication: bool
    auth: str = "password"
    provider: Any = None
    client_id: Optional[str] = None
    client_secret: Optional[str] = None

    def __repr__(self) -> str:
        return "Hosted(%r, %r, username=%r)" % (self.server, self.port, self.username)


class Resolver(NamedTuple):
    """Name servers as (address, port), and the seconds to wait for an answer."""

    nameservers: Tuple[Tuple[str, int], ...]
    timeout: float


class Bounce(NamedTuple):
    """The text of a bounce that people read; None is the built-in text."""

    subject: Optional[str] = None
    warning: Optional[str] = None


class Tls(NamedTuple):
    """Absolute paths of the PEM files.

    `own`: the configuration names them, so phenmail neither makes nor renews them.
    """

    certificate: str
    key: str
    own: bool = False


class Inbound(NamedTuple):
    """What to do with the DMARC result of mail from outside."""

    dmarc: str = "report"


class Limits(NamedTuple):
    """Bounds: counts, seconds and bytes; the defaults of "limits" in the file.

    `connections_before_login`: in each protocol. By default it is an eighth of `connections`,
    so that strangers in all five protocols leave room for those who log in.
    `line`: the longest command line of SMTP and POP3 (RFC 4954 section 4.3 asks for 12288).
    `login_timeout`: from connecting to login. `retry_first` to `give_up`: seconds of a message
    in the queue.
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


class Quota(NamedTuple):
    """What a user may keep: bytes and number of messages; None is no limit."""

    bytes: Optional[int] = None
    messages: Optional[int] = None

    def lowered(self, own: "Quota") -> "Quota":
        """The lower limits of this quota and of another."""
        return Quota(*[min((limit for limit in pair if limit is not None), default=None)
                       for pair in zip(self, own)])


class ServerQuota(NamedTuple):
    """The quota of every user, and of those who have another: `users` is {address: Quota}."""

    bytes: Optional[int] = None
    messages: Optional[int] = None
    users: Mapping[str, Quota] = MappingProxyType({})

    @property
    def of_others(self) -> Quota:
        """The quota of users who are not in `users`."""
        return Quota(self.bytes, self.messages)


class Settings(NamedTuple):
    """The server's configuration.

    `domains`: {domain in A-labels: {local part as written: Action}}.
    `search`: True: bodies are indexed, too; "headers" or False: only headers.
    `smtp_message_size`: the limit of the public listener.
    `warnings`: `problems.Problem` values that `phenmail check` prints.
    """

    sender_domain: str
    receivers: Tuple[Tuple[int, str], ...]
    domains: Mapping[str, Mapping[str, Action]]
    smtp: Tuple[Listen, ...]
    submission: Tuple[Listen, ...]
    imap: Tuple[Listen, ...]
    pop3: Tuple[Listen, ...]
    lmtp: Tuple[Listen, ...]
    relay: Relay
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
    search: Union[bool, str]
    limits: Limits
    quota: ServerQuota
    smtp_message_size: int
    imap_debug: bool
    pop3_debug: bool
    warnings: Tuple[Any, ...]


class UserSettings(NamedTuple):
    """A user's `mail.jcfg`; secrets are as written, or None.

    `external_mda` is the text that `authorization` signs. `outward` is what it means, an Action
    of kind "agent" or "forward", whether or not it is authorized. `without`: the IMAP extensions
    that are off for this user. `quota` can only lower what the server's configuration allows.
    """

    passphrase: Optional[str]
    scram: Optional[str]
    pop3pwd: Optional[str]
    external_mda: Optional[str]
    authorization: Optional[str]
    delivery: str
    filters: str
    use_global_filters: bool
    quota: Quota = Quota()
    without: FrozenSet[str] = frozenset()
    outward: Optional[Action] = None

    def __repr__(self) -> str:
        return "UserSettings(delivery=%r, filters=%r)" % (self.delivery, self.filters)


class Vacation(NamedTuple):
    """An automatic answer while a user is away.

    `subject`: None derives it from the message. `period`: seconds until the same sender is
    answered again. `since`, `until`: epoch seconds, None for no bound. `addresses`: further
    addresses of this user.
    """

    text: str
    subject: Optional[str] = None
    period: float = 7 * 86400.0
    since: Optional[float] = None
    until: Optional[float] = None
    addresses: Tuple[str, ...] = ()


class Filter(NamedTuple):
    """One filter.

    Which fields it uses depends on its `type`. "match": `headers` to `name`. "py": `code`,
    `authorization`, and for code `file:…` the absolute path `code_file`, which need not exist.
    "vacation": `vacation`. `place`: where it was written, for people. `from_server`: it is one
    of the server's global filters.
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
    """A mailbox on another server; `protocol` is imap, imaps, pop or pops, `period` seconds.

    `remove`: whether to remove delivered messages there, or after how many days (int, at least 1).
    `fingerprint`: SHA-256 in hex, colons optional; `limit`: octets a day; None for none.
    `provider`: an OAuth2 if `auth` is "oauth2", else None.
    """

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
    remove: Union[bool, int]
    name: str = ""
    keep_flags: bool = False
    trust: Optional[str] = None
    fingerprint: Optional[str] = None
    limit: Optional[int] = None
    auth: str = "password"
    provider: Any = None
    client_id: Optional[str] = None
    client_secret: Optional[str] = None

    @property
    def place(self) -> Tuple[str, str, str, int]:
        """What distinguishes the mailboxes of this login from all others: whether IMAP or POP3,
        server, user name, and the port unless it is a usual one (another kind of TLS shows the same
        mailboxes)."""
        usual = self.port in (143, 993, 110, 995)
        return (self.protocol[:3], self.server.lower(), self.username,
                0 if usual else self.port)

    def __repr__(self) -> str:
        return "FetchAccount(%r, %r, %r)" % (self.server, self.protocol, self.username)


class FetcherSettings(NamedTuple):
    """A user's `mail-fetcher.jcfg`; `mail_folders` has absolute paths by name."""

    device: Optional[str]
    mail_folders: Mapping[str, str]
    accounts: Tuple[FetchAccount, ...]


class NamedListen(NamedTuple):
    """A listener and its name, for `MailServer.port`."""

    name: str
    listen: Listen


# The port of the same service without implicit TLS.
PLAIN_PORTS = {465: 587, 993: 143, 995: 110, 2465: 2587, 2993: 2143, 2995: 2110}

LOOPBACK = "localhost"


def listeners(settings: Settings, certificate: bool) -> Tuple[NamedListen, ...]:
    """The listeners to open, with their names.

    In: `certificate`: whether there is one. The names are smtp, lmtp, submission, submissions,
    imap, imaps, pop3 and pop3s; a name may occur more than once.

    Without a certificate, every listener with TLS moves to the plain port on the loopback, so
    that no passphrase crosses a network unencrypted. A listener without TLS stays as written.
    """
    named = []
    for section in ("smtp", "lmtp", "submission", "imap", "pop3"):
        for listen in getattr(settings, section):
            if not certificate:
                listen = _without_tls(listen)
            suffix = "s" if listen.tls == "implicit" else ""
            opened = NamedListen(section + suffix, listen)
            if opened not in named:  # two of them may have moved to one plain port
                named.append(opened)
    return tuple(named)


def _without_tls(listen: Listen) -> Listen:
    if listen.tls == "none":
        return listen
    port = listen.port
    if listen.tls == "implicit":
        port = PLAIN_PORTS.get(port, port)
    return listen._replace(host=LOOPBACK, port=port, tls="none", plaintext_auth=False)
