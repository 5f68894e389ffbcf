"""What adopting and fetching the same account have to do with each other.

Fetching notes which messages it is done with (fetch/state.py). Adopting leaves the rest to it, and
tells it about an account that it has not begun with where to go on.
"""
from .. import identity
from ..keeping.state import State
from ..source import BoxGone


class Fetched:
    """What is fetched from an account, as it was when this object was made.

    `open_folder()` -> OwnedFolder of the states of fetching; `name`: identity.account_key. Raises
    OSError.
    """

    def __init__(self, open_folder, name):
        self._state = State(open_folder, name)
        self._state.refresh()

    @property
    def is_begun(self):
        """Whether the account was fetched from before."""
        return bool(self._state.mailboxes)

    def takes(self, box, uid):
        """Whether fetching will bring a message (UID) of a source.Box."""
        mailbox = self._state.mailboxes.get(box.name)
        return (mailbox is not None and mailbox.validity == box.validity
                and mailbox.ignored_until is not None and uid not in mailbox.done)

    def by_label(self, remote, account, labels, is_here):
        """{mailbox here: X-GM-MSGIDs of messages that fetching has brought, or will bring}.

        `remote`: a remote.Remote, which then has another mailbox open; `account`: as for
        identity.name_key; `labels`: of a plan.Plan; `is_here(key)`: whether a message with a key of
        fetching is in any mailbox. Raises FetchError.
        """
        found = {}
        for name in labels:
            if name not in self._state.mailboxes:
                continue
            try:
                box = remote.open(name)
            except BoxGone:
                continue
            found[labels[name]] = {entry.msgid for entry in remote.entries(
                lambda uid: self.takes(box, uid) or is_here(
                    identity.name_key(account, box.name, box.validity, "%d" % uid)))}
        return found

    def begin_after(self, boxes):
        """Let fetching begin with what came after the copying. `boxes`: (source.Box, the highest
        UID that was there before the last copying). Raises OSError."""
        state = self._state
        # It stays begun: so fetching looks at the keys of the messages that are here.
        state.begin()
        for box, last in boxes:
            mailbox = state.mailbox(box.name, box.validity)
            state.first_look(mailbox, ignores=True)
            if last > 0:
                state.leave(mailbox, 1, last)
            state.complete(mailbox)
        state.end_round()
