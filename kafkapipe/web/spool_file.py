"""The file of the spool: events by topic in their order, in SQLite, safe on disk when a write returns.

One thread uses it. Write-ahead log with ``synchronous=FULL``: https://www.sqlite.org/pragma.html#pragma_synchronous
"""

import contextlib
import json
import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError

OVERHEAD = 64
"""Bytes that an event counts beside its own: what the file needs for a row."""

_VERSION = 1
_SCHEMA = """
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
BEGIN EXCLUSIVE;
CREATE TABLE IF NOT EXISTS spool (version INTEGER NOT NULL, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: progress in Kafka is told by it
    topic TEXT NOT NULL,
    at INTEGER NOT NULL, -- milliseconds since 1970
    size INTEGER NOT NULL,
    key BLOB, value BLOB NOT NULL, headers TEXT
);
CREATE INDEX IF NOT EXISTS event_of_topic ON event (topic, id);
COMMIT;
"""

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Row:
    """One event in the spool; a later one has a larger id."""

    id: int
    topic: str
    at: int
    key: bytes | None
    value: bytes
    headers: Headers

    @property
    def size(self) -> int:
        """Bytes that it counts for."""
        named = sum(len(name) + len(value) for name, value in self.headers)
        return OVERHEAD + len(self.value) + len(self.key or b"") + named


class SpoolFile:
    """:raises ConfigError: when it cannot be opened, is another's, or is none of ours"""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"collector.spool: {path}: {error}", op="open spool") from None
        try:
            self._db.executescript(_SCHEMA)
            self.name = self._named()
        except sqlite3.Error as error:
            self.close()
            raise ConfigError(f"collector.spool: {path}: {_why(error)}", op="open spool") from None

    def _named(self) -> str:
        """The name of this spool, made once: it is part of what Kafka knows it by."""
        found = self._db.execute("SELECT version, name FROM spool").fetchone()
        if found is None:
            found = (_VERSION, uuid.uuid4().hex)
            self._db.execute("INSERT INTO spool VALUES (?, ?)", found)
        if found[0] != _VERSION:
            raise sqlite3.DatabaseError(f"it is of version {found[0]}, this program knows {_VERSION}")
        return str(found[1])

    def last_id(self) -> int:
        """The largest id that was ever used."""
        found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
        return int(found[0]) if found else 0

    def totals(self) -> dict[str, tuple[int, int]]:
        """Events and bytes by topic."""
        query = "SELECT topic, count(*), sum(size) FROM event GROUP BY topic"
        return {topic: (events, size) for topic, events, size in self._db.execute(query)}

    def oldest(self) -> int | None:
        """When the first of all events came, in milliseconds since 1970; None when there is none."""
        found = self._db.execute("SELECT at FROM event ORDER BY id LIMIT 1").fetchone()
        return int(found[0]) if found else None

    def head(self, topic: str, most: int, max_bytes: int) -> list[Row]:
        """The first events of a topic, at least one if there is one."""
        rows: list[Row] = []
        query = "SELECT id, topic, at, key, value, headers FROM event WHERE topic = ? ORDER BY id LIMIT ?"
        for row in self._rows(query, (topic, most)):
            max_bytes -= row.size
            if rows and max_bytes < 0:
                break
            rows.append(row)
        return rows

    def of(self, topic: str, before: int) -> list[Row]:
        """The events of a topic with an id below ``before``."""
        query = "SELECT id, topic, at, key, value, headers FROM event WHERE topic = ? AND id < ?"
        return list(self._rows(query, (topic, before)))

    def _rows(self, query: str, values: Sequence[object] = ()) -> Iterable[Row]:
        for number, topic, at, key, value, headers in self._db.execute(query, values):
            yield Row(number, topic, at, key, value, _unpack(headers))

    def begin(self) -> None:
        """Begin a group of changes."""
        self._db.execute("BEGIN IMMEDIATE")

    def add(self, rows: Iterable[Row]) -> None:
        """Part of a group: new events."""
        values = [
            (row.id, row.topic, row.at, row.size, row.key, row.value, _pack(row.headers)) for row in rows
        ]
        self._db.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def remove(self, ids: Iterable[int]) -> None:
        """Part of a group: events that are settled."""
        self._db.executemany("DELETE FROM event WHERE id = ?", [(each,) for each in ids])

    def commit(self) -> None:
        """The group is on disk when this returns."""
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Give the group up."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("ROLLBACK")

    def shrink(self) -> None:
        """Give the disk back what an outage took."""
        self._db.executescript("PRAGMA incremental_vacuum")  # execute() would free one page
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _pack(headers: Headers) -> str | None:
    return json.dumps([(name, value.decode("latin-1")) for name, value in headers]) if headers else None


def _unpack(text: str | None) -> Headers:
    return [(name, value.encode("latin-1")) for name, value in json.loads(text)] if text else ()


def _why(error: sqlite3.Error) -> str:
    if "locked" in str(error):
        return "another program uses it: each collector needs a spool of its own"
    if "not a database" in str(error):
        return "this is no spool: name a file that is not there yet"
    return str(error)
