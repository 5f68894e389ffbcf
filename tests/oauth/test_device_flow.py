"""The device flow (RFC 8628), with a clock of its own."""
import pytest

from phenmail_protocols.oauth import device_flow, token_requests
from phenmail_protocols.oauth.errors import OAuthError, Temporary


class Time(object):
    """A clock that only `sleep` advances; `slept`: all pauses."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def sleep(self, seconds):
        self.now += seconds
        self.slept.append(seconds)

    def clock(self):
        return self.now


@pytest.fixture
def passing():
    return Time()


@pytest.fixture
def wait(oauth2, passing):
    def run(device):
        return device_flow.wait(oauth2, device, sleep=passing.sleep, clock=passing.clock)
    return run


@pytest.fixture
def device(provider, oauth2):
    provider.interval = 5
    return device_flow.begin(oauth2)


def test_until_the_user_agrees(provider, device, wait, passing):
    assert device.address == provider.url("/activate") and device.user_code in provider.devices
    provider.devices[device.user_code] = ["authorization_pending"] * 3 + ["approved"]
    tokens = wait(device)
    assert tokens.access in provider.access and tokens.refresh in provider.refresh
    assert passing.slept == [5.0] * 4
    asked = provider.asked("/token")[0]
    assert asked == {"grant_type": "urn:ietf:params:oauth:grant-type:device_code",
                     "device_code": device.code, "client_id": "phenmail", "client_secret": "hush"}
    assert provider.asked("/device") == [{"scope": "mail offline_access", "client_id": "phenmail",
                                          "client_secret": "hush"}]


def test_slow_down(provider, device, wait, passing):
    provider.devices[device.user_code] = ["slow_down", "authorization_pending", "slow_down",
                                          "approved"]
    wait(device)
    assert passing.slept == [5.0, 10.0, 10.0, 15.0]


def test_failures_of_the_provider_slow_down_too(provider, device, wait, passing, monkeypatch):
    provider.devices[device.user_code] = "approved"
    provider.answers["/token"] = [(500, b""), (200, b"<html>"), (429, b"")]
    assert wait(device).access in provider.access
    assert passing.slept == [5.0, 10.0, 20.0, 40.0]


@pytest.mark.parametrize("error, text", [
    ("access_denied", "you did not agree"), ("authorization_declined", "you did not agree"),
    ("expired_token", "has expired; run the command again"),
    ("invalid_client", "the provider refuses: invalid_client"), ("x" * 500, "x…$")])
def test_the_end(provider, device, wait, error, text):
    provider.approve(device.user_code, error)
    with pytest.raises(OAuthError, match=text) as told:
        wait(device)
    assert len(str(told.value)) < 200


def test_pending_with_another_status(provider, device, wait, passing):
    pending = b'{"error": "authorization_pending"}'
    provider.answers["/token"] = [(428, pending), (403, pending), (200, pending)]
    provider.approve(device.user_code)
    assert wait(device).access in provider.access and passing.slept == [5.0] * 4


def test_nobody_agrees(provider, device, wait, passing):
    with pytest.raises(OAuthError, match="the code has expired; run the command again"):
        wait(device)
    assert device.seconds - 10 < passing.now <= device.seconds
    assert len(provider.asked("/token")) == len(passing.slept) <= 120


def test_a_provider_that_is_down_to_the_end(provider, device, wait, passing):
    provider.answers["/token"] = [(500, b"")] * 100
    with pytest.raises(OAuthError, match="status 500"):
        wait(device)
    assert passing.slept[-1] == 60.0


GOOD = (b'{"device_code": "d", "user_code": "u", "verification_uri": "https://x.example/", '
        b'"expires_in": 9%s}')


@pytest.mark.parametrize("more, interval, seconds", [
    (b"", 5.0, 9.0), (b', "interval": 0', 1.0, 9.0), (b', "interval": -1', 1.0, 9.0),
    (b', "interval": 1e999', 60.0, 9.0), (b', "interval": "7"', 7.0, 9.0),
    (b', "interval": null, "expires_in": 1e9', 5.0, 3600.0),
    (b', "expires_in": NaN', 5.0, 600.0)])
def test_bounds(provider, oauth2, more, interval, seconds):
    provider.answers["/device"] = [(200, GOOD % more)]
    device = device_flow.begin(oauth2)
    assert (device.interval, device.seconds) == (interval, seconds)


def test_the_older_name_of_the_address(provider, oauth2):
    provider.answers["/device"] = [(200, (GOOD % b"").replace(b"_uri", b"_url"))]
    assert device_flow.begin(oauth2).address == "https://x.example/"


def test_what_is_shown_is_printable(provider, oauth2):
    provider.answers["/device"] = [(200, (GOOD % b"").replace(
        b'"u"', b'"a\\u001b[2Jb\\r\\nc"').replace(b"x.example/", b"x.example/" + b"y" * 5000))]
    device = device_flow.begin(oauth2)
    assert device.user_code == "a [2Jb  c" and len(device.address) == 2001


@pytest.mark.parametrize("answer, kind", [
    ((200, b"{}"), Temporary), ((200, b'{"device_code": 5}'), Temporary), ((500, b""), Temporary),
    ((400, b'{"error": "invalid_scope"}'), OAuthError)])
def test_no_code(provider, oauth2, answer, kind):
    provider.answers["/device"] = [answer]
    with pytest.raises(kind):
        device_flow.begin(oauth2)


def test_the_login_gives_what_a_refresh_needs(provider, oauth2, device, wait):
    provider.approve(device.user_code)
    tokens = wait(device)
    assert token_requests.refresh(oauth2, tokens.refresh).access in provider.access
