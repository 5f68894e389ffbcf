"""The command line: what is read, what is refused and how, and what --help shows."""
import os
import subprocess
import sys

import pytest

import phenmail
from phenmail_protocols.admin import commandline

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def parse(*arguments):
    return commandline.parse(list(arguments), "0.1")


@pytest.mark.parametrize("arguments, command, values", [
    ([], "serve", []), (["serve"], "serve", []), (["init"], "init", []), (["check"], "check", []),
    (["user", "add", "a@b.example"], "user add", ["a@b.example"]),
    (["user", "list"], "user list", []),
    (["queue"], "queue list", []), (["queue", "list"], "queue list", []),
    (["queue", "retry", "all"], "queue retry", ["all"]),
    (["filters", "test", "alice", "file"], "filters test", ["alice", "file"]),
    (["authorize", "alice"], "authorize", ["alice"])])
def test_commands(arguments, command, values):
    options = parse(*arguments)
    assert (options.command, options.values) == (command, values)


@pytest.mark.parametrize("command", [each.name for each in commandline.COMMANDS])
def test_every_command_has_a_function_in_the_file_of_its_name(command):
    values = [
        "x" for _ in next(each.values for each in commandline.COMMANDS if each.name == command)]
    options = parse(*(command.split() + values))
    function = phenmail._function(options)
    takes = function.__code__.co_varnames[:function.__code__.co_argcount]
    assert takes[:2] == ("root", "options") and len(takes) == 2 + len(values)
    assert command == "serve" or options.function.split(".")[0] == command.split()[0]


def test_every_option_belongs_to_a_command():
    assert {option for command in commandline.COMMANDS
            for option in command.options} | set(commandline.EVERYWHERE) \
        == set(commandline.OPTIONS)


@pytest.mark.parametrize("arguments", [
    ["--root", "/r", "-v", "queue", "drop", "7", "--bounce", "--json"],
    ["queue", "drop", "--root=/r", "--bounce", "7", "-v", "--json"],
    ["queue", "--root", "/r", "--json", "drop", "--verbose", "7", "--bounce"]])
def test_options_may_stand_before_and_behind_the_command(arguments):
    options = parse(*arguments)
    assert (options.root, options.verbose, options.bounce, options.json,
            options.values) == ("/r", True, True, True, ["7"])
    assert (options.device, options.yes, options.domain,
            options.all_cores) == (None, False, None, False)


def test_the_server_s_own_options():
    options = parse("--domain", "example.org", "--user", "eve", "--admin", "--ports-file", "p",
                    "--all-cores")
    assert (options.command, options.domain, options.user, options.admin, options.ports_file,
            options.all_cores) == (
        "serve", "example.org", "eve", True, "p", True)
    assert parse("init", "--domain", "example.org").domain == "example.org"


@pytest.mark.parametrize("arguments, message", [
    (["bla"], "unknown command: bla"), (["queue", "bla"], "unknown queue command: bla"),
    (["user", "bla", "x"], "unknown user command: bla"),
    (["user"], "user: expected add, passwd, del or list"),
    (["filters"], "filters: expected test"),
    (["user", "add"], "user add: the following arguments are required: ADDRESS"),
    (["user", "list", "more"], "unrecognized arguments: more"),
    (["--bogus"], "unrecognized arguments: --bogus"),
    (["--roo", "/r"], "unknown command: /r"), (["check", "--yes"], "unrecognized arguments: --yes"),
    (["check", "--root"], "check: argument --root: expected one argument"),
    (["", ""], "unknown command: ")])
def test_wrong_command_lines(capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        parse(*arguments)
    output, errors = capsys.readouterr()
    assert end.value.code == 2 and output == ""
    assert errors.startswith("phenmail: %s (see " % message) and errors.count("\n") == 1


def test_main_returns_the_code_and_does_not_exit(capsys):
    assert phenmail.main(["--version"]) == 0
    assert capsys.readouterr().out == "phenmail %s\n" % phenmail.__version__
    assert phenmail.main(["nonsense"]) == 2


def test_help_names_every_command_and_option(capsys):
    shown = ""
    for arguments in [[]] + [command.name.split() for command in commandline.COMMANDS]:
        with pytest.raises(SystemExit) as end:
            parse(*(arguments + ["--help"]))
        assert end.value.code == 0
        page = capsys.readouterr().out
        assert max(map(len, page.splitlines())) <= 80
        shown += page
    for command in commandline.COMMANDS:
        assert " %s " % command.name.split()[-1] in shown
        assert [name for name, _ in command.values if name not in shown] == []
    assert [option for option in commandline.OPTIONS if option not in shown] == []


def test_an_embedding_program_does_not_load_argparse():
    code = "import sys, phenmail; print('argparse' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=TOP).strip() == b"False"
