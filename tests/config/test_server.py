"""The server's settings: defaults, listeners, actions, includes."""

import os

import pytest

from phenmail_protocols.config import actions, loader
from phenmail_protocols.config.addresses import is_host_name
from phenmail_protocols.config.problems import ConfigError
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.config.settings import Action, Listen, Quota, listeners


@pytest.fixture
def root(tmp_path):
    root = Root(str(tmp_path))
    root.create()
    return root


def load(root, values, privileged=True):
    return loader.server_from_dict(values, root, privileged, lambda: "Host.Example.com")


def told(root, values):
    with pytest.raises(ConfigError) as caught:
        load(root, values)
    return str(caught.value)


def table(settings, certificate=True):
    return [(name, listen.host, listen.port, listen.tls)
            for name, listen in listeners(settings, certificate)]


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def test_defaults(root):
    settings = load(root, {})
    assert settings.sender_domain == "host.example.com"
    assert settings.domains == {} and settings.receivers == ()
    assert not settings.relay.disabled
    assert settings.relay.queue_folder == os.path.join(root.mail_system, "queue")
    assert settings.tls.certificate == os.path.join(root.mail_system, "tls-certificate.pem")
    assert not settings.tls.own
    assert settings.warnings == ()
    assert settings.smtp_message_size == settings.limits.message_size


def test_ports_of_root_and_of_others(root):
    assert table(load(root, {})) == [
        ("smtp", "*", 25, "starttls"), ("submissions", "*", 465, "implicit"),
        ("submission", "*", 587, "starttls"), ("imaps", "*", 993, "implicit"),
        ("pop3s", "*", 995, "implicit")]
    plain = {key: {"disable-ssl": True} for key in ("relay", "imap", "pop3")}
    assert table(load(root, plain, privileged=False)) == [
        ("smtp", "*", 2025, "starttls"), ("submission", "*", 2587, "starttls"),
        ("imap", "*", 2143, "starttls"), ("pop3", "*", 2110, "starttls")]


@pytest.mark.parametrize("privileged, ports", [(True, [25, 587, 143, 110]),
                                               (False, [2025, 2587, 2143, 2110])])
def test_without_certificate_plain_ports_on_the_loopback(root, privileged, ports):
    found = table(load(root, {"imap": {"plaintext-auth": True}}, privileged), certificate=False)
    assert [row[2] for row in found] == ports
    assert {row[1] for row in found} == {"localhost"}
    assert {row[3] for row in found} == {"none"}
    assert [row[0] for row in found] == ["smtp", "submission", "imap", "pop3"]


def test_without_certificate_what_never_wanted_tls_stays(root):
    settings = load(root, {"imap": {"listen": [{"host": "192.0.2.1", "port": 143, "tls": "none",
                                                "plaintext-auth": True}]},
                           "lmtp": {"port": 0}, "smtp": False, "pop": False, "relay": False})
    assert listeners(settings, False) == listeners(settings, True)
    assert table(settings) == [("lmtp", "localhost", 0, "none"),
                               ("imap", "192.0.2.1", 143, "none")]


def test_long_form(root):
    settings = load(root, {"relay": {"listen": [
        {}, {"tls": "starttls"}, {"tls": "starttls", "port": 0, "host": "::1"}]}})
    assert [tuple(listen)[:3] for listen in settings.submission] == [
        ("*", 465, "implicit"), ("*", 587, "starttls"), ("::1", 0, "starttls")]


def test_an_empty_list_of_listeners_is_none(root):
    assert load(root, {"imap": {"listen": []}}).imap == ()


@pytest.mark.parametrize("off", [False, {"disabled": True}])
def test_sections_can_be_off(root, off):
    settings = load(root, dict.fromkeys(("smtp", "relay", "imap", "pop", "lmtp"), off))
    assert listeners(settings, True) == ()
    assert settings.relay.disabled and settings.relay.remote_port == 25


def test_only_relay_has_no_public_listener(root):
    settings = load(root, {"smtp": {"only-relay": True}})
    assert settings.smtp == () and settings.submission != ()


