"""Web addresses with a host (RFC 3986), as far as this program calls any. Pure."""
import re
from typing import NamedTuple

LONGEST = 2000  # characters
_ADDRESS = re.compile(r"(https?)://(?:([A-Za-z0-9._-]{1,255})|\[([0-9A-Fa-f:.]{2,45})\])"
                      r"(?::([0-9]{1,5}))?((?:[/?](?:[!$&-;=?-Z_a-z~]|%[0-9A-Fa-f]{2})*)?)\Z")
_PORTS = {"http": 80, "https": 443}


class WebAddress(NamedTuple):
    """`scheme`: "http" or "https"; `host`: a name or an address without brackets; `target`: path
    and query, at least "/"."""
    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port as in the field Host: without the scheme's usual port."""
        host = "[%s]" % self.host if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else "%s:%d" % (host, self.port)


def parse(text: str) -> WebAddress:
    """A web address -> its parts. Raises ValueError, also for one with a user or a fragment."""
    found = _ADDRESS.match(text) if len(text) <= LONGEST else None
    if not found:
        raise ValueError("not a web address")
    scheme, name, address, port, target = found.groups()
    number = int(port) if port else _PORTS[scheme]
    if not 0 < number < 65536:
        raise ValueError("not a port number")
    return WebAddress(scheme, name or address, number,
                      target if target.startswith("/") else "/" + target)
