"""What installed packages offer by name: entry points, read from their small text files.

The modules made for this (pkg_resources, importlib.metadata) cost several megabytes of memory, and
all that is needed is a name and where it leads.  What is read, for each folder of `sys.path`:
`*.dist-info/entry_points.txt`, `*.egg-info/entry_points.txt` and `EGG-INFO/entry_points.txt`, as
the packaging specification "Entry points" has them.  Zipped packages are not looked into.
"""
import os
import re
import sys

_LONGEST_FILE = 64 * 1024
_MOST_FOLDERS = 200
_MOST_PACKAGES = 10000
_INFORMATION = (".dist-info", ".egg-info")
_LINE = re.compile(r"([^\s=\[#;][^=]*?)\s*=\s*([\w.]+)\s*(?::\s*([\w.]+))?\s*(?:\[[^\]]*\])?\s*")


def read(group, folders=None):
    """The entry points of a group -> {name: "module:object"}, or {name: "module"}; of two by one
    name that which Python would import.  `folders`: None is `sys.path`.  Raises nothing: what can
    not be read is not there.
    """
    found = {}
    for folder in list(sys.path if folders is None else folders)[:_MOST_FOLDERS]:
        for path in _files(folder or os.curdir):
            for name, target in _points(path, group):
                found.setdefault(name, target)
    return found


def _files(folder):
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(_INFORMATION)
                       or name == "EGG-INFO")
    except (OSError, TypeError, ValueError):
        return []
    return [os.path.join(folder, name, "entry_points.txt") for name in names[:_MOST_PACKAGES]]


def _points(path, group):
    """A file -> (name, target) of each entry point of a group."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LONGEST_FILE)
    except OSError:
        return
    heading, here = "[%s]" % group, False
    if heading.encode("utf-8") not in text:
        return
    for line in text.decode("utf-8", "replace").splitlines():
        line = line.strip()
        if line.startswith("["):
            here = line == heading
        match = _LINE.fullmatch(line) if here else None
        if match:
            name, module, value = match.groups()
            yield name, "%s:%s" % (module, value) if value else module
