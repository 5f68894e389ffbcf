"""What all tests share: how to get at a program of the system, and what --quick leaves out."""

import os
import shutil

import hypothesis
import pytest

# A slow machine is no failure; and where a failure holds up others, the same
# examples are tried each time. New ones are found by everybody else's runs.
hypothesis.settings.register_profile(
    "phenmail", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("phenmail")


TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Where .ci/run unpacks what Debian can't install beside each other.
UNPACKED = os.path.join(TOP, ".venv", "debian")


# What `sh tests/run --quick` leaves out: folders and files -> why.
NOT_QUICK = {
    "tests/interop": "other mail programs",
    "tests/faults": "crashes, full disks and power cuts",
    "tests/bench": "the benchmark",
    "tests/test_package.py": "the wheel in a fresh environment",
}
NOT_QUICK.update(dict.fromkeys([
    "tests/config/test_editing.py",
    "tests/accounts/test_parallel.py",
    "tests/admin/test_authorize.py",
    "tests/admin/test_check.py",
    "tests/admin/test_commands.py",
    "tests/admin/test_dns_check.py",
    "tests/admin/test_fetch_login.py",
    "tests/admin/test_queue_live.py",
    "tests/authentication/test_judging.py",
    "tests/children/test_python_filters.py",
    "tests/config/test_any_values.py",
    "tests/config/test_hostile.py",
    "tests/config/test_lookup.py",
    "tests/config/test_scanner.py",
    "tests/config/test_server.py",
    "tests/delivery/test_router.py",
    "tests/destinations/test_local_delivery.py",
    "tests/destinations/test_outcomes.py",
    "tests/destinations/test_outcomes_filters.py",
    "tests/destinations/test_outcomes_ways.py",
    "tests/destinations/test_programs.py",
    "tests/dkim/test_tags.py",
    "tests/dropfolder/test_service.py",
    "tests/fetch/test_whole_oauth2.py",
    "tests/imap/test_search.py",
    "tests/imap/test_select.py",
    "tests/imap/test_stopping.py",
    "tests/text/test_collation.py",
    "tests/mail/test_cost.py",
    "tests/mail/test_headers.py",
    "tests/mail/test_bounce.py",
    "tests/net/test_resolver.py",
    "tests/plugins/test_life.py",
    "tests/pop3/test_handler.py",
    "tests/queue/test_life.py",
    "tests/queue/test_state_file.py",
    "tests/queue/test_together.py",
    "tests/queue/test_worker.py",
    "tests/relay/test_smtp_client.py",
    "tests/relay/test_mta_sts.py",
    "tests/smtp/test_handler.py",
    "tests/smtp/test_international.py",
    "tests/store/test_account.py",
    "tests/store/test_attacks.py",
    "tests/store/test_keywords.py",
    "tests/store/test_restored.py",
    "tests/test_embedding.py",
    "tests/test_strangers.py",
    "tests/testing/test_fixture.py",
    "tests/text/test_domains.py",
], "slow files"))
NOT_QUICK_PROGRAMS = "tests that need other programs"


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true",
                     help="leave out what is slow or needs other programs, and say what that is")


def why_not_quick(path, fixtures):
    """Why --quick leaves a test out, or None. `path`: its file, relative to the project."""
    for name, why in NOT_QUICK.items():
        if path == name or path.startswith(name + "/"):
            return why
    return NOT_QUICK_PROGRAMS if "program" in fixtures else None


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--quick"):
        return
    left_out = {}
    for item in items:
        path = os.path.relpath(str(item.fspath), TOP).replace(os.sep, "/")
        left_out.setdefault(why_not_quick(path, item.fixturenames), []).append(item)
    items[:] = left_out.pop(None, [])
    config.left_out = {why: len(each) for why, each in left_out.items()}
    config.hook.pytest_deselected(items=[item for each in left_out.values() for item in each])


def pytest_terminal_summary(terminalreporter, config):
    left_out = getattr(config, "left_out", None)
    if left_out:
        terminalreporter.write_line("--quick left out: %s" % ", ".join(
            "%s (%d)" % (why, number) for why, number in sorted(left_out.items())))


@pytest.fixture
def absent():
    """`absent("the program swaks")` skips the test, but fails it where CI is set: there everything
    has to be."""
    def tell(what):
        reason = what + " is missing"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

    return tell


@pytest.fixture
def program(absent):
    """`program("swaks")` gives the path of a program of the system, or of one that was unpacked for
    the tests.

    Where it is missing the test is skipped with its name, but fails where CI
    is set: there every program has to be.
    """
    def find(name):
        places = [os.environ.get("PATH", ""), "/usr/sbin"] + [
            os.path.join(UNPACKED, "usr", folder) for folder in ("sbin", "bin")]
        path = shutil.which(name, path=os.pathsep.join(places))
        if path is None:
            absent("the program " + name)
        return path

    return find
