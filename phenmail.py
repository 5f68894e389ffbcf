#!/usr/bin/env python3
"""phenmail: a whole mail service in one program.

As a program: ``python3 phenmail.py`` (see ``--help``). As a module, for
programs that want a mail server inside them::

    import phenmail
    with phenmail.MailServer(users={"me@example.org": "secret"}) as server:
        server.port("imaps")

This file alone knows arguments, environment, signals and exit codes.
"""
import sys

if sys.version_info < (3, 6):
    sys.exit("phenmail needs Python 3.6 or newer; this is Python %s"
             % sys.version.split()[0])

from phenmail_protocols import __version__  # noqa: E402
from phenmail_protocols.admin.commandline import (  # noqa: E402
    USAGE, Options, WrongUsage)
from phenmail_protocols.app import (  # noqa: E402
    AlreadyRunning, Listening, MailRefused, MailServer, PluginRefused)

__all__ = ["AlreadyRunning", "Listening", "MailRefused", "MailServer",
           "PluginRefused", "__version__", "main"]

DONE, FAILED, WRONG_USAGE = 0, 1, 2
_PERIOD = 30.0  # seconds between two looks at what can be given back
_STACK = 1 << 20  # bytes of address space a thread


def main(arguments=None):
    """Run one word of the command line; returns the exit code."""
    try:
        options = Options(sys.argv[1:] if arguments is None else arguments)
        if options.help or options.version:
            print(USAGE if options.help else "phenmail %s" % __version__)
            return DONE
        run, rest = options.word(WORDS)
    except WrongUsage as error:
        print("phenmail: %s (--help tells more)" % error, file=sys.stderr)
        return WRONG_USAGE
    _prepare_process(options)
    from phenmail_protocols.config.problems import ConfigError
    from phenmail_protocols.config.root import Root, RootError
    from phenmail_protocols.net.errors import CertificateError
    try:
        return run(Root(_root_folder(options), options.device), options, *rest)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
    except (RootError, AlreadyRunning, CertificateError, OSError,
            ValueError) as error:
        print("phenmail: %s" % error, file=sys.stderr)
    except KeyboardInterrupt:
        pass
    return FAILED


# The process


def _prepare_process(options):
    import logging
    import os
    import threading
    os.umask(0o077)
    threading.stack_size(_STACK)
    # Nobody sees these in the format below, and each line pays for them.
    logging.logThreads = logging.logProcesses = False
    logging.logMultiprocessing = logging._srcfile = None
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _raise_descriptor_limit()


def _raise_descriptor_limit():
    try:
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, ValueError, OSError):
        pass  # the limit that there is has to do


class _OneCore:
    """Keeps all threads on one processor core: the one with most to spare.

    Python runs one thread at a time. On several cores each hand-over wakes
    another core; on one it is a plain switch. Deliveries a second, two cores,
    nothing else running: 1010 spread, 1600 on one; with a connection for
    each message 590 and 1110.
    """

    def __init__(self):
        import os
        self._cores = set()
        if (hasattr(os, "sched_getaffinity") and os.path.exists("/proc/stat")
                and len(os.sched_getaffinity(0)) > 1):
            self._cores = _fastest(os.sched_getaffinity(0))
        self._core = None
        self._idle = {}
        self._used = 0.0

    def settle(self):
        """Choose anew, and bring threads that are elsewhere along."""
        import os
        if not self._cores:
            return
        try:
            self._core = self._choose()
        except OSError:  # the system doesn't say what its cores do
            return
        for thread in os.listdir("/proc/self/task"):
            try:
                os.sched_setaffinity(int(thread), {self._core})
            except OSError:
                pass  # it has ended, or it may not be moved

    def _choose(self):
        """Another core only if it has clearly more to spare than ours, with
        what we use of it ourselves."""
        import time
        idle, used = self._idle_seconds(), time.process_time()
        spare = {core: idle.get(core, 0.0) - self._idle.get(core, 0.0)
                 for core in self._cores}
        ours, self._idle, self._used = used - self._used, idle, used
        best = max(sorted(spare), key=spare.get)
        if self._core is None:
            return best
        gain = spare[best] - spare[self._core] - ours
        return best if gain > 0.2 * _PERIOD else self._core

    def _idle_seconds(self):
        import os
        tick = os.sysconf("SC_CLK_TCK")
        found = {}
        with open("/proc/stat") as file:
            for line in file:
                words = line.split()
                if words and words[0][:3] == "cpu" and words[0][3:].isdigit():
                    found[int(words[0][3:])] = int(words[4]) / tick
        return found


