"""The command `fetch login`: agree to OAuth2 on the provider's page, and keep the tokens."""
import contextlib
import sys

from ..config import loader
from ..config.oauth2 import HOSTED
from ..fetch import identity, orders
from ..oauth import code_flow, device_flow
from ..oauth.errors import OAuthError
from ..oauth.token_store import TokenFile
from .fetch_accounts import named
from .terminal import DONE, show


def login(root, options, account):
    """`account`: the name of a fetched account, also as IDENTITY/NAME, or "hosted"."""
    known = None if account == HOSTED else _fetched(root, account)
    oauth2 = _hosted(root) if known is None else known.account.provider
    if options.code and options.device_code:
        raise ValueError("fetch login: either --code or --device-code")
    if options.device_code and not oauth2.device_endpoint:
        raise ValueError("%s: the provider has no login with a device code for mail; use --code"
                         % account)
    if options.code and not oauth2.authorization_endpoint:
        raise ValueError("%s: the provider has no authorization endpoint; use --device-code"
                         % account)
    file = TokenFile(oauth2)
    try:
        with file.locked():
            pass  # if nothing can be written there, say so before the user does something
        tokens = (_by_device if oauth2.device_endpoint and not options.code else _by_code)(oauth2)
        with file.locked():
            file.write(tokens)
    except OAuthError as error:
        raise ValueError("%s: %s" % (account, error))
    if known is not None:
        orders.give(root.mail_system, identity.order_key(*known))
    show(_finished(account, tokens))
    return DONE


def _finished(account, tokens):
    yield "%s: logged in; the tokens are kept." % account
    if not tokens.refresh:
        yield ("The provider gave no refresh token: the login ends soon, and you must then log in "
               "again. Does the scope lack offline access?")
    if account == HOSTED:
        yield ("The server uses them for the next message. To send what waits now: phenmail queue "
               "retry all")
    else:
        yield "A running server now fetches this account; phenmail fetch list shows how that goes."


# Which login


def _hosted(root):
    hosted = loader.load_server(root).hosted
    if hosted is None or hosted.provider is None:
        raise ValueError('"hosted" in %s: expected "auth": "oauth2"' % root.configuration)
    return hosted.provider


def _fetched(root, account):
    """-> fetch_accounts.Known. Raises ValueError."""
    known = named(root, account)
    if known.account.provider is None:
        raise ValueError('%s logs in with a passphrase; for OAuth2 write "auth": "oauth2"'
                         % known.name)
    return known


# The flows


def _by_device(oauth2):
    device = device_flow.begin(oauth2)
    show(["Open this page in any browser:", "", "    " + device.address, "",
          "and enter this code: " + device.user_code, "",
          "Waiting until you have agreed there, at most %d minutes." % (device.seconds // 60 or 1)])
    sys.stdout.flush()
    return device_flow.wait(oauth2, device)


def _by_code(oauth2):
    listening = code_flow.listen(oauth2)
    with contextlib.closing(listening) if listening else contextlib.ExitStack():
        login = code_flow.begin(oauth2, listening)
        show(["Open this page in a browser and agree:", "", "    " + login.address, ""])
        if listening is None:
            show(["Then type the code that the page shows, and Enter."])
        else:
            show(["If the browser runs on another machine, it ends at a page that cannot be shown. "
                  "Copy that", "page's address (it begins with %s), paste it here, and press Enter."
                  % login.redirect])
        sys.stdout.flush()
        code = code_flow.wait(login, listening, _typed(), lambda text: show([text]))
    return code_flow.tokens(oauth2, login, code)


def _typed():
    """The descriptor of the standard input, or None."""
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None
