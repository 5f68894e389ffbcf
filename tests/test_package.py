"""What pip installs: the wheel holds what it should and nothing else, and works in a fresh
environment."""
import ast
import glob
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STUBS = os.path.join("phenmail_protocols", "stubs")
SOURCE = ["phenmail.py", "setup.py", "MANIFEST.in", "README.txt", "CHANGES.txt", "CONTRIBUTING.txt",
          "LICENSE", ".pytest.ini", ".ruff.toml", ".ci", "phenmail_protocols", "conf", "tests"]

USER_PROGRAM = '''
from email.message import EmailMessage
from typing import TYPE_CHECKING, List

import phenmail
from phenmail_protocols.testing import MailFixture

if TYPE_CHECKING:
    from phenmail import Origin, Plugin
    from phenmail_protocols.testing import MailFixtureMaker


class Orders:
    concurrent = True

    def start(self, server: phenmail.MailServer) -> None:
        self._server = server

    def stop(self) -> None:
        pass

    def mail_received(self, message: EmailMessage, origin: "Origin", parameters: str) -> bool:
        if not origin.sender or origin.obstacle():
            raise phenmail.PluginRefused("people only")
        self._server.send_mail("", origin.sender, message)
        return True


def note(message: EmailMessage, origin: "Origin", parameters: str) -> None:
    print(origin.sender, message["Subject"], origin.arrived + 1.0)


def test_it(mail_server: MailFixture, make_mail_server: "MailFixtureMaker") -> None:
    host, port = mail_server.smtp
    mail_server.deliver("Subject: x\\n\\n", to=["alice@example.org"])
    subjects: List[str] = [str(each["Subject"]) for each in mail_server.wait_for(1)]
    senders: List[str] = [each.sender for each in mail_server.sent]
    assert subjects == ["x"] and senders == [] and host and port
    make_mail_server(users={"eve@example.org": "x"}, plugins={"note": note})


def main() -> int:
    plugin: "Plugin" = Orders()
    try:
        with phenmail.MailServer(users={"a@example.org": "secret"}, settings={"pop": False},
                                 plugins={"orders": Orders, "made": plugin, "note": note}) as server:
            ids: List[str] = server.send_mail("a@example.org", ["a@example.org"], "Subject: x\\n\\n")
            print(ids, server.port("imaps"), [each.tls for each in server.listening], server.root.path)
            print([line.effect for line in server.try_filters("a@example.org", b"").lines])
    except phenmail.MailRefused as error:
        print([outcome.reply.code for outcome in error.outcomes])
    except phenmail.ConfigError as error:
        print([problem.line for problem in error.problems])
    except phenmail.AlreadyRunning:
        pass
    return phenmail.main(["--version"])


main()
'''
WRONG = {
    'phenmail.MailServer(users=["a"])': "arg-type", "phenmail.MailServer().port(25)": "arg-type",
    "phenmail.Server()": "attr-defined", 'phenmail.MailServer(plugins={"a": 7})': "dict-item",
    "phenmail.MailServer().no_such_thing": "attr-defined"}


