"""What a mailbox serves, for tests of what was delivered."""


def served(mailbox):
    """The octets of each message of an open Mailbox, in the order of their UIDs."""
    state = mailbox.state()
    return [_whole(content) for _, content in mailbox.contents(state.uids[:state.count])]


def _whole(content):
    with content:
        return content.whole()
