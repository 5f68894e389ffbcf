"""Every transcript below this folder, each against a server of its own."""
import pathlib

import pytest

from tests.dialogs.transcript import Failed, Player, Transcript
from tests.smtp.small_server import SmallServer

FOLDER = pathlib.Path(__file__).parent
TRANSCRIPTS = sorted(FOLDER.glob("**/*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.relative_to(FOLDER).with_suffix("").as_posix())
def test_dialog(path):
    transcript = Transcript(str(path))
    with SmallServer(**transcript.limits) as server:
        Player(server.ports).play(transcript)


def test_a_wrong_transcript_fails_and_says_where(tmp_path):
    path = tmp_path / "wrong.txt"
    path.write_text("@ connect smtp\nS: 220 …\nC: NOOP\nS: 550 never\n", encoding="utf-8")
    with SmallServer(certificate=False) as server, pytest.raises(Failed) as failed:
        Player(server.ports).play(Transcript(str(path)))
    assert "wrong.txt:4:" in str(failed.value) and "250 2.0.0 Ok" in str(failed.value)
