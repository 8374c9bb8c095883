"""Cross-origin rules of one route: origins match exactly, or all do.

The protocol: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from collections.abc import Iterable, Mapping

from .answers import Headers

_PREFLIGHT_SECONDS = b"86400"


class Cors:
    """What to add to answers so that pages of the allowed origins may read them."""

    def __init__(self, origins: Iterable[str], *, request_headers: Iterable[bytes] = ()) -> None:
        allowed = [origin.encode() for origin in origins]
        self._request_headers = b", ".join([b"content-type", *request_headers])
        self._any: Headers | None = _grant(b"*") if b"*" in allowed else None
        self._others: Headers = [(b"vary", b"origin")] if allowed else []
        self._granted = {origin: [*_grant(origin), *self._others] for origin in allowed}

    @property
    def always(self) -> Headers | None:
        """What every answer carries whatever its request is; None when that depends on the origin."""
        return self._any if self._any is not None or self._granted else self._others

    def headers(self, request: Mapping[bytes, bytes]) -> Headers:
        """What every answer carries, refusals too."""
        if self._any is not None:
            return self._any
        if not self._granted:
            return self._others
        return self._granted.get(request.get(b"origin", b""), self._others)

    def preflight(self, request: Mapping[bytes, bytes], method: str) -> Headers:
        """What the answer to an OPTIONS request about this route carries; no grant for other origins."""
        headers = self.headers(request)
        if headers is self._others:
            return headers
        return [
            *headers,
            (b"access-control-allow-methods", method.encode()),
            (b"access-control-allow-headers", self._request_headers),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
        ]


def _grant(origin: bytes) -> Headers:
    return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", b"retry-after")]
