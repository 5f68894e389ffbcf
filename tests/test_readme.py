"""What README.txt shows of Python is run as it stands there."""
import os
import re
import subprocess
import sys
import textwrap

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def section(title):
    """The text under a title of README.txt."""
    with open(os.path.join(TOP, "README.txt"), encoding="utf-8") as file:
        text = file.read()
    return re.search(r"\n%s\n-+\n(.*?)(?=\n\n\n|\Z)" % re.escape(title), text, re.DOTALL).group(1)


def example(text):
    """The lines from the first indented import to the next line of prose."""
    lines = re.search(r"\n((?:    (?:import|from) .*\n)(?:    .*\n|\n)*)", text).group(1)
    return textwrap.dedent(lines).strip() + "\n"


def test_the_example_of_ones_own_tests(tmp_path):
    code = example(section("In your own tests"))
    assert len([line for line in code.splitlines() if line]) <= 14, "it is to be short"
    (tmp_path / "test_example.py").write_text(code, encoding="utf-8")
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "phenmail_protocols.testing", "-p",
         "no:cacheprovider", "-q",
                            "--rootdir", str(tmp_path), "test_example.py"], cwd=str(tmp_path),
                            env=dict(os.environ, PYTHONPATH=TOP),
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = run.communicate(timeout=60)[0].decode()
    assert run.returncode == 0 and "2 passed" in output, output


def test_what_it_names_is_there():
    from phenmail_protocols.testing.fixture import MailFixture
    text = section("In your own tests")
    names = set(re.findall(r"mail_server\.([a-z_0-9]+)", text)) | set(
        re.findall(r"^    ([a-z_]+)[(,]", text, re.MULTILINE))
    assert {"fail_next", "drop_after", "slow", "wait_for", "deliver", "messages", "outside_answers",
            "sent"} <= names
    with MailFixture() as mail:
        assert [name for name in sorted(names) if not hasattr(mail, name)] == []
