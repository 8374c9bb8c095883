"""Which way an event goes: to Kafka, or, when Kafka does not answer, to the spool.

While events of a topic are in the spool, new ones of that topic go behind them. What the producer had taken
before Kafka fell silent is written to the spool as well, in case this process ends; it stays the producer's
to deliver, and leaves the spool when it has.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import ClosedError, KafkaPipeError, RejectedError
from .spool import Spool
from .spool_file import Headers, Row

if TYPE_CHECKING:
    from .._core import BatchResult
    from ..producer import Producer

_log = logging.getLogger("kafkapipe.collector")

_GATE_SECONDS = 1.0

Failures = list[tuple[int, KafkaPipeError]]


@dataclass(slots=True)
class Taken:
    """What became of a batch."""

    delivered: int = 0
    """Events that Kafka confirmed."""
    spooled: int = 0
    """Events that are on disk, and will go to Kafka."""
    failed: Failures = field(default_factory=list)
    """Events that nobody has, by their place in the batch."""


@dataclass(slots=True)
class Sending:
    """A batch on its way."""

    taken: "asyncio.Future[Taken]"
    in_queue: bool
    """The producer has it; else it is on its way to the disk."""


@dataclass(slots=True, eq=False)
class _Open:
    """A batch that the producer has and Kafka has not confirmed."""

    topic: str
    values: Sequence[bytes | bytearray]
    keys: Sequence[bytes | None] | None
    headers: Sequence[Headers] | None
    since: float
    taken: "asyncio.Future[Taken]"
    rows: list[Row] | None = None
    """The same events in the spool."""

    def part(
        self, indexes: Sequence[int]
    ) -> tuple[list[bytes | bytearray], list[bytes | None], list[Headers]]:
        """Values, keys and headers of these of its events."""
        return (
            [self.values[i] for i in indexes],
            [self.keys[i] if self.keys else None for i in indexes],
            [self.headers[i] if self.headers else () for i in indexes],
        )


class Spooling:
    """:param after: seconds that Kafka may be silent until events go to the spool
    :param max_value: bytes of the largest event that the producer of the spool can send
    """

    def __init__(self, producer: "Producer", spool: Spool, after: float, max_value: int) -> None:
        self.spool = spool
        self._max_value = max_value
        self.lost: Callable[[int, KafkaPipeError], None] = lambda count, why: None
        """Is told how many events that were answered as taken Kafka will never take, and why."""
        self._producer = producer
        self._after = after
        self._open: dict[str, deque[_Open]] = {}
        self._gates: dict[str, list[_Open]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Future[Any]] = set()

    def is_open(self, topic: str) -> bool:
        """Whether the producer has events of this topic that come before those in the spool."""
        return topic in self._open

    def send(
        self,
        topic: str,
        values: Sequence[bytes | bytearray],
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Headers] | None = None,
    ) -> Sending:
        """Send a batch on its way.

        :raises QueueFull: when neither the producer nor the spool has room
        :raises KafkaPipeError: as the producer's and the spool's
        """
        if topic in self._gates:
            waiting = _Open(topic, values, keys, headers, 0.0, asyncio.get_running_loop().create_future())
            self._gates[topic].append(waiting)
            return Sending(waiting.taken, in_queue=False)
        if not self.spool.has(topic):
            try:
                return self._produce(topic, values, keys, headers)
            except RejectedError:
                raise
            except KafkaPipeError as error:
                _log.debug("spool: %s", error.message)
            self._spill(self._open.get(topic, deque()))  # those came first
        return Sending(self._put(topic, values, keys, headers), in_queue=False)

    def _produce(
        self,
        topic: str,
        values: Sequence[bytes | bytearray],
        keys: Sequence[bytes | None] | None,
        headers: Sequence[Headers] | None,
    ) -> Sending:
        pending = self._producer.try_send_many(topic, values, keys=keys, headers=headers)
        loop = asyncio.get_running_loop()
        entry = _Open(topic, values, keys, headers, loop.time(), loop.create_future())
        self._open.setdefault(topic, deque()).append(entry)
        pending.add_done_callback(lambda done: self._confirmed(entry, done))
        if self._timer is None:
            self._timer = loop.call_later(self._after, self._look)
        return Sending(entry.taken, in_queue=True)

    def _put(
        self,
        topic: str,
        values: Sequence[bytes | bytearray],
        keys: Sequence[bytes | None] | None,
        headers: Sequence[Headers] | None,
    ) -> "asyncio.Future[Taken]":
        taken: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        events = _Open(topic, values, keys, headers, 0.0, taken)
        fit = [index for index, value in enumerate(values) if len(value) <= self._max_value]
        failed: Failures = [(index, _too_large()) for index in range(len(values)) if index not in set(fit)]
        written, rows = self.spool.put(topic, *events.part(fit))
        written.add_done_callback(partial(_pass_on, taken, Taken(spooled=len(rows), failed=failed)))
        return taken

    # the spool is nearly empty

    def close_gate(self, topic: str) -> None:
        """The last events of a topic are going to Kafka: new ones wait for them, not on the disk behind them.

        Else a steady stream would keep the spool from ever being empty. For a second at most.
        """
        if topic not in self._gates:
            self._gates[topic] = []
            asyncio.get_running_loop().call_later(_GATE_SECONDS, self.open_gate, topic)

    def open_gate(self, topic: str) -> None:
        """Send those that waited: to Kafka if the spool is empty, else behind what is in it."""
        for waiting in self._gates.pop(topic, ()):
            try:
                sending = self.send(topic, waiting.values, waiting.keys, waiting.headers)
            except KafkaPipeError as error:
                if not waiting.taken.done():
                    waiting.taken.set_exception(error)
            else:
                sending.taken.add_done_callback(partial(_hand_on, waiting.taken))

    # Kafka is silent

    def _look(self) -> None:
        """Write what has waited too long to the spool, and all of its topic with it: the order stays."""
        loop = asyncio.get_running_loop()
        self._timer = None
        for topic, entries in self._open.items():
            if entries[0].since + self._after <= loop.time() or self.spool.has(topic):
                self._spill(entries)
        waiting = [entries[0].since for entries in self._open.values()]
        if waiting:
            wait = max(min(waiting) + self._after - loop.time(), self._after / 4)
            self._timer = loop.call_later(wait, self._look)

    def _spill(self, entries: deque[_Open]) -> None:
        for entry in entries:
            if entry.rows is not None:
                continue
            try:
                written, entry.rows = self.spool.put(entry.topic, entry.values, entry.keys, entry.headers)
            except KafkaPipeError:
                return  # full: whoever waits is told in time
            written.add_done_callback(partial(self._spilled, entry))

    def _spilled(self, entry: _Open, written: "asyncio.Future[None]") -> None:
        if written.cancelled() or written.exception() is not None:
            entry.rows = None
        else:
            _pass_on(entry.taken, Taken(spooled=len(entry.values)), written)

    # Kafka answered

    def _confirmed(self, entry: _Open, done: "asyncio.Future[BatchResult]") -> None:
        entries = self._open[entry.topic]
        entries.remove(entry)
        if not entries:
            del self._open[entry.topic]
        failed = _failures(done, len(entry.values))
        again = [index for index, error in failed if not isinstance(error, RejectedError)]
        rejected: Failures = [each for each in failed if isinstance(each[1], RejectedError)]
        if entry.rows is not None:
            self._settle(entry, again, rejected)
        elif again:
            self._rescue(entry, again, rejected, failed)
        elif not entry.taken.done():
            entry.taken.set_result(Taken(len(entry.values) - len(failed), failed=failed))
        if not self.is_open(entry.topic):
            self.spool.changed.set()  # those behind it may go now

    def _settle(self, entry: _Open, again: list[int], rejected: Failures) -> None:
        """Events that are in the spool, too: what is to be sent again stays there."""
        assert entry.rows is not None
        keep = set(again)
        gone = [row for index, row in enumerate(entry.rows) if index not in keep]
        if entry.taken.done() and rejected:
            self.lost(len(rejected), rejected[0][1])
        elif not entry.taken.done():
            delivered = len(entry.values) - len(again) - len(rejected)
            entry.taken.set_result(Taken(delivered, spooled=len(again), failed=rejected))
        task = asyncio.ensure_future(self._forget(gone))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forget(self, rows: list[Row]) -> None:
        try:
            await self.spool.remove(rows)
        except KafkaPipeError as error:
            _log.error("%s: %d events that Kafka has will be sent again", error.message, len(rows))

    def _rescue(self, entry: _Open, again: list[int], rejected: Failures, failed: Failures) -> None:
        """Events that came back and are on no disk yet."""
        delivered = len(entry.values) - len(failed)
        try:
            written, _ = self.spool.put(entry.topic, *entry.part(again))
        except KafkaPipeError:
            if not entry.taken.done():
                entry.taken.set_result(Taken(delivered, failed=failed))
            return
        outcome = Taken(delivered, spooled=len(again), failed=rejected)
        written.add_done_callback(partial(_pass_on, entry.taken, outcome))

    async def close(self) -> None:
        """Wait for what is being forgotten; the producer was closed, so nothing is open any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


def _hand_on(taken: "asyncio.Future[Taken]", done: "asyncio.Future[Taken]") -> None:
    """The same outcome for one who waited at the gate."""
    error = done.exception()
    if taken.done():
        return
    if error is not None:
        taken.set_exception(error)
    else:
        taken.set_result(done.result())


def _too_large() -> KafkaPipeError:
    return RejectedError("spool: larger than message.max.bytes", op="spool", code="MSG_SIZE_TOO_LARGE")


def _failures(done: "asyncio.Future[BatchResult]", count: int) -> Failures:
    try:
        return list(done.result().failed)
    except KafkaPipeError as error:
        return [(index, error) for index in range(count)]


def _pass_on(taken: "asyncio.Future[Taken]", outcome: Taken, written: "asyncio.Future[None]") -> None:
    """What was written is taken; ``taken`` may be done or given up already."""
    if taken.done():
        return
    error = ClosedError("spool: it is closed", op="spool") if written.cancelled() else written.exception()
    if error is not None:
        taken.set_exception(error)
    else:
        taken.set_result(outcome)
