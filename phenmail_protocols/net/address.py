"""Addresses of peers, written one way. Pure."""

import socket


def normalised(name):
    """(host, port) from what getpeername or accept gives: IPv4 mapped into IPv6 becomes IPv4, a scope ("%eth0") goes; Unix: ("", 0)."""
    if not isinstance(name, tuple):
        return ("", 0)
    host = name[0].partition("%")[0]
    if host[:7].lower() == "::ffff:" and "." in host:
        host = host[7:]
    return (host, name[1])


def is_loopback(host):
    """Whether a normalised host is this machine: 127.0.0.0/8, ::1, or "" for a Unix socket."""
    return host in ("", "::1") or host.startswith("127.")


def network(host):
    """What counts as one address for a limit: an IPv4 address; of an IPv6 address the /48, since
    one customer may have all of it."""
    if ":" not in host:
        return host
    try:
        return socket.inet_pton(socket.AF_INET6, host)[:6]
    except OSError:
        return host


def is_outside(host):
    """Whether a normalised host is neither this machine nor of a private network (RFC 1918, 4193, 3927, 6598)."""
    try:
        octets = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):
        return False
    if len(octets) == 16:
        return octets[0] & 0xfe != 0xfc and octets[:2] < b"\xfe\x80" and octets[:15] != bytes(15)
    first, second = octets[:2]
    return not (first in (0, 10, 127) or (first, second) in ((192, 168), (169, 254)) or (first == 172 and 16 <= second < 32)
                or (first == 100 and 64 <= second < 128))
