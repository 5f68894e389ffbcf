"""The plugins that installed packages offer as entry points.

CPython 3.8 and newer have importlib.metadata. Older versions get a small reader of the same files
(packaging specification "Entry points"), which finds no zipped packages. Both are imported only
when a plugin is looked for, because they cost megabytes.
"""
import os
import re
import sys

_TARGET = re.compile(r"([\w.]+)\s*(?::\s*([\w.]+))?\s*(?:\[[^\]]*\])?")


def read(group, folders=None):
    """The entry points of a group -> {name: "module:object" or "module"}.

    `folders`: where packages are installed (None: `sys.path`). The first folder wins if two
    packages offer one name. Raises nothing: a package that cannot be read offers nothing.
    """
    folders = [folder or os.curdir for folder in (sys.path if folders is None else folders)
               if isinstance(folder, str)]
    try:
        from importlib import metadata
    except ImportError:  # CPython 3.6 and 3.7
        packages = _packages(folders)
    else:
        packages = (lambda package=package: [(point.group, point.name, point.value)
                                             for point in package.entry_points]
                    for package in metadata.distributions(path=folders))
    found = {}
    for package in packages:
        try:
            rows = package()
        except Exception:
            continue  # each version of importlib.metadata has its own errors for a broken file
        for its_group, name, value in rows:
            target = _TARGET.fullmatch(value.strip())
            if its_group == group and target:
                found.setdefault(name, ":".join(filter(None, target.groups())))
    return found


def _packages(folders):
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")) or name == "EGG-INFO":
                yield lambda path=os.path.join(folder, name, "entry_points.txt"): _rows(path)


def _rows(path):
    """-> [(group, name, value)]. Raises OSError, UnicodeError, configparser.Error."""
    import configparser
    parser = configparser.ConfigParser(delimiters="=", strict=False, interpolation=None)
    parser.optionxform = str
    with open(path, encoding="utf-8") as file:
        parser.read_file(file)
    return [(group, name, value) for group in parser.sections()
            for name, value in parser.items(group)]
