"""uvicorn's protocol, a little more forgiving in one point and plainer in its refusals."""

import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .answers import Refusal

log = logging.getLogger("kafkapipe.http")


class PlainProtocol(HttpToolsProtocol):
    """uvicorn's protocol that also takes a URL in raw UTF-8, as ``curl 'http://…?user=홍길동'`` sends it.

    RFC 3986 wants that percent-encoded and httptools refuses anything else, so it is done here, byte by byte.
    Only in a request line that opens a packet, as that of a client that waits for its answers does; no other
    byte is touched.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = log

    def data_received(self, data: bytes) -> None:
        if not data.isascii() and self._between_requests():
            data = escape_line(data)
        super().data_received(data)

    def _between_requests(self) -> bool:
        if self.scope is None or self.cycle is None:
            return self.scope is None
        return self.cycle.scope is self.scope and not self.cycle.more_body

    def send_400_response(self, msg: str) -> None:
        refusal = not_http().answer()
        lines = [b"%s: %s\r\n" % header for header in refusal.headers]
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + b"".join(lines) + b"\r\n" + refusal.body)
        self.transport.close()


def not_http() -> Refusal:
    """The refusal of bytes that are no request."""
    return Refusal(400, "bad request", "this is no HTTP/1.1 request", abandon=True)


def escape_line(data: bytes) -> bytes:
    """Percent-encodes what is not ASCII in the first line."""
    end = data.find(b"\n")
    line = data if end < 0 else data[:end]
    if line.isascii():
        return data
    return b"".join([b"%c" % byte if byte < 0x80 else b"%%%02X" % byte for byte in line]) + data[len(line) :]
