"""OAuth2 in the configuration: presets of providers, and where tokens are kept."""
import os

import pytest

from phenmail_protocols.config import loader
from phenmail_protocols.config.oauth2 import ENDPOINT
from phenmail_protocols.config.providers import PROVIDERS, provider_of
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.text import web_address
from phenmail_protocols.text.obscured import obscure

GOOGLE = ('"username": "alice@gmail.com", "auth": "oauth2", "provider": "google", '
          '"client-id": "me", "client-secret": "%s"' % obscure("hush"))
OWN = ('"username": "a", "server": "mail.example.com", "auth": "oauth2", "provider": {"client-id": '
       '"me", "token-endpoint": "http://127.0.0.1:8080/t", "device-endpoint": "https://[::1]/d"}')


def fetched(folder, *accounts):
    root = Root(str(folder))
    path = os.path.join(root.path, "alice", "system", "config", "mail-fetcher.jcfg")
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write('{"accounts": [%s]}' % ", ".join("{%s}" % each for each in accounts))
    return loader.load_fetcher(path, root).accounts


def test_a_named_provider_has_servers_and_endpoints(tmp_path):
    imap, pop = fetched(tmp_path, GOOGLE, GOOGLE + ', "protocol": "pops"')
    assert (imap.server, imap.port, pop.server, pop.port) == (
        "imap.gmail.com", 993, "pop.gmail.com", 995)
    assert imap.name == "alice@gmail.com@imap.gmail.com"
    oauth2 = imap.provider
    assert oauth2.token_endpoint == "https://oauth2.googleapis.com/token"
    assert (oauth2.client_id, oauth2.client_secret, oauth2.device_endpoint) == ("me", "hush", None)
    assert oauth2.account == imap.name and "hush" not in repr(oauth2)
    assert oauth2.within == os.path.join(os.path.realpath(str(tmp_path)), "alice")
    assert os.path.dirname(oauth2.tokens) == os.path.join(oauth2.within, "system", "config")
    assert oauth2.tokens != pop.provider.tokens


def test_a_provider_of_ones_own(tmp_path):
    account, = fetched(tmp_path, OWN)
    assert account.provider.device_endpoint == "https://[::1]/d"
    assert account.provider.redirect == "127.0.0.1" and account.provider.scope == ""


def test_the_smarthost(tmp_path):
    root = Root(str(tmp_path))
    hosted = loader.server_from_dict({"hosted": {
        "username": "a@outlook.com", "auth": "oauth2", "provider": "microsoft",
        "client-id": "me"}}, root, True).hosted
    assert (hosted.server, hosted.port) == ("smtp.office365.com", 587)
    assert hosted.provider.account == "hosted" and hosted.provider.client_secret is None
    assert os.path.dirname(hosted.provider.tokens) == os.path.realpath(root.mail_system)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_presets_are_sound(name):
    provider = PROVIDERS[name]
    for text in (provider.authorization, provider.token) + (
            (provider.device,) if provider.device else ()):
        assert ENDPOINT.clean(text) == text and text.startswith("https://")
    assert provider_of(provider.domains[0].upper()) == name and provider_of("example.com") == ""


@pytest.mark.parametrize("text, expected", [
    ("https://example.com", ("https", "example.com", 443, "/")),
    ("http://127.0.0.1:8080?a=%20b", ("http", "127.0.0.1", 8080, "/?a=%20b")),
    ("https://[::1]:8443/a/b?c", ("https", "::1", 8443, "/a/b?c"))])
def test_web_addresses(text, expected):
    assert web_address.parse(text) == expected


def test_the_authority_has_no_usual_port():
    assert web_address.parse("https://[::1]:443/").authority == "[::1]"
    assert web_address.parse("http://a.example:443/").authority == "a.example:443"


@pytest.mark.parametrize("text", [
    "", "example.com", "ftp://example.com/", "https://", "https:///path", "https://a@b.example/",
    "https://a.example/#part", "https://a.example:0/", "https://a.example:65536/",
    "https://a.example/ b", "https://a.example/\r\nX: y", "https://a.example/\u00e9",
    "https://a.example/%zz", "https://a.example\n", "https://a.example/" + "x" * 2000])
def test_other_texts_are_no_web_addresses(text):
    with pytest.raises(ValueError):
        web_address.parse(text)


@pytest.mark.parametrize("text", ["http://example.com/", "http://127.0.0.1.example.com/",
                                  "http://localhost.example.com/", "http://10.0.0.1/", 5, None])
def test_secrets_go_over_tls_or_stay_here(text):
    assert ENDPOINT.clean(text) is None
