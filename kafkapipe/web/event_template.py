"""Makes an event's JSON from a request, by the template of its route.

The template is cut up once, when the collector starts: constant JSON text with holes in it. A request costs
one pass over its query string, one look-up for each header, and a join.
"""

import json
import time
from collections.abc import Mapping

from ..errors import ConfigError
from .answers import Refusal

# Strings as JSON in UTF-8: quotes, backslashes and control characters escaped, everything else as it is.
_quote = json.JSONEncoder(ensure_ascii=False).encode

_HEX = "0123456789abcdefABCDEF"
_ESCAPES = {(a + b).encode(): bytes.fromhex(a + b) for a in _HEX for b in _HEX}


class Clock:
    """The local time as ``2026-01-01T10:00:00.000+0900``; what changes once a second is kept."""

    def __init__(self) -> None:
        self._second = -1
        self._head = self._tail = ""

    def __call__(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            local = time.localtime(second)
            self._head, self._tail = time.strftime("%Y-%m-%dT%H:%M:%S.", local), time.strftime("%z", local)
            self._second = second
        return f"{self._head}{int((now - second) * 1000):03d}{self._tail}"


class EventTemplate:
    """The ``event`` of a route: field names and ``$now``, ``$header.NAME``, ``$query.NAME`` or plain text.

    ``max_field`` bounds, in bytes, each value that is taken from a request. ``$$`` begins a plain text with a
    dollar sign.
    """

    def __init__(self, fields: Mapping[str, str], *, max_field: int) -> None:
        self._pieces: list[str] = ["{"]
        self._now: list[int] = []
        self._headers: list[tuple[bytes, int]] = []
        self._query: dict[bytes, list[int]] = {}
        self._max_field = max_field
        self._clock = Clock()
        for number, (name, value) in enumerate(fields.items()):
            self._pieces[-1] += f"{',' if number else ''}{_quote(name)}:"
            self._add(value)
        self._pieces[-1] += "}"

    @property
    def header_names(self) -> list[bytes]:
        """The request headers that it reads, in lower case."""
        return [name for name, _ in self._headers]

    def _add(self, value: str) -> None:
        if not value.startswith("$") or value.startswith("$$"):
            self._pieces[-1] += _quote(value.removeprefix("$"))
            return
        self._pieces += ["", ""]
        hole = len(self._pieces) - 2
        kind, _, name = value.partition(".")
        if value == "$now":
            self._now.append(hole)
        elif kind == "$header" and name:
            self._headers.append((name.lower().encode(), hole))
        elif kind == "$query" and name:
            self._query.setdefault(name.encode(), []).append(hole)
        else:
            raise ConfigError(f"event template: {value!r} is none of $now, $header.NAME, $query.NAME")

    def render(self, headers: Mapping[bytes, bytes], query: bytes) -> bytes:
        """The event as compact JSON, UTF-8, fields in the template's order.

        :param headers: the request's, names in lower case
        :param query: the query string as it came, percent-encoded or raw UTF-8
        :raises Refusal: 400 or 431; names the value that is missing, empty, too long, double or no UTF-8
        """
        pieces = self._pieces.copy()
        values = self._wanted(query)
        missing = [f"query parameter {name.decode()!r}" for name in self._query if not values.get(name)]
        missing += [f"header {name.decode()!r}" for name, _ in self._headers if not headers.get(name)]
        if missing:
            raise Refusal(400, "missing value", f"missing or empty: {', '.join(missing)}")
        for name, holes in self._query.items():
            text = _quote(self._text(values[name], "query parameter", name))
            for hole in holes:
                pieces[hole] = text
        for name, hole in self._headers:
            pieces[hole] = _quote(self._text(headers[name], "header", name))
        for hole in self._now:
            pieces[hole] = f'"{self._clock()}"'
        return "".join(pieces).encode()

    def _wanted(self, query: bytes) -> dict[bytes, bytes]:
        """The parameters that the template names; others are none of our business, malformed or not."""
        values: dict[bytes, bytes] = {}
        for pair in query.split(b"&"):
            name, _, value = pair.partition(b"=")
            if name not in self._query:
                name = unescape(name) or b""
                if name not in self._query:
                    continue
            if name in values:
                raise Refusal(400, "bad value", f"query parameter {name.decode()!r} is given twice")
            decoded = unescape(value)
            if decoded is None:
                raise Refusal(
                    400, "bad value", f"query parameter {name.decode()!r} is not percent-encoded well"
                )
            values[name] = decoded
        return values

    def _text(self, value: bytes, kind: str, name: bytes) -> str:
        if len(value) > self._max_field:
            detail = f"{kind} {name.decode()!r} has {len(value)} bytes; at most {self._max_field} are taken"
            raise Refusal(431 if kind == "header" else 400, "value too long", detail)
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Refusal(400, "bad value", f"{kind} {name.decode()!r} is not UTF-8") from None


def unescape(value: bytes) -> bytes | None:
    """Undoes the percent-encoding of a form (``+`` is a space); None when a ``%`` lacks its two digits."""
    value = value.replace(b"+", b" ")
    if b"%" not in value:
        return value
    head, *escaped = value.split(b"%")
    try:
        return head + b"".join([_ESCAPES[part[:2]] + part[2:] for part in escaped])
    except KeyError:
        return None
