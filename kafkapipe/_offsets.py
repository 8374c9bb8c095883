"""Where partitions begin, end and stand: what the consumer asks brokers for."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from . import _core
from ._threads import Threads
from .errors import ConfigError, RejectedError

Start = int | datetime | Literal["earliest", "latest"]
"""An offset, a time (the first record at or after it), the first record there is, or the next to come."""

UNKNOWN = -1001
"""librdkafka's offset that says: where the group stands, else as ``auto.offset.reset`` says."""
LOGICAL = {"earliest": -2, "latest": -1}


class TopicPartition(NamedTuple):
    """A partition of a topic; equal to the tuple."""

    topic: str
    partition: int


def place(where: object) -> TopicPartition:
    """The partition that a caller names; ConfigError when it cannot be one."""
    match where:
        case (str(topic), int(number)) if topic and 0 <= number < 2**31 and not isinstance(number, bool):
            return TopicPartition(topic, number)
    raise ConfigError(
        f"consumer: {where!r:.100} is no partition: give a pair of a topic's name and a number from 0 up",
        op="consume",
    )


def is_asked(start: Start | None) -> bool:
    """Whether the brokers are asked for the offset of this start."""
    return isinstance(start, str | datetime)


def check_start(start: object, what: str) -> None:
    """ConfigError when nobody can start there."""
    known = start in LOGICAL if isinstance(start, str) else isinstance(start, int | datetime)
    if not known or isinstance(start, bool):
        raise ConfigError(
            f'{what}: start is {start!r:.80}: give "earliest", "latest", an offset or a datetime',
            op="consume",
        )


class Offsets:
    """Asks brokers for offsets, beside the event loop; DeadlineError after ``timeout`` seconds."""

    def __init__(self, core: _core.Consumer, threads: Threads) -> None:
        self._core = core
        self._threads = threads

    async def resolve(
        self,
        starts: Mapping[TopicPartition, Start],
        timeout: float,  # noqa: ASYNC109
    ) -> dict[TopicPartition, int]:
        """The offset of each start."""
        for start in starts.values():
            check_start(start, "consumer")
        found = {where: _offset(where, start) for where, start in starts.items() if isinstance(start, int)}
        times = {where: start for where, start in starts.items() if isinstance(start, datetime)}
        if times:
            found |= await self._at_times(times, timeout)
        ends = [where for where in starts if where not in found]
        for where, marks in (await self.watermarks(ends, timeout)).items() if ends else ():
            found[where] = marks[starts.get(where) != "earliest"]
        return found

    async def must_exist(self, partitions: Collection[TopicPartition], timeout: float) -> None:  # noqa: ASYNC109
        """RejectedError for a partition that is not there."""
        await self._at_time([(*where, LOGICAL["earliest"]) for where in partitions], timeout)

    async def watermarks(
        self,
        partitions: Collection[TopicPartition],
        timeout: float,  # noqa: ASYNC109
    ) -> dict[TopicPartition, tuple[int, int]]:
        """The first offset that is there and the one after the last."""
        low, high = ([(*where, LOGICAL[end]) for where in partitions] for end in ("earliest", "latest"))
        lows, highs = await self._at_time(low, timeout), await self._at_time(high, timeout)
        return {where: (offset, highs[where]) for where, offset in lows.items()}

    async def committed(
        self,
        partitions: Iterable[TopicPartition],
        timeout: float,  # noqa: ASYNC109
    ) -> dict[TopicPartition, int | None]:
        """What the group committed; None: nothing yet."""
        entries = [(*where, UNKNOWN) for where in partitions]

        def ask(timeout_ms: int) -> list[tuple[str, int, int]]:
            return self._core.committed(entries, timeout_ms)

        found = await self._threads.ask_until(ask, timeout) if entries else []
        return {TopicPartition(topic, n): offset if offset >= 0 else None for topic, n, offset in found}

    async def _at_times(
        self,
        times: Mapping[TopicPartition, datetime],
        timeout: float,  # noqa: ASYNC109
    ) -> dict[TopicPartition, int]:
        """Without those whose partition has no such record: they start at the end."""
        entries = [(*where, int(moment.timestamp() * 1000)) for where, moment in times.items()]
        found = await self._at_time(entries, timeout)
        return {where: offset for where, offset in found.items() if offset >= 0}

    async def _at_time(
        self,
        entries: list[tuple[str, int, int]],
        timeout: float,  # noqa: ASYNC109
    ) -> dict[TopicPartition, int]:
        def ask(timeout_ms: int) -> list[tuple[str, int, int]]:
            return self._core.at_time(entries, timeout_ms)

        found = await self._threads.ask_until(ask, timeout) if entries else []
        return {TopicPartition(topic, number): offset for topic, number, offset in found}


def _offset(where: TopicPartition, offset: int) -> int:
    if not 0 <= offset < 2**63:
        raise RejectedError(
            f"{where.topic} [{where.partition}] from {offset}: "
            'give an offset from 0 up, a datetime, "earliest" or "latest"',
            op="seek",
        )
    return offset
