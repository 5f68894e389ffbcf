"""The client responses of OAUTHBEARER and XOAUTH2."""
import pytest

from phenmail_protocols.oauth import sasl

TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="


def test_the_example_of_rfc_7628():
    assert sasl.response("OAUTHBEARER", "user@example.com", TOKEN, "server.example.com", 143) == (
        b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer "
        + TOKEN.encode() + b"\x01\x01")


def test_xoauth2():
    assert sasl.response("XOAUTH2", "someuser@example.com", TOKEN, "ignored", 1) == (
        b"user=someuser@example.com\x01auth=Bearer " + TOKEN.encode() + b"\x01\x01")


def test_names_are_escaped_in_the_gs2_header():
    assert sasl.response("OAUTHBEARER", "a,b=\u00e9", "t", "h", 1).startswith(
        b"n,a=a=2Cb=3D\xc3\xa9,\x01")


@pytest.mark.parametrize("user, token", [("a\x01auth=Bearer x", "t"), ("a", "t\r\nQUIT"),
                                         ("a\0b", "t"), ("a\x7f", "t")])
@pytest.mark.parametrize("name", sasl.MECHANISMS)
def test_nothing_can_be_injected(name, user, token):
    with pytest.raises(ValueError):
        sasl.response(name, user, token, "h", 1)


def test_which_mechanism():
    assert sasl.mechanism(["PLAIN", "XOAUTH2", "OAUTHBEARER"]) == "OAUTHBEARER"
    assert sasl.mechanism(["XOAUTH2"]) == "XOAUTH2"
    assert sasl.mechanism(["PLAIN", "OAUTH10A"]) is None


@pytest.mark.parametrize("challenge, text", [
    (b'{"status":"invalid_token","scope":"x"}', "invalid_token"), (b'{"status":"400"}', "400"),
    (b"", ""), (b"[]", ""), (b"\xff", ""), (b"[" * 5000, ""), (b'{"status":"' + b"x" * 9999, ""),
    (b'{"status": "a\\r\\nb"}', "a  b")])
def test_the_reason_of_a_refusal(challenge, text):
    assert sasl.reason(challenge) == text
