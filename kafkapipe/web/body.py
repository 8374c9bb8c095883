"""Reads the body of a request: bounded in bytes and in time, and only of types that hold JSON."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .answers import Refusal
from .deadline import Deadline

Receive = Callable[[], Awaitable[Any]]
RequestHeaders = Mapping[bytes, bytes]

# text/plain is what navigator.sendBeacon sends for a string
_TYPES = frozenset(
    {b"application/json", b"application/x-ndjson", b"application/ndjson", b"application/jsonl", b"text/plain"}
)


class BodyReader:
    """Reads whole bodies of at most ``max_bytes``.

    Never holds more than that and one piece of the server's (64 KiB with uvicorn).
    """

    def __init__(self, max_bytes: int, deadline: Deadline) -> None:
        self._max_bytes = max_bytes
        self._deadline = deadline

    async def read(self, headers: RequestHeaders, receive: Receive) -> bytes | bytearray:
        """The whole body.

        :raises Refusal: 408, 413 or 415
        """
        _check_type(headers)
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._max_bytes:
            raise self._too_large()
        try:
            with self._deadline:
                return await self._pieces(receive)
        except TimeoutError:
            detail = f"the body did not arrive within {self._deadline.seconds:g} s"
            raise Refusal(408, "body too slow", detail, abandon=True) from None

    async def _pieces(self, receive: Receive) -> bytes | bytearray:
        message = await receive()
        body: bytes | bytearray = message.get("body", b"")
        while message.get("more_body") and len(body) <= self._max_bytes:
            message = await receive()
            if isinstance(body, bytes):
                body = bytearray(body)
            body += message.get("body", b"")
        if message["type"] == "http.disconnect":
            raise Refusal(
                400, "incomplete body", "the connection was closed before the body's end", abandon=True
            )
        if len(body) > self._max_bytes:
            raise self._too_large()
        return body

    def _too_large(self) -> Refusal:
        detail = f"a body here has at most {self._max_bytes} bytes"
        return Refusal(413, "body too large", detail, abandon=True)


def _check_type(headers: RequestHeaders) -> None:
    kind = headers.get(b"content-type")
    if kind is not None and kind not in _TYPES:
        essence = kind.partition(b";")[0].strip().lower()
        if essence not in _TYPES and not essence.endswith(b"+json"):
            detail = "send JSON, with Content-Type: application/json or application/x-ndjson"
            raise Refusal(415, "unsupported type", detail)
    if headers.get(b"content-encoding", b"identity") != b"identity":
        detail = "send the body as it is, without Content-Encoding"
        raise Refusal(415, "unsupported encoding", detail, headers=[(b"accept-encoding", b"identity")])
