"""IP addresses of peers, in one form. Pure, except `source`."""
import socket


def normalised(name):
    """-> (host, port) from the result of getpeername or accept; Unix: ("", 0).

    An IPv4 address in IPv6 form becomes IPv4, and a scope ("%eth0") is removed.
    """
    if not isinstance(name, tuple):
        return ("", 0)
    host = name[0].partition("%")[0]
    if host[:7].lower() == "::ffff:" and "." in host:
        host = host[7:]
    return (host, name[1])


def is_loopback(host):
    """Whether a normalised host is this machine: 127.0.0.0/8, ::1, or "" for a Unix socket."""
    return host in ("", "::1") or host.startswith("127.")


def literal_ip(text):
    """"[192.0.2.1]" or "[IPv6:::1]" (RFC 5321 4.1.3) -> the normalised address, or None."""
    if text[:1] != "[" or text[-1:] != "]":
        return None
    inner = text[1:-1]
    family = socket.AF_INET
    if inner[:5].lower() == "ipv6:":
        family, inner = socket.AF_INET6, inner[5:]
    try:
        return normalised((socket.inet_ntop(family, socket.inet_pton(family, inner)), 0))[0]
    except (OSError, ValueError):
        return None


EVERYWHERE = ("", "0.0.0.0", "::")  # hosts that stand for all addresses of this machine


def is_served(ip, hosts):
    """Whether a listener on `hosts` is reached at the normalised address `ip`."""
    if any(host in hosts for host in EVERYWHERE) and (is_loopback(ip) or source(ip) == ip):
        return True
    return ip in hosts


def source(ip):
    """The address that packets to `ip` would come from, or None without a route.

    It is `ip` itself if that is this machine's. Nothing is sent.
    """
    try:
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((ip, 9))
            return sock.getsockname()[0]
    except OSError:
        return None


def network(host):
    """What counts as one address for a limit: an IPv4 address, or an IPv6 /48, because one customer
    may have all of it."""
    if ":" not in host:
        return host
    try:
        return socket.inet_pton(socket.AF_INET6, host)[:6]
    except OSError:
        return host


def is_outside(host):
    """Whether a normalised host is an address of the internet.

    Not this machine, nor private, shared, link-local, multicast or reserved (RFC 1918, 4193, 3927,
    6598, 1112). IPv6 that carries IPv4 is classified by that.
    """
    try:
        octets = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):
        return False
    if len(octets) == 4:
        return _is_outside_4(octets)
    if octets[:12] in _CARRIES_IPV4:
        return _is_outside_4(octets[12:])
    if octets[:2] == b"\x20\x02":  # 6to4 (RFC 3056)
        return _is_outside_4(octets[2:6])
    return octets[0] & 0xfe != 0xfc and octets[:2] < b"\xfe\x80"


# IPv4-compatible and IPv4-mapped (RFC 4291 2.5.5), NAT64 (RFC 6052).
_CARRIES_IPV4 = (bytes(12), bytes(10) + b"\xff\xff", b"\x00\x64\xff\x9b" + bytes(8))


def _is_outside_4(octets):
    first, second = octets[:2]
    return not (first in (0, 10, 127) or first >= 224
                or (first, second) in ((192, 168), (169, 254))
                or (first == 172 and 16 <= second < 32) or (first == 100 and 64 <= second < 128))