def _fastest(cores):
    """Those of ``cores`` that are not the slow ones of a big.LITTLE chip."""
    speeds = {}
    for core in cores:
        try:
            with open("/sys/devices/system/cpu/cpu%d/cpu_capacity"
                      % core) as file:
                speeds[core] = int(file.read())
        except (OSError, ValueError):
            return cores
    return {core for core in cores if speeds[core] == max(speeds.values())}


def _frugal_memory():
    """Have glibc keep one arena for all threads; the answer, called now and
    then, gives free pages back to the system.

    On its own it keeps an arena for each of many threads, and what they held:
    10 000 connections of nonsense left 16 MB behind, with this nothing.
    """
    try:
        import ctypes
        library = ctypes.CDLL(None)
        library.mallopt(-8, 1)  # M_ARENA_MAX
        trim = library.malloc_trim
    except (ImportError, OSError, AttributeError, TypeError):
        return lambda: None  # another C library has other manners
    return lambda: trim(0)


def _forget_the_start(trim):
    """Give back what only the start needed, a megabyte or so."""
    import gc
    gc.collect()
    trim()


def _root_folder(options):
    import os
    if options.root or os.environ.get("PHENMAIL_ROOT"):
        return options.root or os.environ["PHENMAIL_ROOT"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return "/var/lib/phenmail"
    return os.path.expanduser("~/.phenmail")


class _RunAs:
    """Another user instead of root: all files are made and read as that user,
    and root comes back (``with`` it) for taking the ports only."""

    def __init__(self, name):
        import os
        import pwd
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise ValueError("run-as: there is no user %r" % name) from None
        self._uid = entry.pw_uid
        os.initgroups(name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.seteuid(self._uid)

    def __enter__(self):
        import os
        os.seteuid(0)

    def __exit__(self, *exception):
        import os
        os.seteuid(self._uid)

    def for_good(self):
        import os
        os.seteuid(0)
        os.setuid(self._uid)


class _Signals:
    """The signals that come, in order. Nothing is done where they are caught:
    a handler that waits for a lock of the one it interrupted waits for ever."""

    def __init__(self, *names):
        import signal
        import socket
        self._reader, self._writer = socket.socketpair()
        self._reader.settimeout(_PERIOD)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno())
        for name in names:
            if hasattr(signal, name):  # Windows has no SIGHUP
                signal.signal(getattr(signal, name), lambda *_: None)

    def wait(self, meanwhile):
        """The name of the next one; each of ``meanwhile`` is called twice a
        minute."""
        import signal
        import socket
        while True:
            try:
                return signal.Signals(self._reader.recv(1)[0]).name
            except socket.timeout:
                for task in meanwhile:
                    task()

    def close(self):
        import signal
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()


# Words


def _serve(root, options):
    trim, core = _frugal_memory(), _OneCore()
    _make_root_if_needed(root, options)
    server = MailServer(root.path, device=root.device)
    signals = _Signals("SIGTERM", "SIGINT", "SIGHUP")
    try:
        _bind(server)
        _remove_ports(options.ports_file)  # of one that was killed
        server.serve()
        meanwhile = [trim] if options.all_cores else [trim, core.settle]
        meanwhile[-1]()  # before anybody connects: threads inherit the core
        _forget_the_start(trim)
        _tell_ports(server, options.ports_file)
        while signals.wait(meanwhile) == "SIGHUP":
            _reload(server)
        _remove_ports(options.ports_file)
    finally:
        server.stop()
        signals.close()
    return DONE


def _remove_ports(ports_file):
    """Only who holds the root may: another server's ports are right."""
    import os
    if ports_file and os.path.exists(ports_file):
        os.unlink(ports_file)


def _bind(server):
    import os
    user = server.settings.run_as
    if not user or not hasattr(os, "geteuid") or os.geteuid() != 0:
        server.bind()
        return
    run_as = _RunAs(user)
    try:
        server.bind(taking_ports=run_as)
    except PermissionError as error:
        raise OSError("%s\nrun-as %s: that user needs the whole root folder: "
                      "chown -R %s %s" % (error, user, user, server.root.path))
    run_as.for_good()


def _make_root_if_needed(root, options):
    from phenmail_protocols.admin import firststart
    if firststart.is_needed(root):
        first = firststart.make_root(
            root, options.user or _login_name(), options.domain, options.admin)
        print(firststart.welcome(first), flush=True)


def _login_name():
    import getpass
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):
        name = ""
    return name if name.isalnum() and name != "root" else "me"


def _reload(server):
    from phenmail_protocols.config.problems import ConfigError
    import logging
    log = logging.getLogger("phenmail")
    try:
        server.reload()
        log.info("configuration reread")
    except (ConfigError, OSError) as error:
        log.error("the old configuration stays in force: %s", error)
    except Exception:
        log.exception("the old configuration stays in force")


