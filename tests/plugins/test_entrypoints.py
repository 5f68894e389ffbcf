"""Entry points as pip, setuptools and develop installs leave them."""
import ast
import os
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import pytest

from phenmail_protocols.plugins.entrypoints import read

GROUP = "phenmail.plugins"
TEXT = """# a comment
[console_scripts]
tool = attic:main

[phenmail.plugins]
archive = attic.archive:Archive
 spaced  name =  attic : things.Other  [extra, more]
whole=attic
; robot = attic:no
broken = 7 + 7
[other]
archive = attic:wrong
"""


@pytest.fixture
def install(tmp_path):
    """`install(folder, package, text)` puts a package's entry points into a folder of the path -> that folder's path."""
    def put(folder, package, text):
        path = tmp_path / folder / package
        path.mkdir(parents=True)
        (path / "entry_points.txt").write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
        return str(tmp_path / folder)
    return put


@pytest.mark.parametrize("package", ["attic-1.0.dist-info", "attic.egg-info", "EGG-INFO"])
def test_reads_a_group(install, package):
    folder = install("site", package, TEXT)
    assert read(GROUP, [folder]) == {
        "archive": "attic.archive:Archive", "spaced  name": "attic:things.Other", "whole": "attic"}
    assert read("console_scripts", [folder]) == {"tool": "attic:main"}
    assert read("none", [folder]) == {}


def test_the_first_folder_wins_and_what_can_not_be_read_is_not_there(install, tmp_path):
    first = install("first", "a.dist-info", "[phenmail.plugins]\nit = a:a\n")
    second = install("second", "b.dist-info", "[phenmail.plugins]\nit = b:b\nother = b:c\n")
    install("second", "broken.dist-info", b"[phenmail.plugins]\n\xff\xfe = \xff\n")
    (tmp_path / "second" / "file.egg-info").write_text("no folder")
    folders = [str(tmp_path / "missing"), str(tmp_path / "second" / "file.egg-info"), 7, first, second]
    assert read(GROUP, folders) == {"it": "a:a", "other": "b:c"}


def test_a_huge_file_is_not_read_whole(install):
    folder = install("site", "a.dist-info", "[phenmail.plugins]\nit = a:a\n" + "#" * 70000 + "\nlate = a:b\n")
    assert read(GROUP, [folder]) == {"it": "a:a"}


def test_agrees_with_python_s_own_reader_about_this_interpreter():
    pytest.importorskip("importlib.metadata", reason="this interpreter has no reader of its own")
    code = ("import sys, importlib.metadata as m\nfound = m.entry_points()\n"
            "points = found.select(group='console_scripts') if hasattr(found, 'select') else found['console_scripts']\n"
            "print(sorted({p.name for p in points}))")
    names = subprocess.check_output([sys.executable, "-c", code], cwd=os.sep).decode().strip()
    ours = ("import sys; sys.path.append(%r)\nfrom phenmail_protocols.plugins.entrypoints import read\n"
            "print(sorted(read('console_scripts')))" % os.getcwd())
    mine = subprocess.check_output([sys.executable, "-c", ours], cwd=os.sep).decode().strip()
    assert set(ast.literal_eval(names)) <= set(ast.literal_eval(mine))


@hypothesis.settings(max_examples=60, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(st.one_of(st.binary(max_size=200), st.text(alphabet="a=:.[] ;#\n", max_size=80).map(str.encode)))
def test_every_file_ends_in_names(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("site")
    (folder / "a.dist-info").mkdir()
    (folder / "a.dist-info" / "entry_points.txt").write_bytes(b"[phenmail.plugins]\n" + data)
    for name, target in read(GROUP, [str(folder)]).items():
        assert name == name.strip() and "\n" not in name and target.count(":") <= 1
