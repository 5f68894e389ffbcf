"""What commands read from the terminal and print to it."""
import sys

DONE, FAILED = 0, 1  # exit codes


def is_interactive():
    """Whether somebody reads and answers at a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def ask(question, default=""):
    """What the user types; the default if that is nothing, or if there is no terminal."""
    if not is_interactive():
        return default
    try:
        typed = input("%s%s: " % (question, " (%s)" % default if default else ""))
    except EOFError:
        return default
    return typed.strip() or default


def ask_passphrase(prompt="Passphrase: "):
    """Read a passphrase from the terminal without echo, or else one line of standard input."""
    if sys.stdin.isatty():
        import getpass
        return getpass.getpass(prompt)
    return sys.stdin.readline().rstrip("\r\n")


def confirm(question):
    """Whether the user types "yes".

    Without a terminal the answer is no: nobody has seen what was printed.
    """
    if not is_interactive():
        print("phenmail: there is no terminal to ask; use --yes", file=sys.stderr)
        return False
    try:
        return input(question).strip().lower() == "yes"
    except EOFError:
        return False


def show(lines):
    """Print lines of text. A character that the terminal's encoding lacks becomes its number."""
    encoding = sys.stdout.encoding or "ascii"
    for line in lines:
        print(line.encode(encoding, "backslashreplace").decode(encoding))