def run(*arguments, **options):
    """A program to its end -> its output. It must exit with 0."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               **options)
    output = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the source, because building leaves files behind."""
    for package in ("setuptools", "wheel"):
        if importlib.util.find_spec(package) is None:
            # Like the fixture `absent`, which is for single tests.
            (pytest.fail if os.environ.get("CI")
             else pytest.skip)("the package %s is missing" % package)
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCE:
        path = os.path.join(TOP, name)
        if os.path.isdir(path):
            shutil.copytree(path, str(folder / name),
                            ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        elif os.path.exists(path):  # .ci, for one, is not in a source distribution's own tests
            shutil.copy(path, str(folder / name))
    return str(folder)


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("wheel"))
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index",
        "-w", folder, source)
    path, = glob.glob(os.path.join(folder, "*.whl"))
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh environment with the wheel in it -> the folder of its programs. Packages of others
    come from this one."""
    folder = str(tmp_path_factory.mktemp("venv"))
    venv.create(folder, symlinks=True)
    programs = os.path.join(folder, "bin")
    site = os.path.dirname(os.path.dirname(pytest.__file__))
    run(os.path.join(programs, "python"), "-m", "pip", "install", "--no-deps", "--no-index", wheel,
        env=dict(os.environ, PYTHONPATH=site), cwd=folder)
    own, = glob.glob(os.path.join(folder, "lib", "python3*", "site-packages"))
    with open(os.path.join(own, "others.pth"), "w") as file:
        file.write(site + "\n")
    return programs


def files(folder, ending=""):
    found = set()
    for path, _, names in os.walk(os.path.join(TOP, folder)):
        found.update(os.path.relpath(os.path.join(path, name), TOP).replace(os.sep, "/")
                     for name in names if name.endswith(ending) and not name.endswith(".pyc"))
    return found


def test_the_wheel_holds_what_it_should_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata, = [archive.read(name).decode() for name in archive.namelist()
                     if name.endswith("METADATA")]
    expected = {"phenmail.py"} | files("phenmail_protocols", ".py")
    expected |= {"phenmail_protocols/" + name for name in files("conf")}
    expected |= {name[len(STUBS) + 1:] for name in files(STUBS)}
    assert found == expected
    assert ("phenmail_protocols/conf/plugins/ticket.py" in found
            and "phenmail-stubs/__init__.pyi" in found)
    assert "Requires-Python: >=3.6" in metadata and "a whole mail service" in metadata
    assert {"ed25519", "judging", "idn",
            "test"} == set(re.findall(r"^Provides-Extra: (.*)$", metadata, re.MULTILINE))


def test_the_source_distribution_holds_what_a_contributor_needs(source, tmp_path):
    run(sys.executable, "setup.py", "-q", "sdist", "-d", str(tmp_path), cwd=source)
    path, = glob.glob(str(tmp_path / "*.tar.gz"))
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {name for name in SOURCE if os.path.isfile(os.path.join(TOP, name))}
    for folder in ("conf", "phenmail_protocols", "tests"):
        wanted |= files(folder)
    assert sorted(wanted - names) == []
    assert [name for name in names if name.startswith("build/") or name.endswith(".pyc")] == []


def test_the_program_runs(installed, tmp_path):
    from phenmail_protocols import __version__
    program = os.path.join(installed, "phenmail")
    assert run(program, "--version", cwd=str(tmp_path)) == "phenmail %s\n" % __version__
    root = ["--root", str(tmp_path / "root")]
    run(program, "init", "--domain", "example.org", "--user", "alice", cwd=str(tmp_path), *root)
    assert "0 errors" in run(program, "check", cwd=str(tmp_path), *root)
    generated = (tmp_path / "root" / "device" / "system" / "mail"
                 / "mail.jcfg").read_text(encoding="utf-8")
    example = re.search(r"# (/.*) explains every key", generated).group(1)
    with open(example, encoding="utf-8") as file:
        assert "sender-domain" in file.read()
    assert example.startswith(os.path.dirname(installed)), "not the source's"


def test_the_examples_can_be_imported(installed, tmp_path):
    python = os.path.join(installed, "python")
    folder = run(python, "-c",
                 "from phenmail_protocols.admin.init import examples; print(examples())",
                 cwd=str(tmp_path)).strip()
    modules = [name[:-3] for name in sorted(os.listdir(os.path.join(folder, "plugins")))
               if name.endswith(".py")]
    assert modules == ["gateway", "ticket"]
    run(python, "-c", "import gateway, ticket", cwd=str(tmp_path),
        env=dict(os.environ, PYTHONPATH=os.path.join(folder, "plugins")))


def test_pytest_finds_the_fixture_by_itself(installed, tmp_path):
    (tmp_path / "test_mail.py").write_text(
        "def test_mail(mail_server):\n    mail_server.deliver('Subject: x\\n\\n')\n"
        "    assert mail_server.wait_for(1)[0]['Subject'] == 'x'\n")
    output = run(os.path.join(installed, "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider",
                 "test_mail.py",
                 cwd=str(tmp_path))
    assert "1 passed" in output


@pytest.fixture
def mypy(installed, tmp_path, absent):
    """`mypy(text)` checks a user's program -> (exit code, output)."""
    if importlib.util.find_spec("mypy") is None:
        if sys.version_info >= (3, 12):
            absent("the package mypy")
        pytest.skip("tests/run installs mypy on CPython 3.12 and newer only")

    def check(text):
        (tmp_path / "program.py").write_text(text)
        process = subprocess.Popen(
            [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"),
             "--python-executable", os.path.join(installed, "python"), "program.py"],
            cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = process.communicate(timeout=300)[0].decode()
        return process.returncode, output
    return check


def test_a_user_s_program_is_well_typed(mypy):
    assert mypy(USER_PROGRAM) == (0, "Success: no issues found in 1 source file\n")


def test_a_wrong_program_is_not(mypy):
    code, output = mypy("import phenmail\n\n" + "\n".join(WRONG) + "\n")
    assert code == 1
    found = re.findall(r"^program\.py:(\d+): error: .* \[([a-z-]+)\]$", output, re.MULTILINE)
    assert found == [(str(number), kind) for number, kind in enumerate(WRONG.values(), 3)], output


# The stubs, compared with what they describe: no mypy is needed.

# Names in stubs that exist for type checkers only.
TYPES_ONLY = {
    "phenmail": {"AnyMessage", "AnyPlugin", "Filters", "FilterLine", "Origin", "Outcome", "Plugin",
                 "PluginExtras",
                 "Problem", "Reply", "Root", "Verdict"},
    "phenmail_protocols.testing": {"MailFixtureMaker"}}
IMPLEMENTED = {  # Protocols of the stubs, and what they describe
    "Origin": "plugins.email_message.Origin", "Root": "config.root_folder.Root",
    "Problem": "config.problems.Problem",
    "Outcome": "mail.reply.Outcome", "Reply": "mail.reply.Reply",
    "FilterLine": "admin.filters.Line", "Filters": "admin.filters.Result",
    "Verdict": "filters.rules.Verdict"}


def stub(module):
    path = os.path.join(TOP, STUBS, *(module.replace(".", "-stubs/", 1) if "." in module
                                      else module + "-stubs").split("/"))
    with open(os.path.join(path, "__init__.pyi"), encoding="utf-8") as file:
        return ast.parse(file.read())


def names_of(arguments):
    return [each.arg for each in arguments.args + arguments.kwonlyargs]


@pytest.mark.parametrize("module", sorted(TYPES_ONLY))
def test_the_stubs_describe_what_is_there(module):
    real = importlib.import_module(module)
    described = set()
    for node in stub(module).body:
        if isinstance(node, ast.FunctionDef):
            described.add(node.name)
            assert names_of(node.args) == list(
                inspect.signature(getattr(real, node.name)).parameters)
        elif isinstance(node, ast.ClassDef):
            described.add(node.name)
            if node.name not in TYPES_ONLY[module]:
                compare(node, getattr(real, node.name))
    assert TYPES_ONLY[module] - {"AnyMessage", "AnyPlugin"} <= described
    if module == "phenmail":
        assert described - TYPES_ONLY[module] | {"__version__"} == set(real.__all__)


def compare(node, real):
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and not member.decorator_list:
            found = list(inspect.signature(getattr(real, member.name)).parameters)
            if member.name != "__exit__":
                assert names_of(member.args) == found, "%s.%s" % (node.name, member.name)
        elif isinstance(member, ast.FunctionDef):
            assert hasattr(real, member.name), "%s.%s" % (node.name, member.name)


def test_the_public_methods_are_in_the_stubs():
    import phenmail
    from phenmail_protocols.testing import MailFixture
    for module, real, left_out in (("phenmail", phenmail.MailServer, {"bind", "serve"}),
                                   ("phenmail_protocols.testing", MailFixture, set())):
        node, = [each for each in stub(module).body if getattr(each, "name", "") == real.__name__]
        described = {member.name for member in node.body if isinstance(member, ast.FunctionDef)}
        public = {name for name in vars(real) if not name.startswith("_")}
        assert public - described == left_out


@pytest.mark.parametrize("name", sorted(IMPLEMENTED))
def test_protocols_have_the_attributes_of_what_they_describe(name):
    path, _, attribute = IMPLEMENTED[name].rpartition(".")
    real = getattr(importlib.import_module("phenmail_protocols." + path), attribute)
    node, = [each for each in stub("phenmail").body if getattr(each, "name", "") == name]
    made = real("/r", "device") if name == "Root" else real
    assert [member.name for member in node.body if isinstance(member, ast.FunctionDef)
            and not hasattr(made, member.name)] == []
