"""The command line: its commands and options, and how they are parsed.

`COMMANDS` has one row for each command; `parse` builds the argparse parsers from the rows.
"""
import argparse
from typing import NamedTuple, Tuple


class Command(NamedTuple):
    """`name`: one word, or a group and a word. `function`: "file.function" of this room, called
    with (root, options, *values) -> exit code; "" for `serve`, which phenmail.py runs. `values`:
    (name, help) of each argument in order. `options`: names of its options in OPTIONS."""
    name: str
    function: str
    help: str
    values: Tuple[Tuple[str, str], ...] = ()
    options: Tuple[str, ...] = ()


EVERYWHERE = ("--root", "--device", "--verbose")
_SERVING = ("--ports-file", "--all-cores")
_FIRST_USER = ("--domain", "--user", "--admin")
_ADDRESS = (("ADDRESS", "the user's mail address"),)
_ID = (("ID", "the message's id, as listed"),)
_ACCOUNT = (("ACCOUNT", "its name as listed: NAME, or USER/NAME"),)
_JSON = ("--json",)

COMMANDS = (
    Command("serve", "", "run the server until SIGTERM or Ctrl-C", (), _SERVING + _FIRST_USER),
    Command("init", "init.run", "create a root folder with a first user", (), _FIRST_USER),
    Command("check", "check.run",
            "read the configuration and all mail folders, and report every mistake"),
    Command("user add", "user.add", "add a user with a mailbox; asks for the passphrase", _ADDRESS),
    Command("user passwd", "user.passwd", "change a user's passphrase", _ADDRESS),
    Command("user del", "user.delete", "remove a user, but keep their mail", _ADDRESS),
    Command("user list", "user.list_all", "list all addresses and where they lead"),
    Command("filters test", "filters.run_test",
            "show what each filter of a user would do with a message; nothing is changed",
            (("USER", "an address or a login name"), ("FILE", "a file with the message"))),
    Command("authorize", "authorize.run",
            "show a user's commands and filters that await approval, and approve them "
            "(--yes: without asking)",
            (("USER", "an address, a login name or an identity"),), ("--yes",)),
    Command("adopt", "adopt.run",
            "copy all mail of an account on another server to a user here; it can be stopped at "
            "any time, and the same command resumes",
            (("ADDRESS", "the address on the other server"),),
            ("--as", "--from", "--compare", "--yes")),
    Command("queue list", "queue.list_all", "list the queued messages, and why they wait",
            (), _JSON),
    Command("queue show", "queue.show", "show one message: its header and the last replies",
            _ID, _JSON),
    Command("queue retry", "queue.retry", "retry a message now, or all messages",
            (("ID", 'the message\'s id, or "all"'),), _JSON),
    Command("queue hold", "queue.hold", "do not send a message until it is released", _ID, _JSON),
    Command("queue release", "queue.release", "resume a message that was held", _ID, _JSON),
    Command("queue drop", "queue.drop", "remove a message from the queue",
            _ID, ("--bounce",) + _JSON),
    Command("fetch list", "fetch.list_all",
            "list the accounts from which mail is fetched, and how each fares", (), _JSON),
    Command("fetch now", "fetch.now", "let the running server fetch an account now",
            _ACCOUNT, _JSON),
    Command("fetch test", "fetch.test",
            "log in to an account and list its mailboxes; nothing is changed", _ACCOUNT, _JSON),
    Command("fetch login", "fetch.login",
            "log in to an account that wants OAuth2; prints the page to open (by default with a "
            "device code, where the provider has that)",
            (("ACCOUNT", 'an account\'s name in mail-fetcher.jcfg, or "hosted": the smarthost'),),
            ("--code", "--device-code")),
    Command("dns", "dns.run", "print the DNS records that this server needs",
            (), ("--check",) + _JSON),
    Command("sha256", "sha256.run", 'hash a passphrase, for "passphrase" in mail.jcfg'),
    Command("obscure", "obscure.run", 'obscure a passphrase, for "pop3pwd" in mail.jcfg'),
)
# {group: (help, the command that it means alone or None, its own options)}
GROUPS = {
    "user": ("add, change, remove and list users", None, ()),
    "filters": ("try a user's filters", None, ()),
    "fetch": ("fetching from other servers (default: list)", "fetch list", _JSON),
    "queue": ("list and control queued messages (default: list)", "queue list", _JSON),
}
OPTIONS = {  # name: (metavar or None for a switch, help)
    "--root": ("DIR", "the root folder (default: PHENMAIL_ROOT, else /var/lib/phenmail for root, "
                      "~/.phenmail for other users)"),
    "--device": ("NAME", "the server's own folder in the root folder, if there are several"),
    "--verbose": (None, "log more"),
    "--ports-file": ("FILE", "write the ports to FILE as JSON once clients can connect"),
    "--all-cores": (None, "use all processor cores (default: one, which halves the CPU time per "
                          "message)"),
    "--domain": ("DOMAIN", "the mail domain of a new root folder (default: this machine's name)"),
    "--user": ("NAME", "the first user of a new root folder (default: your login name)"),
    "--admin": (None, "the first user's commands and filters need no approval"),
    "--yes": (None, "do not ask"),
    "--as": ("USER", "the user here (default: the one of that name, or the only one)"),
    "--from": ("ACCOUNT", "the name of an account in the user's mail-fetcher.jcfg"),
    "--compare": (None, "copy nothing, but compare both sides octet by octet"),
    "--json": (None, "print JSON"),
    "--bounce": (None, "send a bounce to the sender"),
    "--code": (None, "the browser, or you, brings a code back here"),
    "--device-code": (None, "you type a code on the provider's page"),
    "--check": (None, "compare the records with the live DNS"),
}