def test_lmtp(root):
    assert load(root, {"lmtp": True}).lmtp == (Listen("localhost", 24, "none"),)
    assert load(root, {"lmtp": {"socket": "/device/lmtp"}}).lmtp[0].path == os.path.join(
        root.path, "device", "lmtp")


def test_same_port_on_other_addresses_is_fine(root):
    load(root, {"imap": {"listen": [{"host": "127.0.0.1", "port": 9000},
                                    {"host": "127.0.0.2", "port": 9000}]}})
    load(root, {"imap": {"port": 0}, "pop": {"port": 0}})
    assert "imap.port: expected a free port, not 25; smtp listens there already" in told(
        root, {"imap": {"port": 25}})


def test_numbers_with_units(root):
    limits = load(root, {"limits": {"message-size": "64 MB", "imap-idle-timeout": "1 h",
                                    "pop-idle-timeout": 600.5}, "smtp": {"max-size": 2048}})
    assert limits.limits.message_size == 64 * 1024 * 1024
    assert limits.limits.imap_idle_timeout == 3600 and limits.limits.pop_idle_timeout == 600.5
    assert limits.smtp_message_size == 2048


HASH = "08FC92f4ad885e06491aa5b19435849eb62232a056dd840a53fee62a5507b654"


@pytest.mark.parametrize("text, action", [
    ("-gone fishing", Action("disabled", "gone fishing")),
    ("-", Action("disabled", "")),
    (":bob", Action("alias", "bob@example.com")),
    (":bob@Example.ORG", Action("alias", "bob@example.org")),
    (">dan@example.org", Action("forward", "dan@example.org")),
    (">dan@example.org " + HASH, Action("forward", "dan@example.org", HASH.lower())),
    (">/usr/bin/deliver -d {USER}", Action("agent", "/usr/bin/deliver -d {USER}")),
    (">sh -c 'cat > x' " + HASH, Action("agent", "sh -c 'cat > x'", HASH.lower())),
    (">/usr/bin/deliver a@b.c", Action("agent", "/usr/bin/deliver a@b.c")),
    (".mail", Action("plugin", "mail")),
    (".robot  a b", Action("plugin", "robot a b")),
])
def test_actions(root, text, action):
    settings = load(root, {"domains": {"Example.com": {"alice": text, "bob": "/bob/mail"},
                                       "example.org": {"bob": "/bob/mail"}}})
    assert settings.domains["example.com"]["alice"] == action
    assert HASH.lower() not in repr(settings)


@pytest.mark.parametrize("text", [
    "dan@example..org", "dan@-x.org", "dan@example.org.", "dan@" + "a" * 64 + ".org",
    "dan@[192.0.2.1]",
    "dan@[127.1]", "dan@", "d@n@example.org", "dan@exam\u202eple.org", "dan@a\u200db.example",
    "dan@example..org " + HASH])
def test_what_looks_like_an_address_is_no_command(root, text):
    assert "expected a mail address after \">\"" in told(
        root, {"domains": {"example.com": {"alice": ">" + text}}})
    assert actions.external_mda(text)[0] is None and actions.external_mda(">" + text)[0] is None


def test_mailboxes_lie_with_their_users(root):
    users = load(root, {"domains": {"example.com": {
        "alice": "/[user-identity]/mail", "*": "/device/lost"}}}).domains["example.com"]
    assert users["alice"] == Action("mailbox", os.path.join(root.path, "alice", "mail"))
    assert users["*"].value == os.path.join(root.path, "device", "lost")
    assert ".." in told(root, {"domains": {"a.b": {"..": "/[user-identity]/mail"}}})


def aliases(users):
    return {"domains": {"example.com": dict({"end": "/end/mail"}, **users)}}


def test_ten_aliases_are_enough_and_eleven_too_many(root):
    chain = {"a%d" % n: ":a%d" % (n - 1) for n in range(2, 11)}
    chain["a1"] = ":end"
    load(root, aliases(chain))
    chain["a11"] = ":A10+tag"
    assert told(root, aliases(chain)) == (
        'settings: domains."example.com".a11: expected a chain of at most 10 aliases')


