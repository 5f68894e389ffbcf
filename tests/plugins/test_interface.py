"""Plugins: how they are found, begun, called and ended, and what becomes of the message."""
import logging
import subprocess
import sys
import threading
import types

import pytest

from phenmail_protocols.delivery.recipient_replies import PluginRefused
from phenmail_protocols.mail.address import Address
from phenmail_protocols.plugins import email_message
from phenmail_protocols.plugins.call_limits import Calls
from phenmail_protocols.queue.model import Message, Recipient
from tests.plugins.pluginhouse import BOB, LETTER, NOW, ROBOT, House

DEADLINE = 10.0


class Taking:
    """Notes whatever happens to it."""

    def __init__(self):
        self.calls, self.events, self.server = [], [], None

    def start(self, server):
        self.events.append("start")
        self.server = server

    def stop(self):
        self.events.append("stop")

    def mail_received(self, message, origin, parameters):
        self.calls.append((message, origin, parameters))


@pytest.fixture
def module():
    """`module("name", key=value)` makes a module that can be imported."""
    made = []

    def make(name, **values):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(values)
        made.append(name)

    yield make
    for name in made:
        sys.modules.pop(name, None)


def codes(reply):
    return reply.code, reply.enhanced


# What a plugin gets


def test_a_plugin_gets_the_message_its_origin_and_the_parameters():
    it = Taking()
    house = House({"it": it})
    reply = house.hand(parameters="to the attic", head=b"X-Head: 1\r\n", tag="blue",
                       recipient=Address("robot+blue", "example.org"))
    assert codes(reply) == (250, "2.0.0")
    (message, origin, parameters), = it.calls
    assert parameters == "to the attic" and it.server is house.server
    assert origin == email_message.Origin("bob@example.net", "robot+blue@example.org", "blue",
                                          "6-1", NOW, "")
    assert message["Subject"] == "Grüße" and message.get_content() == "Hello,\nrobot.\n"
    assert [name for name, _ in message.items()][:3] == ["Return-Path", "Delivered-To", "X-Head"]


def test_a_bounce_has_an_empty_sender_and_is_automatic():
    it = Taking()
    House({"it": it}).hand(sender=None)
    assert it.calls[0][1].sender == "" and "no sender" in it.calls[0][1].automatic


def test_a_message_that_is_sent_on_is_what_it_was():
    it = Taking()
    long = b"X-Long: " + b"word " * 60 + b"\r\n"
    content = (b"Subject: \xc3\xbc\r\n" + long + b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
               b"\xc3\xbc\r\n.\r\nFrom me\r\n")
    House({"it": it}).hand(content=content, smtputf8=True)
    assert it.calls[0][0].as_bytes().endswith(content.replace(b"\r\n", b"\n"))


@pytest.mark.parametrize("smtputf8, line",
                         [(True, "Subject: ü\n".encode()), (False, b"Subject: =?utf-8?")])
def test_what_a_plugin_writes_is_in_utf_8_where_the_message_was(smtputf8, line):
    it = Taking()
    House({"it": it}).hand(smtputf8=smtputf8)
    message = it.calls[0][0]
    message.replace_header("Subject", "ü")
    assert line in message.as_bytes()


@pytest.mark.parametrize("given", [Taking(), Taking, lambda message, origin, parameters: None])
def test_an_instance_a_class_and_a_callable_are_plugins(given):
    assert House({"it": given}).hand().code == 250


def test_what_is_no_plugin_is_refused_when_it_is_given():
    with pytest.raises(TypeError) as caught:
        House({"it": 3})
    assert "mail_received" in str(caught.value)


def test_a_callable_of_any_type_is_called_and_nothing_else():
    class Odd:
        start = stop = max_size = "nonsense"

        def __call__(self, message, origin, parameters):
            pass

    house = House({"it": Odd()})
    house.plugins.start()
    assert house.hand().code == 250 and house.plugins.stop(DEADLINE)


# What becomes of the message


def raising(error):
    def take(message, origin, parameters):
        raise error
    return take


@pytest.mark.parametrize("error",
                         [ValueError("/etc/secret"), SystemExit("/etc/secret"),
                          KeyboardInterrupt("/etc/secret")])
