"""A request as the routes see it, whichever server took it in."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from .answers import Headers

if TYPE_CHECKING:
    from .keys import Key
    from .routes import Route

RequestHeaders = Mapping[bytes, bytes]

NOTHING_MORE: Headers = []
"""No headers besides those of the answer itself."""
_NO_PARAMETERS: Mapping[str, bytes] = {}


class Request:
    """The head of one request; the collector notes here what it found out about it."""

    __slots__ = ("headers", "key", "method", "more", "parameters", "path", "peer", "query", "route", "target")

    def __init__(  # noqa: PLR0917 - made for every request: keywords cost
        self, method: str, path: bytes, query: bytes, headers: RequestHeaders, peer: str, target: bytes
    ) -> None:
        self.method = method
        self.path = path
        """Percent-decoded."""
        self.query = query
        """As it came."""
        self.headers = headers
        """Names in lower case; repeated ones joined by commas."""
        self.peer = peer
        """Address of who is connected."""
        self.target = target
        """Path and query as they came: what a signature covers."""
        self.parameters = _NO_PARAMETERS
        """Parts of the path that the route names."""
        self.route: Route | None = None
        self.more = NOTHING_MORE
        """Headers of the answer that the route's CORS rules add."""
        self.key: Key | None = None
        """The write key that was used."""


def join_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name; values of a repeated one joined as RFC 9110, section 5.3, has it."""
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        found[name] = found[name] + b", " + value if name in found else value
    return found


class Addresses:
    """Who sent a request: the peer, or whom a trusted proxy says it stands for.

    Of ``X-Forwarded-For`` the rightmost address counts that is no trusted proxy's: what is left of it, its
    sender may have made up.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted = [ip_network(each, strict=False) for each in trusted]

    def of(self, request: Request) -> str:
        """The address as text."""
        if not self._trusted or not self._trusts(request.peer):
            return request.peer
        address = request.peer
        for hop in reversed(request.headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")):
            each = _bare(hop.strip())
            if not each:
                break
            address = each
            if not self._trusts(each):
                break
        return address

    def _trusts(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)


def _bare(hop: str) -> str:
    """The address without port or brackets; empty when it is none."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ip_address(hop))
    except ValueError:
        return ""


def network_of(address: str) -> str:
    """What a rate counts as one sender: an IPv4 address, the /64 network of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        found = ip_address(address)
    except ValueError:
        return address
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped) if mapped else str(ip_network((int(found) >> 64 << 64, 64)))
