"""How objects look in a notebook: HTML tables, every text escaped, bounded in rows and in characters.

The C types call ``batch``, ``record``, ``result`` and ``metadata``; dataclasses are ``Shown``, lists of
them ``Rows``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from ._bounds import EPOCH
from .errors import KafkaPipeError

if TYPE_CHECKING:
    from ._core import Batch, BatchResult, Record, RecordMetadata

ROWS, CHARACTERS = 20, 100
"""The most that is shown of a table, and of one cell."""

T = TypeVar("T")

_RECORD = ("topic", "partition", "offset", "timestamp", "key", "value", "headers")


class Shown:
    """A dataclass that is a table of its fields: name and value."""

    def _repr_html_(self) -> str:
        return mapping(_fields(self), type(self).__name__)


class Rows(list[T]):
    """A list of dataclass objects that is a table in a notebook: one row each."""

    def _repr_html_(self) -> str:
        return objects(self, "")


def table(columns: Iterable[str], rows: Iterable[Iterable[object]], caption: str) -> str:
    """The first rows under their columns."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(_row(row) for row in islice(rows, ROWS))
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def objects(items: Collection[Any], caption: str) -> str:
    """One row for each dataclass object, all of one class."""
    first = next(iter(items), None)
    rows = (_fields(each).values() for each in items)
    return table(_fields(first) if first is not None else (), rows, _caption(caption, len(items)))


def mapping(values: Mapping[str, object], caption: str) -> str:
    """Two columns: name and value."""
    return table(("", ""), values.items(), caption)


def moment(milliseconds: int | None) -> datetime | int | None:
    """The time in UTC; a year beyond what datetime knows stays a number."""
    try:
        return None if milliseconds is None else EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return milliseconds


def batch(records: "Batch") -> str:
    """Of a consumer's batch."""
    return table(_RECORD, map(_record, records), _caption("Batch", len(records)))


def record(one: "Record") -> str:
    """Of one record."""
    return mapping(dict(zip(_RECORD, _record(one), strict=True)), "Record")


def result(outcomes: "BatchResult") -> str:
    """Of what became of the messages of a batch: those that failed are named."""
    failed = outcomes.failed
    rows = ((index, type(error).__name__, error.code, error.message) for index, error in failed)
    caption = f"{outcomes.delivered:,} delivered, {len(failed):,} failed"
    if not failed:
        return table(("partition", "messages"), _by_partition(outcomes), caption)
    return table(("message", "error", "code", "what"), rows, _caption(caption, len(failed)))


def metadata(one: "RecordMetadata") -> str:
    """Of where a message is."""
    values = {"topic": one.topic, "partition": one.partition, "offset": one.offset}
    return mapping({**values, "timestamp": _known(one.timestamp)}, "RecordMetadata")


def _by_partition(outcomes: "BatchResult") -> Sequence[tuple[int, int]]:
    counts: dict[int, int] = {}
    for each in map(outcomes.__getitem__, range(len(outcomes))):
        if not isinstance(each, KafkaPipeError):
            counts[each.partition] = counts.get(each.partition, 0) + 1
    return sorted(counts.items())


def _record(one: "Record") -> tuple[object, ...]:
    return (
        one.topic, one.partition, one.offset, _known(one.timestamp), one.key, one.value, one.headers,
    )  # fmt: skip


def _known(timestamp: int) -> datetime | int | None:
    return moment(timestamp) if timestamp >= 0 else None


def _fields(one: Any) -> dict[str, object]:
    """The fields that the object's text shows."""
    return {each.name: getattr(one, each.name) for each in fields(one) if each.repr}


def _caption(what: str, count: int) -> str:
    if count <= ROWS:
        return what
    return f"{what}{': ' if what else ''}the first {ROWS} of {count:,}"


def _row(values: Iterable[object]) -> str:
    return f"<tr>{''.join(f'<td>{escape(cell(each))}</td>' for each in values)}</tr>"


def cell(value: object) -> str:
    """One value as text; what is not there is empty."""
    text = _text(value).encode(errors="replace").decode()  # a header's name need not be UTF-8
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}…"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value[: 4 * CHARACTERS + 4].decode(errors="replace")
    if isinstance(value, datetime):
        return value.isoformat(" ", "milliseconds") if value.microsecond else value.isoformat(" ")
    if isinstance(value, Mapping):
        return ", ".join(f"{_text(name)}={_text(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_item(each) for each in islice(value, CHARACTERS))
    return str(value)


def _item(value: object) -> str:
    """What stands in a list: a header, a partition of a topic, or anything else."""
    if isinstance(value, tuple) and len(value) == 2:
        name, what = value
        return f"{_text(name)} [{what}]" if isinstance(what, int) else f"{_text(name)}={_text(what)}"
    return _text(value)
