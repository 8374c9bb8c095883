"""The mapping of an index for a pipeline's events: from what makes them, and from a sample of the topic.

A server that guesses looks at the first document alone: a number that happened to be whole makes the field
a long for ever, and every later fraction is cut or refused. Here each field says why it got its type.
"""

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._event_values import Value, parse

DATE = {
    "type": "date",
    "format": "strict_date_optional_time||yyyy-MM-dd'T'HH:mm:ss.SSSZ||epoch_millis",
}
KEYWORD = {"type": "keyword", "ignore_above": 8191}
TEXT = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 1024}}}
NOT_INDEXED = {"type": "object", "enabled": False}

_FIELDS_MAX = 500
_DEPTH_MAX = 8
_WORD_MAX = 64  # characters of text that is a name rather than prose
_DAY = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_ISO = re.compile(rf"{_DAY}(?:T\d\d:\d\d(?::\d\d(?:\.\d{{1,9}})?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_TIME_NAME = re.compile(
    r"(?:^|[^a-z])(?:time|date|timestamp|ts|at)(?:$|[^a-z])|timestamp|[a-z](?:Time|Date|At)$"
)
_MS = range(978_307_200_000, 4_102_444_800_000)  # the years 2001 to 2099


@dataclass(frozen=True)
class MappedField:
    """One field of a mapping."""

    path: str
    """Dotted, from the top of the event."""
    mapping: Mapping[str, Any]
    """As the server takes it."""
    why: str
    """What the type was found by."""


@dataclass
class Seen:
    """What a sample had at one place: how many values of each kind."""

    kinds: dict[str, int] = field(default_factory=dict)
    dates: int = 0
    addresses: int = 0
    longest: int = 0
    spaces: bool = False
    outside_long: bool = False
    outside_ms: bool = False
    children: dict[str, "Seen"] = field(default_factory=dict)

    def add(self, value: Any, depth: int = 0) -> None:
        """Counts a value; of a list, its members."""
        if isinstance(value, list):
            for each in value:
                self.add(each, depth)
            return
        kind = _kind(value)
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if isinstance(value, str):
            self._add_text(value)
        elif kind == "long":
            self.outside_long |= not -(2**63) <= value < 2**63
            self.outside_ms |= value not in _MS
        elif kind == "object" and depth < _DEPTH_MAX:
            for name, child in value.items():
                if name.strip("."):
                    self.children.setdefault(name, Seen()).add(child, depth + 1)

    def _add_text(self, value: str) -> None:
        self.longest = max(self.longest, len(value))
        self.spaces |= " " in value or "\n" in value
        self.dates += _ISO.fullmatch(value) is not None
        self.addresses += _is_address(value)

    @property
    def values(self) -> set[str]:
        """The kinds, apart from null."""
        return set(self.kinds) - {"null"}

    @property
    def count(self) -> int:
        """How many values there were, apart from null."""
        return sum(self.kinds.values()) - self.kinds.get("null", 0)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "long"
    if isinstance(value, float):
        return "double"
    return "string" if isinstance(value, str) else "object"


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def sample(values: Iterable[bytes | None]) -> tuple[Seen, int]:
    """What these values have, and how many of them are JSON objects."""
    seen, objects = Seen(), 0
    for value in values:
        try:
            document = json.loads(value or b"")
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            seen.add(document)
            objects += 1
    return seen, objects


def fields_of(events: Iterable[tuple[str, Mapping[str, Any]]], seen: Seen) -> list[MappedField]:
    """The fields, by path: ``events`` are routes' names and event templates, ``seen`` is a sample."""
    found = {each.path: each for each in _from_sample("", "", seen)}
    for route, event in events:
        for made in _from_event("", event, route):
            at = _look_up(seen, made.path)
            if at is None or not at.count or _fits(made.mapping, at):
                found[made.path] = made
    # a path below one that is a value itself would make the mapping contradict itself
    paths = [path for path in found if not any(path.startswith(f"{other}.") for other in found)]
    return [found[path] for path in sorted(paths)][:_FIELDS_MAX]


