"""Bounded reads: a range of a topic as a table that pyarrow, polars, duckdb and pandas take as it is."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Self

from . import _bounds, _core, _html, _properties
from ._bounds import Bound
from .errors import ClosedError, ConfigError
from .topics import INTERNAL, validate_topic_name

_SLICE_MS = 100  # between looks at whether there was a Ctrl-C

_TYPES = {
    "topic": "dictionary<int8, string>",
    "partition": "int32",
    "offset": "int64",
    "timestamp": "timestamp[ms, UTC]",
    "timestamp_type": "dictionary<int8, string>",
    "key": "binary",
    "value": "binary",
    "headers": "list<struct<key: string, value: binary>>",
}
_JSON_TYPES = ("string", "int64", "float64", "bool")

_OURS = {
    "enable.partition.eof": "true",
    "enable.auto.commit": "false",
    "auto.commit.enable": "false",
    "enable.auto.offset.store": "false",
    "auto.offset.reset": "error",
}
_NOT_OURS = ("group.id", "group.instance.id")
_DEFAULTS = {
    # librdkafka 2.0 pauses a partition for a second once this much is queued: a read never lets it
    "queued.min.messages": "1000000",
    "queued.max.messages.kbytes": "262144",
    # what a read wants is there: at the end of a partition a long wait only delays the next one
    "fetch.wait.max.ms": "10",
}


@dataclass(frozen=True)
class PartitionRange:
    """The offsets of one partition that a read goes through."""

    partition: int
    start: int
    """Offset of the first record."""
    end: int
    """Offset behind the last record."""

    @property
    def records(self) -> int:
        """Number of offsets: the most records there can be."""
        return self.end - self.start


@dataclass(frozen=True)
class ReadEstimate:
    """What a read will go through, found without reading."""

    topic: str
    partitions: tuple[PartitionRange, ...]
    limit: int | None

    @property
    def records(self) -> int:
        """The most records that there can be.

        There are fewer where compaction or transactions left gaps, or a bound by time leaves some out.
        """
        total = sum(each.records for each in self.partitions)
        return total if self.limit is None else min(total, self.limit)

    def _repr_html_(self) -> str:
        rows = [(each.partition, each.start, each.end, each.records) for each in self.partitions]
        caption = f"{self.topic}: at most {self.records:,} records"
        return _html.table(("partition", "start", "end", "records"), rows, caption)


class Table:
    """A range of a topic; what ``read`` returns.

    The offsets are settled. Records are read once, when they are first asked for: by ``load()``, ``len()``,
    ``head()``, a display in a notebook, or whoever takes the table through the Arrow PyCapsule interface; all
    of these wait for brokers and can be interrupted with Ctrl-C. The memory is shared with those who took it,
    and goes when the last of them lets go. Rows come by partition, then by offset.
    """

    def __init__(self, core: _core.Reader, topic: str, schema: Mapping[str, str], limit: int | None) -> None:
        self._core: _core.Reader | None = core
        self._topic = topic
        self._schema = dict(schema)
        self._limit = limit
        self._loaded = False
        self._lock = threading.Lock()
        self._ranges = tuple(PartitionRange(*each) for each in core.ranges())

    @property
    def topic(self) -> str:
        """The topic that is read."""
        return self._topic

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._schema)

    @property
    def schema(self) -> dict[str, str]:
        """The Arrow type of each column."""
        return dict(self._schema)

    @property
    def num_rows(self) -> int:
        """Number of records."""
        return self._read().length

    def __len__(self) -> int:
        return self.num_rows

    def __bool__(self) -> bool:
        return True  # a table without rows is one, and asking for that reads nothing

    def load(self) -> Self:
        """Read the records now, unless they were read. Raises DeadlineError, which names the broker."""
        self._read()
        return self

    def estimate(self) -> ReadEstimate:
        """Partitions, offsets and the most records there can be; reads nothing."""
        return ReadEstimate(self._topic, self._ranges, self._limit)

    def head(self, rows: int = 10) -> list[dict[str, Any]]:
        """The first rows as dicts: timestamps as datetime in UTC, headers as a list of pairs."""
        return [self._row(values) for values in self._read().head(rows)]

    def __arrow_c_schema__(self) -> object:
        return self._alive().arrow_schema()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        # the interface lets a producer leave a wish for other types to whoever has it
        return self._read().arrow_stream()

    def __repr__(self) -> str:
        state = f"{self._core.length} rows" if self._loaded and self._core else "not read yet"
        return f"<Table {self._topic}: at most {self.estimate().records} records, {state}>"

    def _repr_html_(self) -> str:
        rows = self._read().head(_html.ROWS)
        shown = f", the first {len(rows)}" if len(rows) < self.num_rows else ""
        caption = f"{self._topic}: {self.num_rows:,} rows{shown}"
        return _html.table(self.columns, (self._row(values).values() for values in rows), caption)

    def _row(self, values: Sequence[Any]) -> dict[str, Any]:
        row = dict(zip(self._schema, values, strict=True))
        if self._schema.get("timestamp") == _TYPES["timestamp"]:
            row["timestamp"] = _html.moment(row["timestamp"])
        return row

    def _alive(self) -> _core.Reader:
        if self._core is None:
            raise ClosedError(f"read {self._topic}: reading was interrupted or failed: read again", op="read")
        return self._core

    def _read(self) -> _core.Reader:
        with self._lock:
            core = self._alive()
            if not self._loaded:
                self._core = None  # kept only when it ends well
                core.read()
                _finish(core)
                self._core, self._loaded = core, True
            return core


def read(
    topic: str,
    *,
    start: Bound | Mapping[int, Bound] = "earliest",
    end: Bound | Mapping[int, Bound] = "latest",
    partitions: Iterable[int] | None = None,
    limit: int | None = None,
    columns: Iterable[str] | None = None,
    parse_json: Mapping[str, str] | None = None,
    bootstrap: str | None = None,
    timeout: float = 30.0,
    config: Mapping[str, _properties.Value] | None = None,
    **properties: _properties.Value,
) -> Table:
    """A range of a topic as a table, for notebooks and scripts.

        table = kp.read("colors", start="-1h", columns=["timestamp"], parse_json={"userName": "string"})
        frame = polars.DataFrame(table)         # or pyarrow.table(table), pandas.DataFrame.from_arrow(table)

    Finds the offsets now and reads them later, when they are first asked for: see Table. Reads nothing
    outside of the range, joins no group, commits nothing. Blocks; in a coroutine use ``asyncio.to_thread``.

    ``start`` (inclusive) and ``end`` (exclusive) are an offset, a datetime or its ISO 8601 text, time before
    now like ``"-1h"``, ``"earliest"``, ``"latest"``, or a mapping of partition to any of these, which chooses
    the partitions too unless ``partitions`` does. Offsets that are not there are cut to those that are. A
    bound by time counts for each record, in whatever order their timestamps are; a record without a timestamp
    is in no such range. ``limit`` takes the first rows in the table's order: by partition, then by offset.

    ``columns`` chooses from topic, partition, offset, timestamp, timestamp_type, key, value and headers: what
    is left out is never copied. ``parse_json`` adds a column for each field of the values' JSON, named by a
    dotted path: ``"string"``, ``"int64"``, ``"float64"`` or ``"bool"``; null where a value is no JSON, has no
    such field or another type of it.

    ``timeout`` is how many seconds brokers may be silent, before the offsets are known and between records;
    then DeadlineError says which. Servers and properties are those of Producer; ``isolation_level`` tells
    whether transactions that were not committed are read. Raises ConfigError for arguments that cannot be,
    RejectedError for a topic or partition that is not there.
    """
    chosen = _columns(columns, parse_json or {})
    fields = tuple((parse_json or {}).items())
    if limit is not None and not (isinstance(limit, int) and limit >= 0):
        raise ConfigError(f"read: limit {limit!r:.80}: give 0 or more, or None", op="read")
    if not (isinstance(timeout, int | float) and timeout > 0):
        raise ConfigError(f"read: timeout {timeout!r:.80}: give seconds, more than 0", op="read")
    starts, first = _bounds_by_partition(start, "start", "earliest")
    ends, last = _bounds_by_partition(end, "end", "latest")
    numbers = _numbers([*starts, *ends], partitions)
    if not numbers and (partitions is not None or isinstance(start, Mapping) or isinstance(end, Mapping)):
        raise ConfigError("read: no partitions: name some, or leave them out for all", op="read")
    parts = tuple((number, starts.get(number, first), ends.get(number, last)) for number in numbers)
    by_time = any(kind == "time" for part in (*parts, (0, first, last)) for kind, _ in part[1:])
    given = _settings(_properties.collect(bootstrap, config, properties), None if by_time else limit)
    if topic not in INTERNAL:
        validate_topic_name(topic)
    core = _core.Reader(
        list(given.items()),
        topic,
        (*chosen, *fields),
        parts,
        first,
        last,
        -1 if limit is None else limit,
        max(1, min(int(timeout * 1000), 2**31 - 1)),
    )
    core.ask()
    _finish(core)
    return Table(core, topic, {name: _TYPES[name] for name in chosen} | dict(fields), limit)


def _finish(core: _core.Reader) -> None:
    while not core.wait(_SLICE_MS):
        pass


def _columns(columns: Iterable[str] | None, fields: Mapping[str, str]) -> tuple[str, ...]:
    if isinstance(columns, str):
        raise ConfigError(f'read: columns is the text "{columns}": give a list of names', op="read")
    chosen = tuple(_TYPES) if columns is None else tuple(columns)
    for name in chosen:
        if name not in _TYPES:
            close = get_close_matches(name, _TYPES, n=1)
            advice = f'did you mean "{close[0]}"?' if close else f"there are {', '.join(_TYPES)}"
            raise ConfigError(f'read: there is no column "{name}": {advice}', op="read")
    for path, kind in fields.items():
        if kind not in _JSON_TYPES:
            known = ", ".join(_JSON_TYPES)
            raise ConfigError(f'read: parse_json has the type "{kind}" for {path}: give {known}', op="read")
    both = [name for name in (*chosen, *fields) if (*chosen, *fields).count(name) > 1]
    if both:
        raise ConfigError(f'read: two columns are named "{both[0]}": leave one out of columns=', op="read")
    if not chosen and not fields:
        raise ConfigError("read: no columns: name some in columns= or parse_json=", op="read")
    return chosen


def _bounds_by_partition(
    bound: Bound | Mapping[int, Bound], name: str, otherwise: str
) -> tuple[dict[int, _bounds.CoreBound], _bounds.CoreBound]:
    """The bounds that a mapping has, and the one of all other partitions."""
    if not isinstance(bound, Mapping):
        return {}, _bounds.parse(bound, name)
    return {key: _bounds.parse(each, name) for key, each in bound.items()}, (otherwise, 0)


def _numbers(mapped: Iterable[int], partitions: Iterable[int] | None) -> list[int]:
    if not isinstance(partitions, Iterable | None):
        raise ConfigError(f"read: partitions is {partitions!r:.80}: give a list of numbers", op="read")
    numbers = set(mapped if partitions is None else partitions)
    for number in numbers:
        if not isinstance(number, int) or not 0 <= number < 2**31:
            raise ConfigError(f"read: partition {number!r}: give numbers from 0 up", op="read")
    return sorted(numbers)


def _settings(given: Mapping[str, str], most: int | None) -> dict[str, str]:
    for name in (*_OURS, *_NOT_OURS):
        if name in given:
            raise ConfigError(f"kafka property {name}: not for a bounded read: leave it out", code=name)
    defaults = dict(_DEFAULTS)
    if most is not None:  # what is fetched beyond it is fetched in vain
        defaults["queued.min.messages"] = str(max(1, min(most, int(_DEFAULTS["queued.min.messages"]))))
    return {**_properties.CLIENT_DEFAULTS, **defaults, **given, **_OURS}
