"""The commands that need no server in this process; `phenmail.py` has `serve` and `init`.

Each is a function of the root folder, the options (commandline.parse) and the command's own
arguments. It prints, and returns the exit code. Each imports what it needs when it runs.
"""
import sys

DONE, FAILED = 0, 1


def check(root, options):
    from . import check as checking
    report = checking.check(root)
    for title, lines in (("error", report.errors), ("warning", report.warnings),
                         ("note", report.notes)):
        for line in lines:
            print("%s: %s" % (title, line))
    print("%d errors, %d warnings" % (len(report.errors),
                                      len(report.warnings)))
    return FAILED if report.errors else DONE


def sha256(root, options):
    import hashlib
    print(hashlib.sha256(_ask_passphrase().encode("utf-8")).hexdigest())
    return DONE


def obscure(root, options):
    from ..accounts import passphrases
    print(passphrases.obscure(_ask_passphrase()))
    return DONE


def _ask_passphrase():
    """From the terminal without echo, else the first line of the input."""
    if sys.stdin.isatty():
        import getpass
        return getpass.getpass("Type in your pass phrase: ")
    return sys.stdin.readline().rstrip("\r\n")


def user_add(root, options, address):
    from ..accounts import users
    return _with_passphrase(users.add_user, root, address)


def user_passwd(root, options, address):
    from ..accounts import users
    return _with_passphrase(users.set_passphrase, root, address)


def _with_passphrase(word, root, address):
    """Run ``word`` with the passphrase that is typed, or one of our making."""
    typed = _ask_passphrase()
    passphrase = word(root, address, typed or None)
    if typed:
        print("%s: done" % address)
    else:
        print("%s logs in with this passphrase, shown once: %s"
              % (address, passphrase))
    return DONE


def user_delete(root, options, address):
    from ..accounts import users
    users.delete_user(root, address)
    print("%s: removed; the mail is still there" % address)
    return DONE


def user_list(root, options):
    from ..accounts import users
    for user in users.list_users(root):
        print("%-32s %s" % (user.address, user.ends))
    return DONE


def queue(root, options):
    from . import control
    return _show(*control.queue_list(root, options.json))


def queue_show(root, options, identity):
    from . import control
    return _show(*control.queue_show(root, identity, options.json))


def queue_order(order):
    def run(root, options, identity):
        from . import control
        return _show(*control.queue_order(
            root, order, identity, options.bounce, options.json))
    return run


def dns(root, options):
    from . import control
    return _show(*control.dns(root, options.check, options.json))


def filters_test(root, options, user, file):
    from ..config import loader
    from . import filtertest
    result = filtertest.try_filters(root, loader.load_server(root), user, file)
    return _show("\n".join(filtertest.text_lines(result)), True)


def authorize(root, options, user):
    """Show what awaits the administrator's approval, and record the approval."""
    from . import authorize as approval
    asked = approval.asked(root, user)
    _print_whole(approval.text_lines(asked))
    if not asked.waiting:
        return FAILED if asked.troubles else DONE
    if not options.yes and not _says_yes("Authorize all of this? (yes or no) "):
        print("phenmail: nothing was authorized", file=sys.stderr)
        return FAILED
    told, is_done = approval.write(root, asked)
    _print_whole(told)
    return DONE if is_done and not asked.troubles else FAILED


def _print_whole(lines):
    """What the terminal has no character for is shown by its number."""
    name = sys.stdout.encoding or "ascii"
    for line in lines:
        print(line.encode(name, "backslashreplace").decode(name))


def _says_yes(question):
    """Only where what was printed could be seen, and the answer is typed."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("phenmail: no terminal to ask at; --yes authorizes unasked",
              file=sys.stderr)
        return False
    try:
        return input(question).strip().lower() == "yes"
    except EOFError:
        return False


def _show(text, is_well):
    print(text.rstrip("\n"))
    return DONE if is_well else FAILED


COMMANDS = {
    "check": check, "sha256": sha256, "obscure": obscure, "dns": dns, "authorize": authorize,
    "user add": user_add, "user passwd": user_passwd, "user del": user_delete, "user list": user_list,
    "filters test": filters_test, "queue list": queue, "queue show": queue_show,
    "queue retry": queue_order("retry"), "queue hold": queue_order("hold"),
    "queue release": queue_order("release"), "queue drop": queue_order("drop"),
}
