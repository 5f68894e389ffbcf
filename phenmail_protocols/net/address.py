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


def is_local(host):
    """Whether a normalised host is this machine, or has a link-local or private address."""
    octets = _octets(host)
    return host == "" or octets is not None and _is_in(octets, _LOCAL)


def is_outside(host):
    """Whether a normalised host is an address of the internet: in no network of _LOCAL and
    _SPECIAL. IPv6 that carries IPv4 is classified by that."""
    octets = _octets(host)
    if octets is None:
        return False
    if octets[:12] in _CARRIES_IPV4:
        octets = octets[12:]
    elif len(octets) == 16 and octets[:2] == b"\x20\x02":  # 6to4 (RFC 3056)
        octets = octets[2:6]
    return not _is_in(octets, _LOCAL) and not _is_in(octets, _SPECIAL)


# IPv4-compatible and -mapped (RFC 4291 2.5.5), IPv4-translated (RFC 2765 2.1), NAT64 (RFC 6052).
_CARRIES_IPV4 = (bytes(12), bytes(10) + b"\xff\xff", bytes(8) + b"\xff\xff\0\0",
                 b"\x00\x64\xff\x9b" + bytes(8))


def _octets(host):
    """-> the 4 or 16 bytes of an address, or None if it is none."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):
        return None


def _is_in(octets, networks):
    """Whether one of `networks`, as from _table, has this address."""
    number = int.from_bytes(octets, "big")
    return any(size == len(octets) and number >> shift == prefix
               for size, shift, prefix in networks)


def _table(*networks):
    """Networks as ADDRESS/BITS -> rows of (bytes of an address, bits after the prefix, prefix)."""
    rows = []
    for text in networks:
        host, _, bits = text.partition("/")
        octets = _octets(host)
        shift = len(octets) * 8 - int(bits)
        rows.append((len(octets), shift, int.from_bytes(octets, "big") >> shift))
    return tuple(rows)


# From the IANA registries of special-purpose addresses (RFC 6890), of 2025, and of multicast. A
# table, because `ipaddress` knows fewer of them the older the interpreter is.
_LOCAL = _table(
    "127.0.0.0/8", "::1/128",                           # loopback
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",    # private (RFC 1918)
    "fc00::/7",                                         # unique local (RFC 4193)
    "169.254.0.0/16", "fe80::/10")                      # link-local (RFC 3927, RFC 4291)
_SPECIAL = _table(
    "0.0.0.0/8",                                        # this network; also "::"
    "100.64.0.0/10",                                    # shared by customers (RFC 6598)
    "192.0.0.0/24", "2001::/23",                        # protocols; Teredo, ORCHID (RFC 2928)
    "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",    # documentation (RFC 5737)
    "2001:db8::/32", "3fff::/20",                       # documentation (RFC 3849, RFC 9637)
    "192.88.99.0/24",                                   # relays of 6to4, deprecated (RFC 7526)
    "198.18.0.0/15",                                    # benchmarks (RFC 2544)
    "224.0.0.0/4", "ff00::/8",                          # multicast
    "240.0.0.0/4",                                      # reserved, broadcast (RFC 1112)
    "64:ff9b:1::/48",                                   # NAT64 inside a network (RFC 8215)
    "100::/64", "100:0:0:1::/64",                       # discard-only, dummy (RFC 6666, RFC 9780)
    "5f00::/16",                                        # segment routing (RFC 9602)
    "fec0::/10")                                        # site-local, deprecated (RFC 3879)