def test_a_failure_defers_and_only_the_log_knows_it(error, caplog):
    reply = House({"it": raising(error)}).hand()
    assert codes(reply) == (451, "4.3.0") and "secret" not in reply.text
    assert "/etc/secret" in caplog.text and "Traceback" in caplog.text


def test_a_refusal_returns_it_with_its_text_on_one_line():
    reply = House({"it": raising(PluginRefused("no\r\n250 ok\x1b" + "x" * 600))}).hand()
    assert codes(reply) == (550, "5.7.0")
    assert reply.text.startswith("no  250 ok x") and reply.text.isprintable()
    assert len(reply.text) == 500


@pytest.mark.parametrize("error", [PluginRefused(), PluginRefused("")])
def test_a_refusal_without_words_has_ours(error):
    assert House({"it": raising(error)}).hand().text == "The message was refused"


@pytest.mark.parametrize("returned, code",
                         [(None, 250), (True, 250), (0, 250), ("no", 250), (False, 451)])
def test_what_it_returns(returned, code):
    assert House({"it": lambda *_: returned}).hand().code == code


def test_a_large_message_is_refused_unless_the_plugin_takes_it():
    it = Taking()
    assert codes(House({"it": it}).hand(size=(25 << 20) + 1)) == (552, "5.3.4") and it.calls == []
    it.max_size = 100
    assert House({"it": it}).hand(size=101).code == 552
    it.max_size = 1 << 30
    assert House({"it": it}).hand(size=100 << 20).code == 250


@pytest.mark.parametrize("content", [
    b"\r\n" + b"\r\n" * 1000001,
    b"".join(
        [b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n)
         for n in range(3000)])], ids=["lines", "depth"])
def test_what_would_cost_the_parser_too_much_is_returned(content, caplog):
    it = Taking()
    assert codes(House({"it": it}).hand(content=content)) == (554, "5.6.0") and it.calls == []
    assert "cannot be parsed" in caplog.text


def test_a_body_that_can_not_be_read_defers():
    house = House({"it": Taking()})
    body = open(__file__, "rb")
    body.close()
    reply = house.plugins.hand("it", "", _message(), body, ROBOT)
    assert codes(reply) == (451, "4.3.0")


def _message():
    return Message("6-2", BOB, (Recipient(ROBOT),), NOW, size=len(LETTER))


# Where it is found


def test_given_goes_before_configured_before_built_in_before_entry_points(module):
    took = []
    module("attic", configured=lambda *_: took.append("configured"),
           offered=lambda *_: took.append("offered"))
    points = {"mail": "attic:offered", "it": "attic:offered"}
    given = {"mail": lambda *_: took.append("given")}
    both = {"mail": "attic:configured"}
    assert House(given, both, points).hand("mail").code == 250
    assert House({}, both, points).hand("mail").code == 250
    assert took == ["given", "configured"]
    house = House({}, {}, points)
    assert house.hand("mail").code == 250 and len(house.server.sent) == 1 and house.looked == []
    assert house.hand("it").code == 250 and took[2:] == ["offered"]
    assert house.hand("it").code == 250 and house.looked == ["phenmail.plugins"]


def test_objects_in_objects_and_whole_modules_are_found(module):
    it = Taking()
    module("attic", box=types.SimpleNamespace(it=it), mail_received=it.mail_received)
    assert House(points={"it": "attic:box.it"}).hand().code == 250
    assert House(points={"it": "attic"}).hand().code == 250
    assert len(it.calls) == 2


@pytest.mark.parametrize("target",
                         ["no_such_module:it", "attic:missing", "attic:number", "attic:Failing",
                          "attic:Exiting"])
def test_what_can_not_be_loaded_waits_and_is_looked_for_again(module, target, caplog):
    class Failing:
        def __init__(self):
            raise SystemExit("no")

    module("attic", number=3, Failing=Failing,
           Exiting=type("Exiting", (), {"__init__": lambda self: 1 / 0}))
    house = House(configured={"it": target})
    house.plugins.start()
    assert codes(house.hand()) == (451, "4.3.5")
    assert caplog.text.count("plugin it cannot be used") == 1 and "Traceback" in caplog.text
    module("attic", good=Taking())
    house.configured["it"] = "attic:good"
    assert house.hand().code == 250