def test_loops_through_tag_case_and_catch_all(root):
    assert "a@example.com -> a@example.com" in told(root, aliases({"a": ":A+x"}))
    assert "alias loop: *@example.com -> *@example.com" in told(root, aliases({"*": ":nobody"}))
    assert told(root, aliases({"a": ":b", "b": ":a", "c": ":a"})).count("alias loop: ") == 1


def test_many_aliases_are_checked_in_time(root):
    users = {"user%d" % n: ":User%d" % (n + 1) for n in range(20000)}
    assert told(root, aliases(users)).count("at most 10") == 1


def test_warnings(root):
    settings = load(root, {"domains": {"example.com": {
        "alice": "/alice/mail", "abuse": "-", "sales": ":alcie", "info": ":x@example.cmo"}}})
    assert [warning.expected or warning.hint for warning in settings.warnings] == [
        "the address postmaster@example.com, which every mail domain needs",
        "the address abuse@example.com, which every mail domain needs",
        'alias target alcie@example.com does not exist; did you mean "alice"?',
        'alias target x@example.cmo does not exist; did you mean "example.com"?']


def test_quotas(root):
    users = {"postmaster": ":alice", "abuse": ":alice", "alice": "/alice/mail", "far": ">x@example.net"}
    settings = load(root, {"domains": {"example.com": users}, "quota": {
        "bytes": "2 GB", "users": {
            name + "@example.com": {"messages": 7} for name in ("alice", "postmaster", "far", "bo")}}})
    assert settings.quota.of_others == Quota(2 << 30) and len(settings.quota.users) == 4
    assert [warning.hint for warning in settings.warnings] == [
        "far@example.com has no mailbox", "bo@example.com has no mailbox"]
    assert load(root, {}).quota.of_others == Quota()


def test_small_sections(root):
    settings = load(root, {
        "hosted": {"server": "smtp.example.com", "username": "u", "password": "abc"},
        "resolver": {"nameservers": ["192.0.2.1:5353", "[2001:db8::1]:53", "2001:db8::2"]},
        "bounce": {"subject": "s"}, "global-filters": [], "plugins": {"a": "b.c:d.e"},
        "inbound": {}, "relay": {"remote-port": 2525}})
    assert settings.relay.private_addresses is False
    assert load(root, {"relay": {"private-addresses": True}}).relay.private_addresses is True
    assert load(root, {"relay": False}).relay.private_addresses is False
    assert settings.plugins == {"a": "b.c:d.e"} and settings.inbound.dmarc == "report"
    assert settings.resolver.nameservers == (
        ("192.0.2.1", 5353), ("2001:db8::1", 53), ("2001:db8::2", 53))
    assert settings.hosted.require_tls and "abc" not in repr(settings)


def test_settings_cannot_be_changed(root):
    settings = load(root, {"domains": {"example.com": {"alice": "/alice/mail"}}})
    with pytest.raises(TypeError):
        settings.domains["example.org"] = {}
    with pytest.raises(TypeError):
        settings.domains["example.com"]["bob"] = None
    with pytest.raises(AttributeError):
        settings.admin = ("bob",)


@pytest.mark.parametrize("values", [
    {"domains": []}, {"imap": None}, {"receivers": [[]]}, {"tls": 1}, {"limits": []},
    {1: 2}, {"imap": {"port": float("nan")}}, {"limits": {"message-size": float("inf")}},
    {"limits": {"line": 10 ** 400}}, {"python": "\0"}, {"global-filters": [None]},
    {"smtp": {"listen": [None]}}, {"domains": {"a.b": {"c": "/\ud800"}}}, {"plugins": {"a": b"b"}},
    {"limits": {"smtp-idle-timeout": "²"}}, {"lmtp": 0}, {"admin": [[]]},
])
def test_odd_values_are_told_and_raise_nothing_else(root, values):
    assert "expected" in told(root, values) or "unknown key" in told(root, values)