def _tell_ports(server, ports_file):
    import json
    from phenmail_protocols.admin import firststart
    from phenmail_protocols.disk import atomic
    fingerprint = (server.certificates.fingerprint()
                   if server.certificates is not None else None)
    print(firststart.table(
        server.listening, server.settings.sender_domain, fingerprint,
        server.no_certificate), flush=True)
    if ports_file:
        ports = {}
        for listening in server.listening:
            ports.setdefault(listening.name, listening.port)
        atomic.write_file(ports_file, json.dumps(ports).encode("ascii"))


def _init(root, options):
    from phenmail_protocols.admin import firststart
    if not firststart.is_needed(root):
        print("phenmail: %s is there already" % root.configuration,
              file=sys.stderr)
        return FAILED
    _make_root_if_needed(root, options)
    return DONE


def _check(root, options):
    from phenmail_protocols.admin.check import check
    report = check(root)
    for title, lines in (("error", report.errors), ("warning", report.warnings),
                         ("note", report.notes)):
        for line in lines:
            print("%s: %s" % (title, line))
    print("%d errors, %d warnings" % (len(report.errors),
                                      len(report.warnings)))
    return FAILED if report.errors else DONE


def _sha256(root, options):
    import hashlib
    print(hashlib.sha256(_ask_passphrase().encode("utf-8")).hexdigest())
    return DONE


def _obscure(root, options):
    from phenmail_protocols.accounts import secrets
    print(secrets.obscure(_ask_passphrase()))
    return DONE


def _ask_passphrase():
    """From the terminal without echo, else the first line of the input."""
    if sys.stdin.isatty():
        import getpass
        return getpass.getpass("Type in your pass phrase: ")
    return sys.stdin.readline().rstrip("\r\n")


def _user_add(root, options, address):
    from phenmail_protocols.accounts import words
    return _with_passphrase(words.add_user, root, address)


def _user_passwd(root, options, address):
    from phenmail_protocols.accounts import words
    return _with_passphrase(words.set_passphrase, root, address)


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


def _user_delete(root, options, address):
    from phenmail_protocols.accounts import words
    words.delete_user(root, address)
    print("%s: removed; the mail is still there" % address)
    return DONE


def _user_list(root, options):
    from phenmail_protocols.accounts import words
    for user in words.list_users(root):
        print("%-32s %s" % (user.address, user.ends))
    return DONE


def _queue(root, options):
    from phenmail_protocols.admin import control
    return _show(*control.queue_list(root, options.json))


def _queue_show(root, options, identity):
    from phenmail_protocols.admin import control
    return _show(*control.queue_show(root, identity, options.json))


def _queue_order(order):
    def run(root, options, identity):
        from phenmail_protocols.admin import control
        return _show(*control.queue_order(
            root, order, identity, options.bounce, options.json))
    return run


def _dns(root, options):
    from phenmail_protocols.admin import control
    return _show(*control.dns(root, options.check, options.json))


def _filters_test(root, options, user, file):
    from phenmail_protocols.admin import filtertest
    from phenmail_protocols.config import loader
    result = filtertest.try_filters(root, loader.load_server(root), user, file)
    return _show("\n".join(filtertest.text_lines(result)), True)


def _authorize(root, options, user):
    from phenmail_protocols.admin import authorize
    asked = authorize.asked(root, user)
    _print_whole(authorize.text_lines(asked))
    if not asked.waiting:
        return FAILED if asked.troubles else DONE
    if not options.yes and not _says_yes("Authorize all of this? (yes or no) "):
        print("phenmail: nothing was authorized", file=sys.stderr)
        return FAILED
    told, is_done = authorize.write(root, asked)
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


WORDS = {  # word: (function, names of its arguments)
    "": (_serve, ()), "serve": (_serve, ()), "init": (_init, ()),
    "check": (_check, ()), "sha256": (_sha256, ()), "obscure": (_obscure, ()),
    "user add": (_user_add, ("ADDRESS",)),
    "user passwd": (_user_passwd, ("ADDRESS",)),
    "user del": (_user_delete, ("ADDRESS",)), "user list": (_user_list, ()),
    "filters test": (_filters_test, ("USER", "FILE")),
    "authorize": (_authorize, ("USER",)),
    "queue": (_queue, ()), "queue list": (_queue, ()),
    "queue show": (_queue_show, ("ID",)),
    "queue retry": (_queue_order("retry"), ("ID",)),
    "queue hold": (_queue_order("hold"), ("ID",)),
    "queue release": (_queue_order("release"), ("ID",)),
    "queue drop": (_queue_order("drop"), ("ID",)), "dns": (_dns, ()),
}

if __name__ == "__main__":
    sys.exit(main())
