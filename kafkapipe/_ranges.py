"""What a bounded run of a pipeline reads, and how the same run is found again after it was interrupted.

A run is known by its words: the pipeline, the bounds as they were typed, the sink. What the words meant
when it began (``latest`` is another offset a minute later) stays in Kafka, in the metadata of the offsets
of a group that has no members; how far it came are the offsets of a second group, that of its workers.
"""

import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from . import _bounds, groups
from ._admin import Client
from ._bounds import Bound
from .errors import RejectedError
from .reader import read

_ASK_SECONDS = 30.0
# what a read sets itself, or what belongs to a member of a group
_NOT_FOR_READING = (
    "enable.partition.eof", "enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store",
    "auto.offset.reset", "group.id", "group.instance.id", "group.protocol", "group.remote.assignor",
)  # fmt: skip


@dataclass(frozen=True)
class Range:
    """What is read of one partition."""

    topic: str
    partition: int
    start: int
    """Offset of the first record."""
    end: int
    """Offset behind the last record."""
    from_ms: int | None = None
    until_ms: int | None = None
    """Only records with a timestamp from the one until before the other."""
    offsets: tuple[int, ...] | None = None
    """Only these, in rising order."""

    def core(self) -> dict[str, Any]:
        """The entry that the C core reads."""
        offsets = None if self.offsets is None else list(self.offsets)
        return {
            "topic": self.topic, "partition": self.partition, "start": self.start, "end": self.end,
            "from_ms": self.from_ms, "until_ms": self.until_ms, "offsets": offsets,
        }  # fmt: skip


def reading(kafka: Mapping[str, str]) -> dict[str, str]:
    """The properties of a pipeline that a bounded read takes."""
    return {name: value for name, value in kafka.items() if name not in _NOT_FOR_READING}


async def expand_topics(client: Client, patterns: Iterable[str]) -> list[str]:
    """The topics of a pipeline, with those that its patterns match now."""
    given = list(patterns)
    if not any(each.startswith("^") for each in given):
        return given
    there = [name for name, _ in await client.metadata(None, _ASK_SECONDS) if not name.startswith("__")]
    return sorted(
        {name for name in there for each in given if each.startswith("^") and re.search(each, name)}
        | {each for each in given if not each.startswith("^")}
    )


def resolve(
    topics: Iterable[str],
    start: Bound,
    end: Bound,
    partitions: Sequence[int] | None,
    kafka: Mapping[str, str],
) -> list[Range]:
    """The ranges of offsets that the bounds mean now, without those that are empty. Blocks."""
    (first, from_ms), (last, until_ms) = _fixed(start, "from"), _fixed(end, "to")
    found = []
    for topic in topics:
        table = read(
            topic, start=first, end=last, partitions=partitions, columns=["offset"],
            config=reading(kafka), timeout=_ASK_SECONDS,
        )  # fmt: skip
        found += [
            Range(topic, each.partition, each.start, each.end, from_ms, until_ms)
            for each in table.estimate().partitions
            if each.records
        ]
    return found


def _fixed(bound: Bound, name: str) -> tuple[Bound, int | None]:
    """The bound, with a time before now turned into the time it means; and that time in ms."""
    kind, number = _bounds.parse(bound, name)
    if kind != "time":
        return bound, None
    return _bounds.EPOCH + timedelta(milliseconds=number), number


@dataclass(frozen=True)
class Run:
    """A bounded run: what it is called in Kafka, when it began, what it reads."""

    base: str
    begun_ms: int
    ranges: tuple[Range, ...]

    @property
    def mark(self) -> str:
        """When it began, as a part of names."""
        moment = datetime.fromtimestamp(self.begun_ms / 1000, UTC)
        return f"{moment:%Y%m%d-%H%M%S}-{self.begun_ms % 1000:03d}"

    @property
    def group(self) -> str:
        """The group that its workers join."""
        return f"{self.base}.{self.mark}"

    async def committed(self, client: Client) -> dict[groups.Place, int]:
        """How far it is in each partition that it has begun."""
        places = [(each.topic, each.partition, 0) for each in self.ranges]
        rows = await client.call("committed", self.group, places, timeout=_ASK_SECONDS)
        return {(topic, partition): offset for topic, partition, offset, *_ in rows if offset >= 0}

    def left(self, committed: Mapping[groups.Place, int]) -> tuple[Range, ...]:
        """The ranges that are not done."""
        return tuple(
            each for each in self.ranges if committed.get((each.topic, each.partition), -1) < each.end
        )

    async def save(self, client: Client) -> None:
        """Keep in Kafka what its words mean."""
        rows = [(each.topic, each.partition, each.start, self._note(each)) for each in self.ranges]
        for row in await client.call("commit", _plan(self.base), rows, timeout=_ASK_SECONDS):
            if row[2] < 0:
                raise RejectedError(f"group {_plan(self.base)} takes no offset of {row[0]}", op="replay")

    def _note(self, part: Range) -> str:
        note = {"begun": self.begun_ms, "end": part.end, "from": part.from_ms, "until": part.until_ms}
        return json.dumps({"kafkapipe": 1, **note})

    def with_ranges(self, ranges: Iterable[Range]) -> "Run":
        """The same run, which reads these."""
        return replace(self, ranges=tuple(ranges))


def base_name(group: str, kind: str, *words: object) -> str:
    """The beginning of a run's names in Kafka: the same words give the same name."""
    digest = hashlib.sha256(json.dumps(words, default=str, ensure_ascii=False).encode()).hexdigest()[:10]
    return f"{group}.{kind}.{digest}"


def begin(base: str, ranges: Iterable[Range]) -> Run:
    """A run that begins now."""
    return Run(base, int(time.time() * 1000), tuple(ranges))


async def find(client: Client, base: str, topics: Iterable[str]) -> Run | None:
    """The run of these words that was begun last; None: there was none, or its offsets have expired."""
    places = [
        (topic, partition[0], 0)
        for topic in topics
        for _, partitions in await client.metadata(topic, _ASK_SECONDS)
        for partition in partitions
    ]
    rows = await client.call("committed", _plan(base), places, timeout=_ASK_SECONDS) if places else []
    notes = [(*row[:3], json.loads(row[3])) for row in rows if len(row) == 4]
    if not notes:
        return None
    begun = max(note["begun"] for *_, note in notes)
    ranges = (
        Range(topic, partition, start, note["end"], note["from"], note["until"])
        for topic, partition, start, note in notes
        if note["begun"] == begun
    )
    return Run(base, begun, tuple(sorted(ranges, key=lambda each: (each.topic, each.partition))))


def _plan(base: str) -> str:
    return f"{base}.plan"