def test_include_loses_and_overwrite_wins(root):
    write(root.configuration, """{
        "include": ["a.jcfg", "/[device-identity]/b.jcfg"],
        "include-overwrite": ["c.jcfg"],
        "imap": {"port": 1}, "sender-domain": "here.example" }""")
    folder = root.mail_system
    write(os.path.join(folder, "a.jcfg"), '{"imap": {"port": 2, "debug": true}, "admin": ["a"]}')
    write(os.path.join(root.path, "device", "b.jcfg"),
          '{"sender-domain": "b.example", "admin": ["b"], "pop": {"port": 5}}')
    write(os.path.join(folder, "c.jcfg"), '{"pop": {"port": 7}, "domains": {"c.example": {}}}')
    settings = loader.load_server(root, True)
    assert settings.imap[0].port == 1 and settings.imap_debug
    assert settings.sender_domain == "here.example"
    assert settings.admin in (("a",), ("b",))
    assert settings.pop3[0].port == 7
    assert list(settings.domains) == ["c.example"]


def test_a_file_may_come_twice_but_not_in_a_circle(root):
    write(root.configuration, '{"include": ["a.jcfg", "b.jcfg"]}')
    for name in "ab":
        write(os.path.join(root.mail_system, name + ".jcfg"), '{"include": ["c.jcfg"]}')
    write(os.path.join(root.mail_system, "c.jcfg"), '{"admin": ["alice"]}')
    assert loader.load_server(root).admin == ("alice",)


def test_too_many_files_are_told_once(root):
    for number in range(12):
        write(os.path.join(root.mail_system, "%d.jcfg" % number),
              '{"include": ["%d.jcfg", "%d.jcfg"]}' % (number + 1, number + 1))
    write(os.path.join(root.mail_system, "12.jcfg"), "{}")
    write(root.configuration, '{"include": ["0.jcfg"]}')
    with pytest.raises(ConfigError, match="at most 50 included files") as caught:
        loader.load_server(root)
    assert len(caught.value.problems) == 1


def test_a_list_that_wins_takes_its_positions_along(root):
    write(root.configuration, '{"include": ["a.jcfg"],\n"admin": ["alice", 7]}')
    write(os.path.join(root.mail_system, "a.jcfg"), '{"admin": [\n\n1, 2, 3]}')
    with pytest.raises(ConfigError) as caught:
        loader.load_server(root)
    assert [problem[1:4] for problem in caught.value.problems] == [(2, 20, "admin[1]")]


def test_too_big_a_file_is_told(root):
    write(root.configuration, "{}" + " " * (4 * 1024 * 1024))
    with pytest.raises(ConfigError, match="at most 4194304 bytes"):
        loader.load_server(root)


def test_line_ends_of_other_systems(root):
    write(root.configuration, "")
    with open(root.configuration, "wb") as file:
        file.write(b'{\r\n"imap": true, # x\r\n"pop": 5\r\n}')
    with pytest.raises(ConfigError) as caught:
        loader.load_server(root)
    assert [problem[1:3] for problem in caught.value.problems] == [(3, 8)]


def test_a_file_that_cannot_be_read_is_an_oserror(root):
    with pytest.raises(FileNotFoundError):
        loader.load_server(root)


def test_the_predecessors_example_with_its_commas_and_hashes(root):
    folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), "bad_configs")
    with open(os.path.join(folder, "server-predecessor-example.jcfg"), encoding="utf-8") as file:
        text = file.read().replace('passphrase]"\n', 'passphrase]",\n')
    write(root.configuration, text.replace("[hashed-passphrase]", HASH))
    settings = loader.load_server(root)
    users = settings.domains["example.com"]
    assert users["carol"] == Action("agent", "external-MDA-command parameters", HASH.lower())
    assert users["dan"] == Action("forward", "forward@domain.org", HASH.lower())
    assert settings.pop3 == (Listen("*", 111, "starttls"),)


@pytest.mark.parametrize("name, fits", [
    ("bücher.example", True), ("日本.example", True),
    ("".join(chr(0x4e00 + 97 * n) for n in range(40)) + ".example", False), ("ab--c.example", True),
    ("-a.example", False)])
def test_host_names_have_an_ascii_form(name, fits):
    assert is_host_name(name) is fits


@pytest.mark.parametrize("path", ["/", "//", "/.", "/./"])
def test_the_root_folder_itself_is_nobodys_mail_folder(root, path):
    with pytest.raises(ConfigError, match="the path of a mail folder"):
        loader.server_from_dict({"domains": {"a.example": {"x": path}}}, root)
