"""Makes events, keys and record headers from a request, by the templates of its route.

The templates are cut up once, when the collector starts: constant bytes with holes in them. A request costs
one pass over its query string, one look-up for each header that a template names, and a join.
"""

import json
import time
from collections.abc import Callable, Mapping
from uuid import uuid4

from .. import _core
from .._event_values import Value, parse, pieces
from .answers import Refusal
from .request import Request

# Strings as JSON in UTF-8: quotes, backslashes and control characters escaped, everything else as it is.
_quote = json.JSONEncoder(ensure_ascii=False).encode

_HEX = "0123456789abcdefABCDEF"
_ESCAPES = {(a + b).encode(): bytes.fromhex(a + b) for a in _HEX for b in _HEX}

Values = list[bytes | None]
"""What was read for each slot of a Source: UTF-8 text, of ``$body`` JSON; None where it is missing."""


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


class EventProblem(Exception):  # noqa: N818 - as a Refusal, of one event
    """Why one event of a body cannot be taken."""


class Source:
    """What the templates of one route take from a request, each value in a slot of its own.

    ``max_field`` bounds, in bytes, each value that is taken from a header, the query or the path.
    """

    def __init__(
        self, *, max_field: int, address: Callable[[Request], str] = lambda request: request.peer
    ) -> None:
        self._max_field = max_field
        self._address = address
        self._clock = Clock()
        self._slots: list[Value] = []
        self._query: dict[bytes, list[int]] = {}
        self._headers: list[tuple[bytes, int]] = []
        self._parts: list[tuple[str, int]] = []
        self._others: list[tuple[str, int]] = []
        self._fields: list[tuple[str, int]] = []
        self._per_event: list[tuple[str, int]] = []
        self._order: list[int] = []  # the slots whose values a stranger writes, outside the body

    @property
    def header_names(self) -> list[bytes]:
        """The request headers that it reads, in lower case."""
        return [name for name, _ in self._headers]

    def slot(self, value: Value) -> int:
        """The number of this value's slot."""
        for number, known in enumerate(self._slots):
            if known == value:
                return number
        number = len(self._slots)
        self._slots.append(value)
        if value.kind == "query":
            self._query.setdefault(value.name.encode(), []).append(number)
        elif value.kind == "header":
            self._headers.append((value.name.encode(), number))
        elif value.kind == "path":
            self._parts.append((value.name, number))
        elif value.kind == "body" and value.name:
            self._fields.append((value.name, number))
        elif value.kind in ("body", "uuid"):
            self._per_event.append((value.kind, number))
        else:
            self._others.append((value.kind, number))
        self._order = [each for numbers in self._query.values() for each in numbers]
        self._order += [each for _, each in self._headers] + [each for _, each in self._parts]
        return number

    def read(self, request: Request) -> Values:
        """What the request itself holds.

        :raises Refusal: 400 or 431; names the value that is missing, empty, too long, double or no UTF-8
        """
        values: Values = [None] * len(self._slots)
        if self._query:
            for name, value in self._wanted(request.query).items():
                for number in self._query[name]:
                    values[number] = value or None
        for name, number in self._headers:
            values[number] = request.headers.get(name) or None
        for part, number in self._parts:
            values[number] = request.parameters[part]
        self._check(values)
        for kind, number in self._others:
            values[number] = (self._clock() if kind == "now" else self._address(request)).encode()
        return values

    def read_event(self, values: Values, event: bytes) -> Values:
        """The same with what one event of the body holds; EventProblem when it lacks a field."""
        if not self._fields and not self._per_event:
            return values
        values = values.copy()
        for kind, number in self._per_event:
            values[number] = event if kind == "body" else str(uuid4()).encode()
        if self._fields:
            found = _core.json_fields(event, [name for name, _ in self._fields])
            for (_, number), value in zip(self._fields, found, strict=True):
                if value is None and not self._slots[number].optional:
                    raise EventProblem(f"{self._slots[number].label} is missing")
                values[number] = value
        return values

    def _wanted(self, query: bytes) -> dict[bytes, bytes]:
        """The parameters that the templates name; others are none of our business, malformed or not."""
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

    def _check(self, values: Values) -> None:
        missing = [
            self._slots[number].label
            for number in self._order
            if values[number] is None and not self._slots[number].optional
        ]
        if missing:
            raise Refusal(400, "missing value", f"missing or empty: {', '.join(dict.fromkeys(missing))}")
        for number in self._order:
            value = values[number]
            if value is not None and (len(value) > self._max_field or not value.isascii()):
                self._check_text(value, self._slots[number])

    def _check_text(self, value: bytes, source: Value) -> None:
        if len(value) > self._max_field:
            detail = f"{source.label} has {len(value)} bytes; at most {self._max_field} are taken"
            raise Refusal(431 if source.kind == "header" else 400, "value too long", detail)
        try:
            value.decode()
        except UnicodeDecodeError:
            raise Refusal(400, "bad value", f"{source.label} is not UTF-8") from None


class EventTemplate:
    """The ``event`` of a route: names of fields, and values or constants."""

    def __init__(self, fields: Mapping[str, object], source: Source) -> None:
        self._pieces: list[bytes] = [b"{"]
        self._holes: list[tuple[int, int, bool]] = []  # piece, slot, whether it holds JSON already
        for number, (name, value) in enumerate(fields.items()):
            self._pieces[-1] += f"{',' if number else ''}{_quote(name)}:".encode()
            self._add(parse(value) if isinstance(value, str) else value, source)
        self._pieces[-1] += b"}"

    def _add(self, value: object, source: Source) -> None:
        if not isinstance(value, Value):
            self._pieces[-1] += json.dumps(value, ensure_ascii=False).encode()
            return
        self._pieces += [b"null", b""]
        self._holes.append((len(self._pieces) - 2, source.slot(value), value.kind == "body"))

    def render(self, values: Values) -> bytes:
        """The event as compact JSON in UTF-8, in the template's order; ``$body`` keeps its exact bytes."""
        made = self._pieces.copy()
        for piece, slot, is_json in self._holes:
            value = values[slot]
            if value is not None:
                made[piece] = value if is_json else _quote(value.decode()).encode()
        return b"".join(made)


class TextTemplate:
    """A key, a record header's value, a topic's name or an event's id: text put together from values."""

    def __init__(self, text: str, source: Source) -> None:
        self._pieces: list[bytes | tuple[int, bool]] = [
            (source.slot(each), each.kind == "body") if isinstance(each, Value) else each.encode()
            for each in pieces(text)
        ]

    def render(self, values: Values) -> bytes | None:
        """The text in UTF-8; None when there is nothing in it."""
        made = b"".join([each if isinstance(each, bytes) else _text(values, *each) for each in self._pieces])
        return made or None


def _text(values: Values, slot: int, is_json: bool) -> bytes:
    value = values[slot]
    if value is None or (is_json and value == b"null"):
        return b""
    if is_json and value.startswith(b'"'):
        return str(json.loads(value)).encode()
    return value


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


def unescape_path(path: bytes) -> bytes:
    """The same for a path, where ``+`` is itself and what is no escape stays as it is."""
    head, *escaped = path.split(b"%")
    return head + b"".join([_ESCAPES.get(part[:2], b"%" + part[:2]) + part[2:] for part in escaped])
