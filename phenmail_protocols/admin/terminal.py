"""What commands read from the terminal and print to it."""
import sys

DONE, FAILED = 0, 1  # exit codes


def ask_passphrase():
    """Read a passphrase from the terminal without echo, or else one line of standard input."""
    if sys.stdin.isatty():
        import getpass
        return getpass.getpass("Passphrase: ")
    return sys.stdin.readline().rstrip("\r\n")


def confirm(question):
    """Whether the administrator types "yes".

    Without a terminal the answer is no: nobody has seen what was printed.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("phenmail: there is no terminal to ask; use --yes to approve", file=sys.stderr)
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
