"""The house itself: syntax of the oldest Python, names, docstrings, setup.py."""

import ast
import os
import re
import subprocess
import sys

import pytest

from tests.conftest import NOT_QUICK, NOT_QUICK_PROGRAMS, why_not_quick

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(TOP, "phenmail_protocols")
NAMES_OF_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "core"}


def python_files(*folders):
    for folder in folders:
        for path, _, names in os.walk(os.path.join(TOP, folder)):
            for name in sorted(names):
                if name.endswith(".py"):
                    yield os.path.relpath(os.path.join(path, name), TOP)


OURS = sorted(python_files("phenmail_protocols", "tests")) + [
    name for name in ("phenmail.py", "setup.py") if os.path.exists(os.path.join(TOP, name))]
ROOMS = [path for path in OURS if path.startswith("phenmail_protocols")]


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as file:
        return file.read()


def newer_than_3_6(tree):
    """What of a tree CPython 3.6 does not take, as far as newer parsers let it through."""
    for node in ast.walk(tree):
        if type(node).__name__ in ("NamedExpr", "Match", "TryStar", "TypeAlias"):
            yield node.lineno, type(node).__name__
        if isinstance(node, ast.arguments) and getattr(node, "posonlyargs", None):
            yield node.posonlyargs[0].lineno, "positional-only parameters"
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            yield node.lineno, "__future__"
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses":
            yield node.lineno, "dataclasses"
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and any(
                isinstance(item, ast.Starred) for item in node.value.elts):
            yield node.lineno, "a starred item in return"
        if isinstance(node, ast.keyword) and node.arg == "capture_output":
            yield node.value.lineno, "capture_output"


@pytest.mark.parametrize("path", OURS)
def test_compiles_on_3_6(path):
    text = read(path)
    if sys.version_info >= (3, 8):
        tree = ast.parse(text, path, feature_version=(3, 6))
    else:
        tree = ast.parse(text, path)
    assert list(newer_than_3_6(tree)) == []


@pytest.mark.parametrize("path", ROOMS)
def test_files_have_a_name_and_say_what_they_are(path):
    assert os.path.basename(path)[:-3] not in NAMES_OF_NOTHING
    assert ast.get_docstring(ast.parse(read(path))), "%s has no docstring" % path


@pytest.mark.parametrize("path", ROOMS)
def test_nothing_is_left_to_do(path):
    assert re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", read(path)) == []


def test_public_functions_are_documented():
    """Commands aside, whose wire verb and table row say what they do."""
    bare = []
    for path in ROOMS:
        if "commands" in path:
            continue
        for node in ast.parse(read(path)).body:
            if (isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
                    and not ast.get_docstring(node) and len(node.body) > 5):
                bare.append("%s:%d %s" % (path, node.lineno, node.name))
    assert bare == []


def test_every_room_can_be_imported_alone():
    """In a bare interpreter without the optional packages: nothing at import time needs them."""
    names = [path[:-3].replace(os.sep, ".") for path in ROOMS]
    code = ("import sys\n"
            "for name in ('jsoncomment', 'dns', 'dkim', 'cryptography'): sys.modules[name] = None\n"
            "for name in sys.argv[1:]: __import__(name)\n")
    subprocess.check_call([sys.executable, "-c", code] + names, cwd=TOP)


def test_setup_installs_what_the_tests_install():
    wanted = re.findall(r'"((?:dnspython|dkimpy|jsoncomment) >= [0-9.]+)"', read("setup.py"))
    assert len(wanted) == 3
    for requirement in wanted:
        assert requirement.replace(" ", "") in read("tests/run")


def test_what_runs_the_checkers_is_what_the_tests_expect():
    """tests/run installs ruff and mypy; tests/test_lint.py and test_package.py miss them nowhere
    else."""
    assert "3.[6-9].*|3.1[01].*) checkers=\"\"" in read("tests/run")
    assert "sys.version_info >= (3, 12)" in read("tests/test_lint.py")


@pytest.mark.parametrize("path, fixtures, why", [
    ("tests/interop/test_mutt.py", [], "other mail programs"), ("tests/interop.py", [], None),
    ("tests/smtp/test_grammar.py", [], None),
    ("tests/dkim/test_signing.py", ["program"], NOT_QUICK_PROGRAMS),
    ("tests/faults/test_kill.py", ["program"], NOT_QUICK["tests/faults"])])
def test_what_quick_leaves_out(path, fixtures, why):
    assert why_not_quick(path, fixtures) == why


def test_quick_names_only_what_is_there():
    assert [path for path in NOT_QUICK if not os.path.exists(os.path.join(TOP, path))] == []


def test_quick_says_what_it_left_out():
    output = subprocess.check_output(
        [sys.executable, "-m", "pytest", "--quick", "--collect-only", "-qq", "-p",
         "no:cacheprovider",
         "tests/test_strangers.py", "tests/test_readme.py"], cwd=TOP).decode()
    assert "--quick left out: slow files (" in output and "test_readme.py" in output
    assert "test_strangers.py" not in output


def test_ci_calls_the_one_command():
    assert "sh tests/run\n" in read(".ci/run")


@pytest.mark.parametrize("script, shell", [("tests/run", "sh"), (".ci/run", "bash")])
def test_scripts_are_scripts(script, shell, program):
    subprocess.check_call([program(shell), "-n", os.path.join(TOP, script)])
    assert os.access(os.path.join(TOP, script), os.X_OK)
