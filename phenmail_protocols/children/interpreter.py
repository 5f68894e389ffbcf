"""Which Python runs the child processes, and the command line that starts one.

Every child is a module of this package with a `main(words)`. It starts isolated (`-I`): it reads
no environment variable and nothing of the working directory.
"""
import os
import re
import sys

ENVIRONMENT = {"LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}
PACKAGE = __name__.rpartition(".children.")[0]
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Our folders come last in sys.path, so that nothing in them replaces a standard module.
_BEGIN = ("import sys, importlib; sys.path += sys.argv[1].split('\\n'); "
          "sys.exit(importlib.import_module(sys.argv[2]).main(sys.argv[3:]))")


class CannotStart(Exception):
    """No child can be started; str() says why."""


def interpreter(python=None):
    """The Python to run children with: `python` if set, else this one.

    Raises CannotStart if the host program is not a Python interpreter.
    """
    if python is not None:
        return python
    name = os.path.basename(sys.executable or "").lower()
    if getattr(sys, "frozen", False) or not re.match(r"python|pypy", name):
        raise CannotStart("%s is not a Python interpreter: set \"python\" in mail.jcfg"
                          % (sys.executable or "the host"))
    return sys.executable


def command(python, module, words, search_path=None):
    """The command line (list of str) that runs `main(words)` of a module of this package.

    `search_path`: folders with packages that the child needs; None: the standard library is enough.
    [] loads the packages that the interpreter finds itself.
    """
    without_site = ["-S"] if search_path != [] else []
    places = "\n".join([TOP] + list(search_path or ()))
    return [python, "-I"] + without_site + ["-c", _BEGIN, places,
                                            "%s.%s" % (PACKAGE, module)] + list(words)
