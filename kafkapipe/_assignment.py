"""What a consumer can do with its partitions: choose, move, pause them, and ask where they stand."""

import asyncio
from collections.abc import Iterable, Mapping

from . import _core
from ._offsets import LOGICAL, UNKNOWN, Offsets, Start, TopicPartition, is_asked, place
from ._threads import SLICE_SECONDS, Threads
from .errors import ClosedError, ConfigError, DeadlineError, RejectedError, RetryableError

Partitions = Iterable[tuple[str, int]]
Numbers = dict[TopicPartition, int]
_Committed = dict[TopicPartition, int | None]
_Marks = dict[TopicPartition, tuple[int, int]]

_LOOK_SECONDS = 0.02  # between tries to move a partition whose assignment is under way


class Assignment:
    """The part of Consumer that is about its partitions; no class for users."""

    def __init__(self, group: str | None, start: Start | None, reset: str) -> None:
        self._group = group
        self._start = start
        self._reset = reset
        self._shares = False  # the group assigns the partitions
        self._core: _core.Consumer | None = None
        self._closing: asyncio.Task[None] | None = None
        self._threads = Threads()
        self._coming: Numbers = {}  # partitions that on_assign is told of, and their starts
        self._paused: set[TopicPartition] = (
            set()
        )  # those that come are told to the library once they are here

    def _open(self, core: _core.Consumer) -> None:
        self._core = core
        self._loop = asyncio.get_running_loop()
        self._offsets = Offsets(core, self._threads)

    async def assign(
        self,
        partitions: Partitions | Mapping[tuple[str, int], Start],
        start: Start | None = None,
        *,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> None:
        """Read exactly these partitions, without sharing them with the group's other members.

        Each from ``start``, or from its own place in a mapping; without one from where the group stands, if
        there is a group, else as a new group would. RejectedError for a topic or a partition that is not
        there; DeadlineError when no broker could be asked within ``timeout`` seconds.
        """
        core = self._running()
        if self._shares:
            raise ConfigError("assign: the group assigns the partitions of topics=: give only one of the two")
        starts = _starts(partitions, start if start is not None or self._group else self._start)
        known = await self._offsets.resolve({p: s for p, s in starts.items() if s is not None}, timeout)
        await self._offsets.must_exist([where for where in starts if not is_asked(starts[where])], timeout)
        other = UNKNOWN if self._group else LOGICAL.get(self._reset, LOGICAL["earliest"])
        self._paused.clear()
        core.assign([(*where, known.get(where, other)) for where in starts])

    @property
    def assignment(self) -> tuple[TopicPartition, ...]:
        """The partitions that are read now, in ``on_assign`` also those that come."""
        held = [TopicPartition(topic, number) for topic, number, _ in self._running().assignment()]
        return tuple(sorted({*held, *self._coming}))

    async def seek(
        self,
        to: Start | Mapping[tuple[str, int], Start],
        partitions: Partitions | None = None,
        *,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> None:
        """Go on at this place in these partitions, by default in all; a mapping has a place for each.

        What was handed out stays handed out. A time after the last record is the end.
        """
        core = self._running()
        starts = _starts(to, None) if isinstance(to, Mapping) else dict.fromkeys(self._chosen(partitions), to)
        given = {where: start for where, start in starts.items() if start is not None}
        self._must_have(given, "seek")
        end = self._loop.time() + timeout
        offsets = await self._offsets.resolve(given, timeout)
        self._coming |= {where: offset for where, offset in offsets.items() if where in self._coming}
        here = [(*where, offset) for where, offset in offsets.items() if where not in self._coming]
        while here and not await self._sought(core, here, end):  # noqa: ASYNC110 - a broker's state
            await asyncio.sleep(_LOOK_SECONDS)

    async def pause(self, partitions: Partitions | None = None) -> None:
        """Hand out nothing of these partitions, by default of all, until ``resume``; they stay assigned."""
        chosen = self._chosen(partitions)
        self._must_have(chosen, "pause")
        fresh = set(chosen) - self._paused
        self._paused |= fresh
        self._running().pause([(*where, 0) for where in fresh - self._coming.keys()])

    async def resume(self, partitions: Partitions | None = None) -> None:
        """Hand out records of these partitions again, from where they were paused."""
        chosen = self._chosen(partitions)
        self._must_have(chosen, "resume")
        paused = self._paused.intersection(chosen)  # the library rewinds those that are not
        self._paused -= paused
        self._running().resume([(*where, 0) for where in paused - self._coming.keys()])

    # asking

    async def position(self, partitions: Partitions | None = None, *, timeout: float = 10.0) -> Numbers:  # noqa: ASYNC109
        """The offset that is handed out next, of each of these partitions, by default of all."""
        found = {TopicPartition(topic, n): offset for topic, n, offset in self._running().assignment()}
        found |= self._coming
        chosen = self._chosen(partitions)
        unread = [where for where in chosen if found.get(where, UNKNOWN) < 0]
        if unread and self._group:
            committed = await self._offsets.committed(unread, timeout)
            found |= {where: offset for where, offset in committed.items() if offset is not None}
        fresh = {where: self._fresh() for where in unread if found.get(where, UNKNOWN) < 0}
        found |= await self._offsets.resolve(fresh, timeout)
        return {where: found[where] for where in chosen}

    async def committed(self, partitions: Partitions | None = None, *, timeout: float = 10.0) -> _Committed:  # noqa: ASYNC109
        """What the group has committed: the offset that it goes on at, None where there is nothing yet."""
        self._running()
        self._must_have_group("committed")
        return await self._offsets.committed(self._chosen(partitions), timeout)

    async def watermarks(self, partitions: Partitions | None = None, *, timeout: float = 10.0) -> _Marks:  # noqa: ASYNC109
        """The first offset that is there, and the one that the next record gets."""
        self._running()
        return await self._offsets.watermarks(self._chosen(partitions), timeout)

    async def lag(self, partitions: Partitions | None = None, *, timeout: float = 10.0) -> Numbers:  # noqa: ASYNC109
        """How many offsets lie between the position and the end."""
        positions = await self.position(partitions, timeout=timeout)
        marks = await self._offsets.watermarks(positions, timeout)
        return {where: max(0, marks[where][1] - at) for where, at in positions.items()}

    # rules

    def _closed(self) -> bool:
        return self._closing is not None and self._closing.done()

    def _running(self) -> _core.Consumer:
        if self._core is None:
            raise ClosedError("the consumer is not started: use `async with`, or await start()", op="consume")
        if self._closed():
            raise ClosedError("the consumer is closed: make a new one", op="consume")
        return self._core

    def _chosen(self, partitions: Partitions | None) -> list[TopicPartition]:
        if partitions is None:
            return list(self.assignment)
        return [place(where) for where in partitions]

    def _must_have(self, partitions: Iterable[TopicPartition], op: str) -> None:
        for where in set(partitions) - set(self.assignment):
            raise RejectedError(
                f"{op} of {where.topic} [{where.partition}]: it is not assigned: choose from assignment",
                op=op,
            )

    def _must_have_group(self, op: str) -> None:
        if not self._group:
            raise ConfigError(f"{op}: offsets are committed for a group: give group=", op=op)

    def _fresh(self) -> Start:
        return self._start if self._start is not None else "latest" if self._reset == "latest" else "earliest"

    async def _sought(self, core: _core.Consumer, entries: list[tuple[str, int, int]], end: float) -> bool:
        try:
            await self._threads.run(core.seek, entries, int(SLICE_SECONDS * 1000))
        except RetryableError as error:
            if self._loop.time() >= end:
                raise DeadlineError(error.message, op="seek", code=error.code) from None
            return False
        return True


def _starts(
    partitions: Partitions | Mapping[tuple[str, int], Start], start: Start | None
) -> dict[TopicPartition, Start | None]:
    if isinstance(partitions, Mapping):
        return {place(where): each for where, each in partitions.items()}
    return {place(where): start for where in partitions}