def test_an_unknown_name_waits_and_is_told_once_a_minute(caplog):
    now = [0.0]
    house = House(clock=lambda: now[0])
    for moment in (0.0, 59.0, 61.0):
        now[0] = moment
        assert codes(house.hand("nobody")) == (451, "4.3.5")
    assert caplog.text.count("plugin nobody cannot be used") == 2
    assert len(house.looked) == 3


# Begin and end


def test_given_and_configured_begin_with_the_server_and_end_in_reverse_order(module):
    events = []

    def plugin(name):
        return types.SimpleNamespace(start=lambda server: events.append("start " + name),
                                     stop=lambda: events.append("stop " + name),
                                     mail_received=lambda *_: None)

    module("attic", two=plugin("two"), three=plugin("three"))
    house = House({"one": plugin("one")}, {"two": "attic:two", "one": "attic:three"},
                  {"three": "attic:three"})
    house.plugins.start()
    assert events == ["start one", "start two"]
    house.hand("three")
    house.hand("one")
    assert house.plugins.stop(DEADLINE) and house.plugins.stop(DEADLINE)
    assert events == ["start one", "start two", "start three", "stop three", "stop two", "stop one"]
    assert codes(house.hand("one")) == (451, "4.3.2")


def test_a_start_that_failed_is_tried_again_with_the_first_message(caplog):
    it, fails = Taking(), [True]

    def start(server):
        if fails:
            raise RuntimeError("not yet")

    it.start = start
    house = House({"it": it})
    house.plugins.start()
    assert "its start failed" in caplog.text
    assert codes(house.hand()) == (451, "4.3.5")
    fails.clear()
    assert house.hand().code == 250
    assert house.plugins.stop(DEADLINE) and it.events == ["stop"]


def test_what_never_began_is_not_ended():
    it = Taking()
    assert House({"it": it}).plugins.stop(DEADLINE) and it.events == []


def test_other_settings_end_one_and_begin_the_other(module):
    module("attic", one=Taking(), two=Taking())
    house = House(configured={"it": "attic:one"})
    house.hand()
    house.configured["it"] = "attic:two"
    house.hand()
    one, two = sys.modules["attic"].one, sys.modules["attic"].two
    assert one.events == ["start", "stop"] and two.events == ["start"]
    assert len(one.calls) == len(two.calls) == 1
    house.configured["it"] = "attic:missing"
    assert house.hand().code == 451
    house.configured["it"] = "attic:two"
    assert house.hand().code == 250 and two.events == ["start", "stop", "start"]


def test_a_stop_that_fails_or_hangs_holds_up_no_other(caplog):
    gate, order = threading.Event(), []

    def plugin(stop):
        return types.SimpleNamespace(stop=stop, mail_received=lambda *_: None)

    house = House({"first": plugin(lambda: order.append("first")), "second": plugin(lambda: 1 / 0),
                   "third": plugin(lambda: gate.wait(DEADLINE))})
    house.plugins.start()
    try:
        assert not house.plugins.stop(0.3)
    finally:
        gate.set()
    assert order == ["first"] and "ZeroDivisionError" in caplog.text
    assert "did not return: third" in caplog.text


# Several at once


class Gate(Taking):
    """Holds its callers until `open` is set."""

    def __init__(self, concurrent=False):
        super().__init__()
        self.concurrent = concurrent
        self.inside, self.open = threading.Semaphore(0), threading.Event()

    def mail_received(self, message, origin, parameters):
        self.inside.release()
        assert self.open.wait(DEADLINE)


@pytest.fixture
def handing():
    """`handing(house, name)` hands a message in a thread -> a function that waits for the reply's
    codes."""
    threads = []

    def begin(house, name="it"):
        replies = []
        thread = threading.Thread(target=lambda: replies.append(codes(house.hand(name))),
                                  daemon=True)
        thread.start()
        threads.append(thread)

        def ended():
            thread.join(DEADLINE)
            assert replies, "the plugin did not come back"
            return replies[0]
        return ended

    yield begin
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


def test_one_call_at_a_time_and_who_waits_too_long_is_told(handing):
    gate = Gate()
    house = House({"it": gate}, calls=Calls(wait=0.05))
    first = handing(house)
    assert gate.inside.acquire(timeout=DEADLINE)
    assert codes(house.hand()) == (451, "4.3.2")
    assert not gate.inside.acquire(blocking=False)
    gate.open.set()
    assert first() == (250, "2.0.0") and house.hand().code == 250


