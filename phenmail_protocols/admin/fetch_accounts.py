"""Which accounts the group of commands `fetch` is about: those in all users' files."""
import os
import sys
from typing import NamedTuple

from ..config import loader
from ..config.problems import ConfigError
from ..config.settings import FetchAccount
from ..fetch.service import CONFIG, FILE
from .terminal import DONE, FAILED


class Known(NamedTuple):
    """An account in the file of the identity `owner`."""
    owner: str
    account: FetchAccount

    @property
    def name(self):
        """What names it among all users' accounts."""
        return "%s/%s" % (self.owner, self.account.name)


def all_accounts(root):
    """All accounts -> ([Known], list of lines about files that cannot be read)."""
    settings = loader.load_server(root)
    owners = sorted({root.identity_of(action.value) for actions in settings.domains.values()
                     for action in actions.values() if action.kind == "mailbox"} - {None})
    found, problems = [], []
    for owner in owners:
        path = os.path.join(root.identity_folder(owner), CONFIG, FILE)
        try:
            fetcher = loader.load_fetcher(path, root)
        except ConfigError as error:
            problems.extend(map(str, error.problems))
        except OSError as error:
            problems.append("%s: %s" % (path, error.strerror))
        else:
            if fetcher.device in (None, root.device):
                found.extend(Known(owner, account) for account in fetcher.accounts)
    return found, problems


def named(root, name):
    """The Known account of that name, also as "owner/name". Raises ValueError."""
    known, problems = all_accounts(root)
    found = [each for each in known if name in (each.name, each.account.name)]
    if len(found) == 1:
        return found[0]
    tell(problems)
    if found:
        raise ValueError("several users have an account %s: expected one of %s" % (
            name, ", ".join([each.name for each in found])))
    raise ValueError("no such account: %s; there are %s" % (
        name, ", ".join([each.name for each in known]) or "none"))


def tell(problems):
    """Print lines about what is wrong -> the exit code."""
    for line in problems:
        print("phenmail: %s" % line, file=sys.stderr)
    return FAILED if problems else DONE
