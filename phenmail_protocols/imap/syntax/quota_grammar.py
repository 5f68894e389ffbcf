"""The arguments of GETQUOTA and SETQUOTA (RFC 9208 section 7). Pure."""
from . import values

_LARGEST = (1 << 63) - 1


def root(scan):
    """quota-root-name -> bytes"""
    return scan.astring("a quota root")


def set_quota(scan):
    """-> values.SetQuota"""
    name = root(scan)
    scan.space()
    scan.expect(b"(", "a list of resources")
    limits = [] if scan.skip(b")") else scan.items(lambda: _resource(scan))
    return values.SetQuota(name, dict(limits))


def _resource(scan):
    name = scan.keyword("a resource")
    scan.space()
    return name, scan.number("a limit", _LARGEST)