def test_who_waits_gets_its_turn(handing):
    gate = Gate()
    house = House({"it": gate}, calls=Calls(wait=DEADLINE))
    first = handing(house)
    assert gate.inside.acquire(timeout=DEADLINE)
    second = handing(house)
    gate.open.set()
    assert first() == second() == (250, "2.0.0")


def test_a_plugin_that_says_so_has_several_calls(handing):
    gate = Gate(concurrent=True)
    house = House({"it": gate}, calls=Calls(most=8, wait=DEADLINE))
    house.plugins.start()
    ends = [handing(house) for _ in range(4)]
    for _ in ends:
        assert gate.inside.acquire(timeout=DEADLINE)
    assert codes(house.hand()) == (451, "4.3.2"), "one plugin has at most half of the threads"
    gate.open.set()
    assert {end() for end in ends} == {(250, "2.0.0")}


def test_all_together_have_a_bounded_number_of_threads(handing):
    gates = {name: Gate() for name in "abc"}
    house = House(gates, calls=Calls(most=2, wait=DEADLINE))
    ends = [handing(house, name) for name in "ab"]
    for name in "ab":
        assert gates[name].inside.acquire(timeout=DEADLINE)
    assert codes(house.hand("c")) == (451, "4.3.2")
    for gate in gates.values():
        gate.open.set()
    assert {end() for end in ends} == {(250, "2.0.0")} and house.hand("c").code == 250


def test_large_messages_are_not_in_memory_all_at_once(handing):
    gates = {name: Gate() for name in "ab"}
    for gate in gates.values():
        gate.max_size = 1 << 40
    house = House(gates, calls=Calls(wait=0.05))
    end = handing(house, "a")
    assert gates["a"].inside.acquire(timeout=DEADLINE)
    assert codes(house.hand("b", size=100 << 20)) == (451, "4.3.2")
    for gate in gates.values():
        gate.open.set()
    assert end()[0] == 250 and house.hand("b", size=100 << 20).code == 250


class Told(logging.Handler):
    def __init__(self):
        super().__init__()
        self.event = threading.Event()

    def emit(self, record):
        if "has not returned" in record.getMessage():
            self.event.set()


def test_a_call_that_takes_long_is_told_and_nobody_waits_behind_it(handing):
    told, gate = Told(), Gate()
    logging.getLogger("phenmail.delivery").addHandler(told)
    try:
        house = House({"it": gate}, calls=Calls(wait=DEADLINE, long=0.02))
        first = handing(house)
        assert gate.inside.acquire(timeout=DEADLINE)
        second = handing(house)
        assert told.event.wait(DEADLINE)
        assert second() == (451, "4.3.2") and codes(house.hand()) == (451, "4.3.2")
        gate.open.set()
        assert first() == (250, "2.0.0") and house.hand().code == 250, "it came back"
    finally:
        logging.getLogger("phenmail.delivery").removeHandler(told)


def test_a_call_that_hangs_does_not_hold_up_the_end(handing, caplog):
    gate = Gate()
    house = House({"it": gate}, calls=Calls())
    end = handing(house)
    assert gate.inside.acquire(timeout=DEADLINE)
    assert not house.plugins.stop(0.2)
    assert "did not return: it" in caplog.text and gate.events == ["start", "stop"]
    assert codes(house.hand()) == (451, "4.3.2")
    gate.open.set()
    assert end()[0] == 250


def test_a_stop_lets_go_of_those_who_wait(handing):
    gate = Gate()
    gate.stop = gate.open.set
    house = House({"it": gate}, calls=Calls(wait=DEADLINE))
    first = handing(house)
    assert gate.inside.acquire(timeout=DEADLINE)
    second = handing(house)
    house.plugins.stop(0.2)
    assert second() == (451, "4.3.2") and first()[0] == 250


def test_nothing_of_the_email_package_is_loaded_before_the_first_message():
    code = ("import sys; from phenmail_protocols.plugins.calling import Plugins\n"
            "plugins = Plugins({}, dict, None); plugins.start(); plugins.stop()\n"
            "print([name for name in sys.modules"
            " if name.startswith('email') or name.startswith('importlib.metadata')"
            " or name.split('.')[-1] in ('echo', 'entrypoints')])")
    assert subprocess.check_output([sys.executable, "-c", code]).strip() == b"[]"
