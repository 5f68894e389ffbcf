"""The command line as a value: what was typed, and what it means.

Pure: it takes a list of words. (argparse would cost 2 MB while serving.)
"""

USAGE = """\
usage: phenmail.py [option ...] [word ...]

A whole mail service. Without a word it serves, and makes a working root first.

words:
  serve                 run the server until SIGTERM or Ctrl-C
  init [--domain DOMAIN] [--user NAME] [--admin]
                        make a working root folder; --admin: its first user
                        needs no authorizations
  check                 look over configuration and mail folders
  user add ADDRESS      add a user with a mailbox
  user passwd ADDRESS   set a user's passphrase
  user del ADDRESS      remove a user; the mail stays
  user list             list addresses and where they end
  filters test USER FILE
                        what each filter of a user would do with the message in
                        a file, without doing it
  authorize USER        show the external-MDA and the code filters of a user that
                        the administrator has not authorized, and do so; it asks
                        before, with --yes it doesn't
  queue [list]          what waits to be sent
  queue show ID         one message, what was said of it, and its header
  queue retry ID|all    try now
  queue hold ID         stop a message until it is released
  queue release ID      let it go on
  queue drop ID         give it up; --bounce: and tell its sender
  dns                   the DNS records that this server needs, for a zone file;
                        --check: compared with what the DNS says
  sha256                hash a passphrase, for "passphrase" in mail.jcfg
  obscure               obscure a passphrase, for "pop3pwd"

options:
  --root DIR            the root folder (else PHENMAIL_ROOT; /var/lib/phenmail
                        for root, ~/.phenmail for others)
  --device NAME         the device identity, where the root holds several
  --ports-file FILE     write the ports as JSON once clients can connect
  --all-cores           let threads spread over all processor cores; else they
                        share one, which hands messages on half as dearly
  --json                queue and dns: for programs
  -v, --verbose         log more
  --version, --help     print and exit
"""


class WrongUsage(Exception):
    """The command line is not one of USAGE's; str() says what is wrong."""


class Options:
    """What the command line says. Raises WrongUsage."""

    WITH_VALUE = ("root", "device", "ports_file", "domain", "user")
    SWITCHES = ("verbose", "admin", "all_cores", "check", "json", "bounce",
                "yes", "version", "help")

    def __init__(self, arguments):
        self.words = []
        for name in self.WITH_VALUE:
            setattr(self, name, None)
        for name in self.SWITCHES:
            setattr(self, name, False)
        rest = list(arguments)
        while rest:
            argument = rest.pop(0)
            if argument.startswith("-"):
                self._take("--verbose" if argument == "-v" else
                           "--help" if argument == "-h" else argument, rest)
            else:
                self.words.append(argument)

    def _take(self, argument, rest):
        option, equals, value = argument.partition("=")
        name = option[2:].replace("-", "_") if option[:2] == "--" else ""
        if name in self.SWITCHES and not equals:
            setattr(self, name, True)
        elif name in self.WITH_VALUE and (equals or rest):
            setattr(self, name, value if equals else rest.pop(0))
        elif name in self.WITH_VALUE:
            raise WrongUsage("%s wants a value" % option)
        else:
            raise WrongUsage("there is no option %s" % argument)

    def word(self, words):
        """The function to run and its further arguments (str).

        ``words``: {word: (function, names of its arguments)}.
        """
        for length in (2, 1, 0):
            name = " ".join(self.words[:length])
            if name in words and (name or not self.words):
                run, wanted = words[name]
                rest = self.words[length:]
                if len(rest) != len(wanted):
                    raise WrongUsage("%s wants %s" % (
                        name or "phenmail.py",
                        " ".join(wanted) or "nothing more"))
                return run, rest
        raise WrongUsage("there is no word %r" % " ".join(self.words))
