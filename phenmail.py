#!/usr/bin/env python3
"""phenmail: a whole mail service in one program.

To run it: `python3 phenmail.py` (`--help` lists the commands). To have a mail server inside
another program:

    import phenmail
    with phenmail.MailServer(users={"me@example.org": "secret"}) as server:
        server.port("imaps")

Only this file deals with arguments, environment variables, signals and exit codes.
"""
import logging
import os
import signal
import socket
import sys
import threading

if sys.version_info < (3, 6):
    sys.exit("phenmail needs Python 3.6 or newer; this is Python %s" % sys.version.split()[0])

from phenmail_protocols import __version__  # noqa: E402
from phenmail_protocols.app import (  # noqa: E402
    AlreadyRunning,
    Listening,
    MailRefused,
    MailServer,
    PluginRefused,
)
from phenmail_protocols.config.problems import ConfigError  # noqa: E402

__all__ = ["AlreadyRunning", "ConfigError", "Listening", "MailRefused", "MailServer",
           "PluginRefused", "__version__", "main"]

log = logging.getLogger("phenmail")

DONE, FAILED = 0, 1  # and 2 for a wrong command line
_STACK = 1 << 20  # bytes of address space for each thread
# Seconds until a thread that computes must release the interpreter lock (default: 0.005). A short
# IMAP or SMTP command makes about ten system calls, and may wait that long after each.
_SWITCH = 0.001


def main(arguments=None):
    """Run one command line -> the exit code: 0 done, 1 failed, 2 wrong usage.

    `arguments`: list of str; None takes those of the process.
    """
    from phenmail_protocols.admin import commandline
    try:
        options = commandline.parse(arguments, __version__)
    except SystemExit as end:  # argparse: --help, --version or a wrong command line
        return end.code
    run = _function(options)
    _prepare_process(options)
    from phenmail_protocols.config.root_folder import Root, RootError
    from phenmail_protocols.net.errors import CertificateError
    try:
        return run(Root(_root_folder(options), options.device), options, *options.values)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
    except (RootError, AlreadyRunning, CertificateError, OSError, ValueError) as error:
        print("phenmail: %s" % _reason(error), file=sys.stderr)
    except KeyboardInterrupt:
        pass
    return FAILED


def _reason(error):
    """An exception for people: the file's name and what is wrong, without the errno."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return "%s: %s" % (error.filename, error.strerror)
    return error


def _function(options):
    """The function of a command. Only the file that it needs is imported."""
    if options.command == "serve":
        return _serve
    from importlib import import_module
    file, _, function = options.function.partition(".")
    return getattr(import_module("phenmail_protocols.admin." + file), function)


# The process


def _prepare_process(options):
    os.umask(0o077)
    threading.stack_size(_STACK)
    sys.setswitchinterval(_SWITCH)
    logging.basicConfig(stream=sys.stderr,
                        level=logging.DEBUG if options.verbose else logging.INFO,
                        format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _raise_descriptor_limit()


def _raise_descriptor_limit():
    try:
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, ValueError, OSError):
        pass  # the present limit stays


def _root_folder(options):
    if options.root or os.environ.get("PHENMAIL_ROOT"):
        return options.root or os.environ["PHENMAIL_ROOT"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return "/var/lib/phenmail"
    return os.path.expanduser("~/.phenmail")


class _RunAs:
    """The setting `run-as`: another user instead of root.

    The process creates and reads all files as that user, and is root again only inside `with`, to
    bind ports below 1024.
    """

    def __init__(self, name):
        import pwd
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise ValueError("run-as: the system has no user %r" % name) from None
        self._uid = entry.pw_uid
        os.initgroups(name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.seteuid(self._uid)

    def __enter__(self):
        os.seteuid(0)

    def __exit__(self, *exception):
        os.seteuid(self._uid)

    def for_good(self):
        """Give up root."""
        os.seteuid(0)
        os.setuid(self._uid)


class _Signals:
    """The signals that arrive, in order.

    The handlers do nothing: one that waited for a lock of the code that it interrupted would wait
    for ever.
    """

    def __init__(self, period, *names):
        self._reader, self._writer = socket.socketpair()
        self._reader.settimeout(period)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno())
        for name in names:
            if hasattr(signal, name):  # Windows has no SIGHUP
                signal.signal(getattr(signal, name), lambda *_: None)

    def wait(self, meanwhile):
        """The name of the next signal. Calls each function of `meanwhile` once a period."""
        while True:
            try:
                return signal.Signals(self._reader.recv(1)[0]).name
            except socket.timeout:
                for task in meanwhile:
                    task()

    def close(self):
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()


# Commands


def _serve(root, options):
    from phenmail_protocols import process_tuning
    from phenmail_protocols.admin import init
    trim, core = process_tuning.frugal_memory(), process_tuning.OneCore()
    init.make_root_if_needed(root, options)
    server = MailServer(root.path, device=root.device)
    signals = _Signals(process_tuning.PERIOD, "SIGTERM", "SIGINT", "SIGHUP")
    try:
        _bind(server)
        _remove_ports(options.ports_file)  # of a server that was killed
        server.serve()
        meanwhile = [trim] if options.all_cores else [trim, core.settle]
        meanwhile[-1]()  # before anybody connects, because threads inherit the core
        process_tuning.forget_the_start(trim)
        _tell_ports(server, options.ports_file)
        while signals.wait(meanwhile) == "SIGHUP":
            _reload(server)
        _remove_ports(options.ports_file)
    finally:
        server.stop()
        signals.close()
    return DONE


def _remove_ports(ports_file):
    """Call it only with the root folder locked: the file may be another server's otherwise."""
    if ports_file and os.path.exists(ports_file):
        os.unlink(ports_file)


def _bind(server):
    user = server.settings.run_as
    if not user or not hasattr(os, "geteuid") or os.geteuid() != 0:
        server.bind()
        return
    run_as = _RunAs(user)
    try:
        server.bind(taking_ports=run_as)
    except PermissionError as error:
        raise OSError("%s\nrun-as %s: that user must own the whole root folder: chown -R %s %s"
                      % (error, user, user, server.root.path))
    run_as.for_good()


def _reload(server):
    try:
        server.reload()
        log.info("configuration reloaded")
    except (ConfigError, OSError) as error:
        log.error("configuration not reloaded, the old one stays in force: %s", error)
    except Exception:
        log.exception("configuration not reloaded, the old one stays in force")


def _tell_ports(server, ports_file):
    import json

    from phenmail_protocols.admin import client_settings
    from phenmail_protocols.disk import atomic
    fingerprint = (server.certificates.fingerprint()
                   if server.certificates is not None else None)
    print(client_settings.table(
        server.listening, server.settings.sender_domain, fingerprint,
        server.no_certificate), flush=True)
    if ports_file:
        ports = {}
        for listening in server.listening:
            ports.setdefault(listening.name, listening.port)
        atomic.write_file(ports_file, json.dumps(ports).encode("ascii"))


if __name__ == "__main__":
    sys.exit(main())
