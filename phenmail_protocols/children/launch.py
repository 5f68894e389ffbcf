"""Becomes what a command is to be, and then the command: a program of its own, with the standard library only.

    python -I -S launch.py [OPTION=VALUE]… -- COMMAND [ARGUMENT]…

    --user=UID:GID         becomes that user, with no other group and no way back; root is refused
    --umask=OCTAL          by default 077
    --folder=DIR           the working directory, entered as that user
    --nice=N               so much less important than the server
    --processor=SECONDS    of processor time, then SIGXCPU, a second later SIGKILL
    --memory=OCTETS        of address space
    --file=OCTETS          the largest file that it may write; then SIGXFSZ
    --processes=N          processes and threads of that user in all, while it makes more
    --descriptors=N        open files
    --report=DESCRIPTOR    a pipe that the command does not get: LAUNCHED is written there before it begins, and FAILED_AFTER_ALL
                           where it could not be begun. Who reads LAUNCHED alone knows that the exit status is the command's

What is not given stays as it is.  Core files are never written, no signal stays ignored or blocked, and the command may use
every processor.  Environment and descriptors are those that this program was started with; COMMAND is looked for in its PATH,
never through a shell.  The process stays the same, so its id, its session and its standard streams are the command's.

What can't be done ends it with FAILED (EX_TEMPFAIL of sysexits.h, which to a delivery agent's caller says "try again") and a
line on standard error that begins with "phenmail: ".
"""
import errno
import os
import signal
import sys

FAILED = 75

LAUNCHED, FAILED_AFTER_ALL = b"launched", b", failed"

_LIMITS = {"--processor": "RLIMIT_CPU", "--memory": "RLIMIT_AS", "--file": "RLIMIT_FSIZE",
           "--processes": "RLIMIT_NPROC", "--descriptors": "RLIMIT_NOFILE"}
_OTHERS = ("--user", "--umask", "--folder", "--nice", "--report")


class Wrong(Exception):
    """What can't be done; the text says what."""


def read(words):
    """The words of the command line -> ({option: value}, [command, argument, …]). Raises Wrong."""
    if "--" not in words:
        raise Wrong("expected -- before the command")
    end = words.index("--")
    options = {}
    for word in words[:end]:
        name, equals, value = word.partition("=")
        if not equals or name not in _LIMITS and name not in _OTHERS:
            raise Wrong("%s is no option" % word)
        options[name] = value
    if not words[end + 1:]:
        raise Wrong("expected a command behind --")
    return options, words[end + 1:]


def prepare(options):
    """Everything but the command. Raises Wrong, OSError, ValueError."""
    _settle_signals()
    _use_all_processors()
    os.umask(int(options.get("--umask", "077"), 8))
    if "--nice" in options:
        os.nice(int(options["--nice"]))
    _limit("RLIMIT_CORE", 0, 0)
    for option, name in _LIMITS.items():
        if option in options:
            value = int(options[option])
            _limit(name, value, value + (option == "--processor"))
    if "--report" in options:
        os.set_inheritable(int(options["--report"]), False)
    if "--user" in options:
        _become(*(int(number) for number in options["--user"].split(":")))
    if "--folder" in options:
        os.chdir(options["--folder"])


def _settle_signals():
    """The server, and Python itself, ignore some; a command expects none of that, `yes | head` for one would run on."""
    for number in range(1, signal.NSIG):
        try:
            if signal.getsignal(number) is not signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # no such signal, or none that can be set
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _use_all_processors():
    """The server keeps to one processor, which is its own business."""
    if hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
        except OSError:
            pass


def _limit(name, soft, hard):
    """Set a limit that this system knows; one that is lower already stays."""
    import resource
    number = getattr(resource, name, None)
    if number is None:
        return
    highest = resource.getrlimit(number)[1]
    if highest != resource.RLIM_INFINITY:
        soft, hard = min(soft, highest), min(hard, highest)
    resource.setrlimit(number, (soft, hard))


def _become(uid, gid):
    if 0 in (uid, gid):
        raise Wrong("nothing runs as root")
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if (os.getuid(), os.geteuid(), os.getgid(), os.getegid()) != (uid, uid, gid, gid):
        raise Wrong("the system did not change the user")


def execute(command, report):
    """Become the command, found by PATH. Raises the OSError that tells most.

    Nothing is imported here: the user that this process is by now need not be able to read this interpreter's files.
    """
    environment = dict(os.environ)
    environment.pop("LC_CTYPE", None)  # where the system has no C.UTF-8, Python has just set another (PEP 538)
    places = [""] if "/" in command[0] else [place + "/" for place in environment.get("PATH", "").split(":")]
    if report is not None:
        os.write(report, LAUNCHED)
    told = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for place in places:
        try:
            os.execve(place + command[0], command, environment)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                told = error
    if report is not None:
        os.write(report, FAILED_AFTER_ALL)
    raise told


def main(words):
    """Does not return where the command could be started; else the exit status."""
    try:
        options, command = read(words)
        prepare(options)
        execute(command, int(options["--report"]) if "--report" in options else None)
    except (Wrong, OSError, ValueError, TypeError) as error:
        name = (words[words.index("--") + 1:] if "--" in words else []) or ["a command"]
        sys.stderr.write("phenmail: cannot run %s: %s\n" % (name[0], getattr(error, "strerror", None) or error))
        return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
