"""Entry points as pip, setuptools and develop installs leave them."""
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
broken = 7 + 7
[other]
archive = attic:wrong
"""


@pytest.fixture
def install(tmp_path):
    """`install(folder, package, text)` puts a package's entry points into a folder of the path ->
    that folder's path."""
    def put(folder, package, text):
        path = tmp_path / folder / package
        path.mkdir(parents=True)
        (path / "entry_points.txt").write_bytes(text.encode("utf-8") if isinstance(text, str)
                                                else text)
        return str(tmp_path / folder)
    return put


@pytest.fixture(params=["importlib.metadata", "the reader for 3.6"])
def reader(request, monkeypatch):
    """Both ways to read, where this interpreter has both."""
    if request.param == "importlib.metadata":
        pytest.importorskip("importlib.metadata",
                            reason="this interpreter has no reader of its own")
    else:
        monkeypatch.setitem(sys.modules, "importlib.metadata", None)
        monkeypatch.delattr("importlib.metadata", raising=False)


@pytest.mark.parametrize("package", ["attic-1.0.dist-info", "attic.egg-info"])
def test_reads_a_group(reader, install, package):
    folder = install("site", package, TEXT)
    assert read(GROUP, [folder]) == {
        "archive": "attic.archive:Archive", "spaced  name": "attic:things.Other", "whole": "attic"}
    assert read("console_scripts", [folder]) == {"tool": "attic:main"}
    assert read("none", [folder]) == {}


def test_the_first_folder_wins_and_what_can_not_be_read_is_not_there(reader, install, tmp_path):
    first = install("first", "a.dist-info", "[phenmail.plugins]\nit = a:a\n")
    second = install("second", "b.dist-info", "[phenmail.plugins]\nit = b:b\nother = b:c\n")
    install("second", "broken.dist-info", b"[phenmail.plugins]\n\xff\xfe = \xff\n")
    (tmp_path / "second" / "file.egg-info").write_text("no folder")
    folders = [str(tmp_path / "missing"), str(tmp_path / "second" / "file.egg-info"), 7, first,
               second]
    assert read(GROUP, folders) == {"it": "a:a", "other": "b:c"}


def test_both_readers_agree_about_this_interpreter(monkeypatch):
    pytest.importorskip("importlib.metadata", reason="this interpreter has no reader of its own")
    theirs = {group: read(group) for group in ("console_scripts", "pytest11")}
    monkeypatch.setitem(sys.modules, "importlib.metadata", None)
    monkeypatch.delattr("importlib.metadata")
    assert {group: read(group) for group in theirs} == theirs and theirs["pytest11"]


@hypothesis.settings(max_examples=60, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    st.one_of(st.binary(max_size=200),
              st.text(alphabet="a=:.[] ;#\n", max_size=80).map(str.encode)))
def test_every_file_ends_in_names(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("site")
    (folder / "a.dist-info").mkdir()
    (folder / "a.dist-info" / "entry_points.txt").write_bytes(b"[phenmail.plugins]\n" + data)
    for name, target in read(GROUP, [str(folder)]).items():
        assert name == name.strip() and "\n" not in name and target.count(":") <= 1
