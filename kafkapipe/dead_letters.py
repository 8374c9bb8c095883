"""Dead letters: reading them, and sending chosen ones through their pipeline again."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from . import _bounds, _ranges
from ._bounds import Bound
from ._ranges import Range
from ._template import nearest
from .admin import Admin
from .config import Config, DeadLetterConfig, File, Hdfs, PipelineConfig
from .errors import ConfigError
from .reader import read
from .replaying import ReplayProgress, describe_sink, run_bounded

PREFIX = "__connect.errors."
_PIECE = 10_000  # letters whose headers are in memory at once
_ASK_SECONDS = 30.0

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""


@dataclass(frozen=True)
class DeadLetter:
    """A record that could not be delivered, and why."""

    partition: int
    offset: int
    """Where the letter lies in its topic."""
    timestamp: datetime | int | None
    """The record's."""
    origin: Place
    """Where the record lay."""
    pipeline: str
    stage: str
    error: str
    """Class of the error: a server's name for it, like ``document_parsing_exception``."""
    message: str
    headers: tuple[tuple[str, bytes | None], ...] = ()
    """Those that the record had."""
    key: bytes | None = None
    value: bytes | None = None


@dataclass(frozen=True)
class Choice:
    """Which letters are meant; what is not given does not matter."""

    reason: str | None = None
    """Text in the class or in the message of the error, in either case."""
    start: Bound = "earliest"
    end: Bound = "latest"
    """Times are those of the records, offsets those of the letters; the end is not meant any more."""
    letters: tuple[tuple[int | None, int], ...] = ()
    """Partition (None: any) and offset of each."""
    pipeline: str | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether pipeline and reason are those that are meant."""
        text = f"{letter.error}\n{letter.message}".casefold()
        return self.pipeline in (None, letter.pipeline) and (self.reason or "").casefold() in text

    def names(self, letter: DeadLetter) -> bool:
        """Whether it is one of ``letters``, if there are any."""
        places = {(None, letter.offset), (letter.partition, letter.offset)}
        return not self.letters or bool(places & set(self.letters))


def scan(
    topic: str, choice: Choice, kafka: Mapping[str, str], *, content: bool = True
) -> Iterator[DeadLetter]:
    """The letters that are meant, by partition and offset; without key and value unless ``content``. Blocks.

    What is in the topic and is no dead letter is passed over. RejectedError when there is no such topic.
    """
    for part in _ranges.resolve([topic], choice.start, choice.end, None, kafka):
        for letter in _read(part, kafka, content=content):
            if _is_in(letter, part) and choice.names(letter) and choice.takes(letter):
                yield letter


def _read(part: Range, kafka: Mapping[str, str], *, content: bool) -> Iterator[DeadLetter]:
    columns = ["partition", "offset", "timestamp", "headers", *(("key", "value") if content else ())]
    for first in range(part.start, part.end, _PIECE):
        start, end = {part.partition: first}, {part.partition: min(first + _PIECE, part.end)}
        config = _ranges.reading(kafka)
        table = read(part.topic, start=start, end=end, columns=columns, config=config, timeout=_ASK_SECONDS)
        yield from filter(None, map(_letter, table.head(_PIECE)))


def _is_in(letter: DeadLetter, part: Range) -> bool:
    moment = letter.timestamp
    inside = letter.partition == part.partition and part.start <= letter.offset < part.end
    if not inside or (part.from_ms is None and part.until_ms is None):
        return inside
    if moment is None:
        return False
    ms = moment if isinstance(moment, int) else (moment - _bounds.EPOCH) // timedelta(milliseconds=1)
    return (part.from_ms is None or ms >= part.from_ms) and (part.until_ms is None or ms < part.until_ms)


def _letter(row: Mapping[str, Any]) -> DeadLetter | None:
    headers = row["headers"] or []
    why = {
        name.removeprefix(PREFIX): (value or b"").decode(errors="replace")
        for name, value in headers
        if name.startswith(PREFIX)
    }
    partition, offset = why.get("partition", ""), why.get("offset", "")
    if not (why.get("topic") and partition.isascii() and partition.isdecimal()):
        return None
    if not (offset.isascii() and offset.isdecimal()):
        return None
    return DeadLetter(
        row["partition"],
        row["offset"],
        row["timestamp"],
        (why["topic"], int(partition), int(offset)),
        why.get("connector.name", ""),
        why.get("stage", ""),
        why.get("exception.class.name", ""),
        why.get("exception.message", ""),
        tuple((name, value) for name, value in headers if not name.startswith(PREFIX)),
        row.get("key"),
        row.get("value"),
    )


# ---- redrive ----


@dataclass(frozen=True)
class Redriven:
    """What became of one letter."""

    partition: int
    offset: int
    origin: Place
    outcome: str
    """``delivered``, ``already there`` (its document was), ``rejected``, or ``undone``: not its turn yet."""
    error: str | None = None
    message: str | None = None
    """Why it was rejected again. The new letter that says so stands in the same topic."""


@dataclass(frozen=True)
class RedriveResult:
    """What a redrive did."""

    pipeline: str
    topic: str
    group: str
    finished: bool
    letters: tuple[Redriven, ...]
    before: int
    """Letters that the same redrive had sent before; they are not sent again."""

    def count(self, outcome: str) -> int:
        """Letters that this became of."""
        return sum(each.outcome == outcome for each in self.letters)


async def redrive(
    config: Config,
    pipeline: str,
    choice: Choice,
    *,
    on_progress: Callable[[ReplayProgress], None] | None = None,
) -> RedriveResult:
    """Send chosen dead letters of a pipeline through it again, exactly those, and say what became of each.

    Each is delivered as the record that it was: with the ids of the first time, so a document is there once.
    Files are new ones, with ``.redrive-DATE-TIME`` in their names. A record that is rejected again is a new
    letter in the same topic, which then counts in place of the old. The same call goes on after an
    interruption; it sends no letter twice, but those that were rejected again.

    Raises ConfigError, RejectedError and FatalError as ``replay`` does.
    """
    chosen, topic = _pipeline(config, pipeline)
    kafka = {**config.kafka, **chosen.kafka}
    bounds = str(choice.start), str(choice.end), sorted(map(str, choice.letters))
    words = (topic, choice.reason, *bounds, describe_sink(chosen.sink))
    base = _ranges.base_name(chosen.group or pipeline, "redrive", *words)
    meant = await asyncio.to_thread(_meant, topic, pipeline, choice, kafka)
    async with Admin(config=kafka) as admin:
        run = await _ranges.find(admin, base, [topic]) or _ranges.begin(base, ())
        done = await run.with_ranges(_as_ranges(topic, meant)).committed(admin)
        left = [each for each in meant if each.offset >= done.get((topic, each.partition), 0)]
        run = run.with_ranges(_as_ranges(topic, left))
        if not left:
            return RedriveResult(pipeline, topic, run.group, True, (), len(meant))
        await run.save(admin)
        bounded = _bounded(chosen, topic, {each.origin[0] for each in left}, run)
        finished, seen = await run_bounded(
            pipeline, bounded, config.kafka, run.ranges, on_progress, redrive=True
        )
        committed = await run.committed(admin)
    existing = {(topic, *place) for worker in seen["workers"] for place in worker["existing"]}
    newest = await asyncio.to_thread(_newest, topic, pipeline, kafka)
    became = tuple(_one(topic, each, committed, existing, newest[each.origin]) for each in left)
    return RedriveResult(pipeline, topic, run.group, finished, became, len(meant) - len(left))


def _pipeline(config: Config, name: str) -> tuple[PipelineConfig, str]:
    if name not in config.pipelines:
        known = nearest(name, config.pipelines)
        raise ConfigError(f'redrive: the configuration has no pipeline "{name}"{known}', op="redrive")
    chosen = config.pipelines[name]
    if not isinstance(chosen.dead_letter, DeadLetterConfig):
        raise ConfigError(f"redrive: pipeline {name} has no dead_letter topic", op="redrive")
    return chosen, chosen.dead_letter.topic


def _newest(topic: str, pipeline: str, kafka: Mapping[str, str]) -> dict[Place, DeadLetter]:
    """The last letter of each record: one that is rejected again goes to the partition of its letter."""
    found = scan(topic, Choice(pipeline=pipeline), kafka, content=False)
    return {letter.origin: letter for letter in found}


def _meant(topic: str, pipeline: str, choice: Choice, kafka: Mapping[str, str]) -> list[DeadLetter]:
    """The last letters of the records that are meant, by partition and offset.

    A letter that is named by its place stands for its record, also when there is a newer one.
    """
    parts = {each.partition: each for each in _ranges.resolve([topic], choice.start, choice.end, None, kafka)}
    last: dict[Place, DeadLetter] = {}
    named: set[Place] = set()
    for letter in scan(topic, Choice(pipeline=pipeline), kafka, content=False):
        last[letter.origin] = letter
        if choice.names(letter):
            named.add(letter.origin)
    found = [
        letter
        for letter in last.values()
        if letter.origin in named
        and choice.takes(letter)
        and letter.partition in parts
        and _is_in(letter, parts[letter.partition])
    ]
    return sorted(found, key=lambda letter: (letter.partition, letter.offset))


def _as_ranges(topic: str, letters: Iterable[DeadLetter]) -> tuple[Range, ...]:
    """One range a partition, from the first to the last of its letters, and of it only these."""
    offsets: dict[int, list[int]] = {}
    for each in letters:
        offsets.setdefault(each.partition, []).append(each.offset)
    return tuple(
        Range(topic, partition, min(found), max(found) + 1, offsets=tuple(sorted(found)))
        for partition, found in sorted(offsets.items())
    )


def _bounded(chosen: PipelineConfig, topic: str, sources: set[str], run: _ranges.Run) -> PipelineConfig:
    """The pipeline as it is, but reading its own dead letters, which are of these topics."""
    sink = chosen.sink
    if isinstance(sink, Hdfs | File):
        sink = sink.as_for(sources.pop()) if len(sources) == 1 else sink
        sink = sink.marked(f"redrive-{run.mark}")
    changes = {"topics": [topic], "group": run.group, "start": "earliest", "sink": sink}
    return chosen.model_copy(update=changes)


def _one(
    topic: str,
    letter: DeadLetter,
    committed: Mapping[tuple[str, int], int],
    existing: set[Place],
    newest: DeadLetter,
) -> Redriven:
    place = letter.partition, letter.offset, letter.origin
    if (newest.partition, newest.offset) != place[:2]:
        return Redriven(*place, "rejected", newest.error, newest.message)
    if committed.get((topic, letter.partition), -1) <= letter.offset:
        return Redriven(*place, "undone")
    return Redriven(*place, "already there" if (topic, *place[:2]) in existing else "delivered")
