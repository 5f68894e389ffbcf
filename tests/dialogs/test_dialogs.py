"""Every transcript below this folder, each against a whole server of its own.

The users anna, bert and cleo have a mailbox and the passphrase "correct horse"; info,
postmaster and abuse are anna too; the other addresses end elsewhere or nowhere.
"""
import os
import pathlib

import pytest

from phenmail import MailServer
from tests.dialogs.transcript import Failed, Player, Transcript

FOLDER = pathlib.Path(__file__).parent
TRANSCRIPTS = sorted(FOLDER.glob("**/*.txt"))

PASSPHRASE = "correct horse"
USERS = {"%s@example.org" % name: PASSPHRASE for name in ("anna", "bert", "cleo")}
NOBODY = {"nameservers": ["127.0.0.1:9"], "timeout": 0.2}  # the discard port: nobody answers there
DOMAIN = {
    "anna": "/anna/mail", "bert": "/bert/mail", "cleo": "/cleo/mail", "info": ":anna",
    "postmaster": ":anna", "abuse": ":anna",
    "gone": "-left us", "agent": ">/bin/true", "away": ">someone@example.net", "echo": ".mail",
    "broken": "/broken/mail",
}


def server(limits=None):
    """A server that is not started yet; `limits` as the transcript's first lines say."""
    made = MailServer(settings={"sender-domain": "example.org",
                                "domains": {"example.org": dict(DOMAIN)},
                                "resolver": NOBODY}, users=USERS)
    # Not through the configuration, which refuses limits as small as a test wants them.
    size = (limits or {}).get("message_size", made.settings.smtp_message_size)
    made.settings = made.settings._replace(limits=made.settings.limits._replace(**limits or {}),
                                           smtp_message_size=size)
    folder = os.path.join(made.root.path, "broken", "mail")
    os.makedirs(folder)
    with open(os.path.join(folder, "mail.jcfg"), "w") as file:
        file.write('{"passphrase": ')
    return made


def ports(running):
    return {each.name: each.port for each in running.listening}


@pytest.mark.parametrize("path", TRANSCRIPTS,
                         ids=lambda path: path.relative_to(FOLDER).with_suffix("").as_posix())
def test_dialog(path):
    transcript = Transcript(str(path))
    with server(transcript.limits) as running:
        Player(ports(running)).play(transcript)


def test_a_wrong_transcript_fails_and_says_where(tmp_path):
    path = tmp_path / "wrong.txt"
    path.write_text("@ connect smtp\nS: 220 …\nC: NOOP\nS: 550 never\n", encoding="utf-8")
    with server() as running, pytest.raises(Failed) as failed:
        Player(ports(running)).play(Transcript(str(path)))
    assert "wrong.txt:4:" in str(failed.value) and "250 2.0.0 Ok" in str(failed.value)
