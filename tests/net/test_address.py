"""Peer addresses, written one way."""

import pytest

from phenmail_protocols.net import address
from phenmail_protocols.net.address import (
    is_local,
    is_loopback,
    is_outside,
    network,
    normalised,
)


@pytest.mark.parametrize("name, expected", [
    (("192.0.2.1", 25), ("192.0.2.1", 25)),
    (("::1", 25, 0, 0), ("::1", 25)),
    (("2001:db8::1", 25, 0, 0), ("2001:db8::1", 25)),
    (("fe80::1%eth0", 25, 0, 2), ("fe80::1", 25)),
    (("::ffff:192.0.2.1", 25, 0, 0), ("192.0.2.1", 25)),
    (("::FFFF:192.0.2.1", 25, 0, 0), ("192.0.2.1", 25)),
    (("::ffff:0:1", 25, 0, 0), ("::ffff:0:1", 25)),
    ("", ("", 0)),
    ("/run/lmtp", ("", 0)),
    (b"", ("", 0)),
    (None, ("", 0)),
])
def test_normalised(name, expected):
    assert normalised(name) == expected


@pytest.mark.parametrize("host, expected", [
    ("127.0.0.1", True), ("127.8.9.10", True), ("::1", True), ("", True),
    ("192.0.2.1", False), ("12.7.0.1", False), ("::2", False), ("2001:db8::1", False),
    ("10.127.0.1", False),
])
def test_loopback(host, expected):
    assert is_loopback(host) is expected


def test_what_is_no_address_is_its_own_network():
    assert network("::not:an:address::") == "::not:an:address::"


@pytest.mark.parametrize("text, ip", [
    ("[192.0.2.1]", "192.0.2.1"), ("[IPv6:::1]", "::1"), ("[ipv6:2001:DB8:0::1]", "2001:db8::1"),
    ("[IPv6:::ffff:192.0.2.1]", "192.0.2.1"),
    ("192.0.2.1", None), ("[192.0.2]", None), ("[::1]", None), ("[IPv6:192.0.2.1]", None),
    ("[]", None), ("", None), ("[a\0b]", None)])
def test_address_literals(text, ip):
    assert address.literal_ip(text) == ip


def test_where_a_listener_is_reached(monkeypatch):
    monkeypatch.setattr(address, "source", lambda ip: "192.0.2.7")
    asked = ("192.0.2.1", "127.0.0.1", "::1", "192.0.2.7", "2001:db8::1")
    for hosts, there in ((["192.0.2.1"], ["192.0.2.1"]), ([], []),
                         (["0.0.0.0"], ["127.0.0.1", "::1", "192.0.2.7"])):
        assert [ip for ip in asked if address.is_served(ip, hosts)] == there


LOCAL = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "169.254.169.254", "::1", "fe80::1", "febf::1", "fc00::1", "fdff::1", ""]
INSIDE = [
    "0.0.0.0", "0.1.2.3", "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1",
    "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.255", "224.0.0.1",
    "239.1.2.3", "240.0.0.1", "255.255.255.255",
    "::", "100::1", "100:0:0:1::1", "2001::1", "2001:2::1", "2001:1ff:ffff::1", "2001:db8::1",
    "3fff::1", "3fff:fff::1", "5f00::1", "fec0::1", "feff::1", "ff02::1", "ff0e::1",
    "64:ff9b:1::1", "64:ff9b:1::808:808", "64:ff9b:1:ffff::1",
    "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:a00:1", "::ffff:0.0.0.0", "::ffff:0:1",
    "::ffff:6440:1", "::ffff:c000:201", "::ffff:0:127.0.0.1", "::ffff:0:a00:1", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b::192.0.0.1", "64:ff9b::198.18.0.1",
    "64:ff9b::f000:1",
    "2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::1", "2002:6440:1::1", "2002:c612:1::",
    "2002:f000:1::",
    "localhost", "1.2.3", "::g"]
OUTSIDE = [
    "1.0.0.1", "9.255.255.255", "11.0.0.1", "172.15.0.1", "172.32.0.1", "192.167.0.1",
    "192.0.1.1", "192.0.3.1", "192.88.98.1", "169.253.0.1", "100.63.0.1", "100.128.0.1",
    "126.0.0.1", "128.0.0.1", "198.17.255.255", "198.20.0.1", "198.51.101.1", "203.0.112.1",
    "223.255.255.255", "2001:200::1", "2001:db7::1", "2001:db9::1", "2003::1", "2a00::1",
    "3ffe::1", "3fff:1000::1",
    "::ffff:8.8.8.8", "::ffff:808:808", "::ffff:0:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]


@pytest.mark.parametrize("host, expected",
                         [(host, True) for host in LOCAL]
                         + [(host, False) for host in INSIDE + OUTSIDE])
def test_local(host, expected):
    assert is_local(host) is expected


@pytest.mark.parametrize("host, expected",
                         [(host, False) for host in LOCAL + INSIDE]
                         + [(host, True) for host in OUTSIDE])
def test_outside(host, expected):
    assert is_outside(host) is expected
