"""The arguments of GETQUOTA and SETQUOTA (RFC 9208 section 7). Pure."""

_LARGEST = (1 << 63) - 1


def root(scan):
    """quota-root-name -> bytes"""
    return scan.astring("a quota root")


def set_quota(scan):
    """-> (root, {resource: limit}), resources in upper case"""
    name = root(scan)
    scan.space()
    scan.expect(b"(", "a list of resources")
    return name, {} if scan.skip(b")") else dict(scan.items(lambda: _resource(scan)))


def _resource(scan):
    name = scan.keyword("a resource")
    scan.space()
    return name, scan.number("a limit", _LARGEST)
