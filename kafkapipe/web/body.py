"""Reads the body of a request: bounded in bytes, in time and in what it inflates to, of known types."""

import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from .answers import Refusal
from .deadline import Deadline
from .event_template import unescape
from .request import RequestHeaders

Receive = Callable[[], Awaitable[Any]]
Body = bytes | bytearray

MAX_RATIO = 200
"""How many times its size a compressed body may inflate to; JSON of real events reaches 10 to 30."""
_RATIO_FLOOR = 64 * 1024  # below it, a ratio says nothing
_PIECE = 16 * 1024
_MAX_FORM_FIELDS = 1000

_FORM = b"application/x-www-form-urlencoded"
# text/plain is what navigator.sendBeacon sends for a string
_TYPES = frozenset(
    {
        b"application/json",
        b"application/x-ndjson",
        b"application/ndjson",
        b"application/jsonl",
        b"text/plain",
        _FORM,
    }
)
PLAIN_TYPES = frozenset({None, b"text/plain;charset=UTF-8"}) | (_TYPES - {_FORM})
"""Types, as they are mostly written, whose bodies are JSON as they come."""
_PLAIN = (b"", b"identity")
_ZIPPED = (b"gzip", b"x-gzip")


class BodyRules:
    """What bodies of at most ``max_bytes`` a route takes, and how their bytes become JSON."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._digits = len(str(max_bytes))

    def check(self, headers: RequestHeaders) -> None:
        """Judge a body by its headers.

        :raises Refusal: 413 or 415
        """
        kind = headers.get(b"content-type")
        if kind not in PLAIN_TYPES and kind is not None:
            essence = _essence(kind)
            if essence not in _TYPES and not essence.endswith(b"+json"):
                detail = "send JSON, with Content-Type: application/json or application/x-ndjson"
                raise Refusal(415, "unsupported type", detail)
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding.lower() not in _PLAIN + _ZIPPED:
            detail = "send the body as it is, or with Content-Encoding: gzip"
            raise Refusal(
                415, "unsupported encoding", detail, headers=[(b"accept-encoding", b"gzip, identity")]
            )
        declared = headers.get(b"content-length")
        if declared is None or len(declared) < self._digits:
            return
        if declared.isdigit() and int(declared) > self.max_bytes:
            raise self.too_large()

    def open(self, headers: RequestHeaders, body: Body) -> Body:
        """The JSON of a whole body: inflated, a form as one object.

        :raises Refusal: 400 or 413
        """
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding.lower() in _ZIPPED:
            body = self._inflate(body)
        kind = headers.get(b"content-type")
        if kind is not None and _essence(kind) == _FORM:
            return _form(body)
        return body

    def too_large(self) -> Refusal:
        """The refusal of a larger body, which is not worth reading to its end."""
        detail = f"a body here has at most {self.max_bytes} bytes"
        return Refusal(413, "body too large", detail, abandon=True)

    def _inflate(self, body: Body) -> bytes:
        """Piece by piece, so that a bomb is stopped at the limit."""
        most = min(self.max_bytes, max(len(body) * MAX_RATIO, _RATIO_FLOOR))
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        made = bytearray()
        try:
            for at in range(0, len(body), _PIECE):
                made += inflater.decompress(body[at : at + _PIECE], most + 1 - len(made))
                while inflater.unconsumed_tail and len(made) <= most:
                    made += inflater.decompress(inflater.unconsumed_tail, most + 1 - len(made))
                if len(made) > most:
                    detail = (
                        f"a body inflates to {self.max_bytes} bytes and {MAX_RATIO} times its size at most"
                    )
                    raise Refusal(413, "body too large", detail)
        except zlib.error:
            raise Refusal(400, "bad encoding", "the body is no gzip data") from None
        if not inflater.eof or inflater.unused_data:
            detail = (
                "the gzip data is cut short" if not inflater.eof else "there is more behind the gzip data"
            )
            raise Refusal(400, "bad encoding", detail)
        return bytes(made)


class BodyReader:
    """Reads whole bodies from an ASGI server.

    Never holds more than the rules allow and one piece of the server's (64 KiB with uvicorn).
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    async def read(self, rules: BodyRules, receive: Receive) -> Body:
        """The whole body as it came.

        :raises Refusal: 400, 408 or 413
        """
        try:
            with self._deadline:
                return await self._pieces(rules, receive)
        except TimeoutError:
            raise too_slow(self._deadline.seconds) from None

    async def _pieces(self, rules: BodyRules, receive: Receive) -> Body:
        message = await receive()
        body: Body = message.get("body", b"")
        while message.get("more_body") and len(body) <= rules.max_bytes:
            message = await receive()
            if isinstance(body, bytes):
                body = bytearray(body)
            body += message.get("body", b"")
        if message["type"] == "http.disconnect":
            raise Refusal(
                400, "incomplete body", "the connection was closed before the body's end", abandon=True
            )
        if len(body) > rules.max_bytes:
            raise rules.too_large()
        return body


def too_slow(seconds: float) -> Refusal:
    """The refusal of a body that does not come."""
    return Refusal(408, "body too slow", f"the body did not arrive within {seconds:g} s", abandon=True)


def _essence(kind: bytes) -> bytes:
    return kind.partition(b";")[0].strip().lower()


def _form(body: Body) -> bytes:
    """A form as one JSON object, values as text: https://url.spec.whatwg.org/#urlencoded-parsing"""
    fields: dict[str, str] = {}
    pairs = [pair for pair in bytes(body).split(b"&") if pair]
    if len(pairs) > _MAX_FORM_FIELDS:
        raise Refusal(413, "too many fields", f"a form here has at most {_MAX_FORM_FIELDS} fields")
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        texts = _text(name), _text(value)
        if texts[0] in fields:
            raise Refusal(400, "bad value", "the form has a field twice")
        fields[texts[0]] = texts[1]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() if fields else b""


def _text(value: bytes) -> str:
    found = unescape(value)
    try:
        if found is not None:
            return found.decode()
    except UnicodeDecodeError:
        pass
    raise Refusal(400, "bad value", "the form is not percent-encoded UTF-8")
