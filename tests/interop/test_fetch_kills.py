"""The command that kills the server while it fetches: two rounds of it, and what it notices."""
import os
import random
import shutil
import tempfile

from tests.interop import fetch_kills


def test_two_rounds(program, capsys):
    program("dovecot")
    assert fetch_kills.main(["--rounds", "2", "--source", "pop3", "--seed", "7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[4:] for line in lines[2:]] == [["0"] * 4] * 2


def test_it_notices_what_is_wrong(program):
    program("dovecot")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        trial = fetch_kills.Trial("pop3", False, folder, random.Random(1))
        assert set(trial.run(1).values()) == {0}
        first, second, third = trial.near.paths()[:3]
        os.unlink(first)
        shutil.copyfile(second, second.replace("/new/", "/new/9"))
        with open(third, "ab") as file:
            file.write(b"more\n")
        assert trial.count(left=1) == {"missing": 1, "twice": 1, "changed": 1, "left": 1}