def body_of(fields: Iterable[MappedField]) -> dict[str, Any]:
    """The mapping, as the server takes it; text in fields that are not named becomes a keyword."""
    properties: dict[str, Any] = {}
    for each in fields:
        *folders, name = each.path.split(".")
        at = properties
        for folder in folders:
            at = at.setdefault(folder, {"properties": {}})["properties"]
        at[name] = dict(each.mapping)
    texts = {"texts": {"match_mapping_type": "string", "mapping": KEYWORD}}
    return {"dynamic_templates": [texts], "properties": properties}


# ---- from an event template


def _from_event(prefix: str, event: Mapping[str, Any], route: str) -> Iterable[MappedField]:
    for name, value in event.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _from_event(f"{path}.", value, route)
        elif mapping := _made_by(value):
            yield MappedField(path, mapping, f"{route}: {value}")


def _made_by(value: Any) -> Mapping[str, Any] | None:
    """The mapping of what a template's value makes; None where only the event itself tells."""
    if not isinstance(value, str):
        kind = _kind(value)
        return {"type": kind} if kind in ("boolean", "long", "double") else None
    try:
        meant = parse(value)
    except ValueError:
        return KEYWORD
    if not isinstance(meant, Value):
        return KEYWORD
    kinds: dict[str, Mapping[str, Any] | None]
    kinds = {"now": DATE, "ip": {"type": "ip"}, "header": TEXT, "body": None}
    return kinds.get(meant.kind, KEYWORD)


def _look_up(seen: Seen, path: str) -> Seen | None:
    at: Seen | None = seen
    for name in path.split("."):
        at = at.children.get(name) if at else None
    return at


def _fits(mapping: Mapping[str, Any], seen: Seen) -> bool:
    """Whether every value of the sample would be taken."""
    if mapping["type"] == "date":
        return seen.values == {"string"} and seen.dates == seen.count
    if mapping["type"] == "ip":
        return seen.values == {"string"} and seen.addresses == seen.count
    if mapping["type"] in ("long", "double", "boolean"):
        return seen.values <= {mapping["type"], "long"}
    return "object" not in seen.values


# ---- from a sample


def _from_sample(path: str, name: str, seen: Seen) -> Iterable[MappedField]:
    if not path or seen.values == {"object"}:
        for child, below in seen.children.items():
            yield from _from_sample(f"{path}.{child}" if path else child, child, below)
    elif seen.count:
        mapping, why = _judge(name, seen)
        yield MappedField(path, mapping, f"sample: {seen.count} values, {why}")


def _judge(name: str, seen: Seen) -> tuple[Mapping[str, Any], str]:
    kinds = seen.values
    if "object" in kinds:
        return NOT_INDEXED, "objects and others: kept, but not searchable"
    if kinds == {"boolean"}:
        return {"type": "boolean"}, "true or false"
    if kinds == {"long"}:
        return _judge_whole(name, seen)
    if kinds <= {"long", "double"}:
        return {"type": "double"}, "numbers with fractions"
    if kinds == {"string"}:
        return _judge_text(seen)
    return KEYWORD, f"of several kinds: {', '.join(sorted(kinds))}"


def _judge_whole(name: str, seen: Seen) -> tuple[Mapping[str, Any], str]:
    if seen.outside_long:
        return KEYWORD, "whole numbers that no long holds"
    if not seen.outside_ms and _TIME_NAME.search(name):
        return {"type": "date", "format": "epoch_millis"}, "milliseconds since 1970, by name and size"
    return {"type": "long"}, "whole numbers"


def _judge_text(seen: Seen) -> tuple[Mapping[str, Any], str]:
    if seen.dates == seen.count:
        return DATE, "dates"
    if seen.addresses == seen.count:
        return {"type": "ip"}, "addresses"
    if seen.longest > _WORD_MAX and seen.spaces:
        return TEXT, "long text"
    return KEYWORD, "short text"