def parse(arguments, version):
    """Read a command line -> argparse.Namespace.

    `arguments`: list of str, None for those of the process; `version`: what --version prints.
    The result has `command` (a name of COMMANDS), `function` (of its row), `values` (its arguments,
    list of str), and an attribute for each of OPTIONS (None or False if the option was not given).
    Raises SystemExit: code 0 after --help and --version; code 2 for a wrong command line, after
    printing the reason to standard error.
    """
    parser = _Parser(description="A whole mail service. Without a command it runs the server, and "
                                 "creates a root folder first if there is none.")
    parser.add_argument("--version", action="version", version="phenmail " + version)
    _add_options(parser, EVERYWHERE + _SERVING + _FIRST_USER)
    parser.set_defaults(command="serve", values=[], **{
        _attribute(name): None if metavar else False for name, (metavar, _) in OPTIONS.items()})
    groups = {"": parser.add_subparsers(title="commands", metavar="COMMAND", dest="word")}
    for command in COMMANDS:
        _add_command(groups, command)
    options = parser.parse_args(arguments)
    if options.command in GROUPS:
        *others, last = groups[options.command].choices
        parser.error("%s: expected %s" % (
            options.command, " or ".join(filter(None, [", ".join(others), last]))))
    options.function = next(each.function for each in COMMANDS if each.name == options.command)
    return options


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, instead of the usage and all choices."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message):
        command = " ".join(self.prog.split()[1:])
        if command and not message.startswith("unknown"):
            message = "%s: %s" % (command, message)
        self.exit(2, "phenmail: %s (see %s --help)\n" % (message, self.prog))

    def _check_value(self, action, value):
        if action.dest != "word":
            super()._check_value(action, value)
        elif value not in action.choices:
            raise argparse.ArgumentError(None, "unknown %s: %s" % (
                " ".join(self.prog.split()[1:] + ["command"]), value))


def _add_command(groups, command):
    group, _, word = command.name.rpartition(" ")
    if group not in groups:
        text, default, options = GROUPS[group]
        made = _subparser(groups[""], group, text, options)
        made.set_defaults(command=default or group)
        groups[group] = made.add_subparsers(title="commands", metavar="COMMAND", dest="word")
    parser = _subparser(groups[group], word, command.help, command.options)
    parser.set_defaults(command=command.name)
    for name, text in command.values:
        parser.add_argument("values", action="append", metavar=name, help=text)


def _subparser(group, word, text, options):
    parser = group.add_parser(word, help=text, description=text[0].upper() + text[1:] + ".")
    _add_options(parser, EVERYWHERE + options)
    return parser


def _add_options(parser, names):
    """Options may stand before and after the command, so a subparser sets no default: it would
    replace what was read before the command."""
    for name in names:
        metavar, text = OPTIONS[name]
        kind = {"metavar": metavar} if metavar else {"action": "store_true"}
        spellings = ("-v", name) if name == "--verbose" else (name,)
        parser.add_argument(*spellings, dest=_attribute(name), default=argparse.SUPPRESS,
                            help=text, **kind)


def _attribute(option):
    return option[2:].replace("-", "_")
