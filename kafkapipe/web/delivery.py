"""Hands events to the producer and says what became of them in the terms of HTTP."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..errors import ClosedError, DeadlineError, KafkaPipeError, QueueFull, RejectedError
from .answers import Answer, Refusal
from .body import Body
from .spooling import Sending, Spooling, Taken
from .stats import CollectorStats

if TYPE_CHECKING:
    from .._core import BatchResult
    from ..producer import Producer

PROBLEM_SECONDS = 10.0
"""How long after it was last seen a problem with Kafka is reported."""

_log = logging.getLogger("kafkapipe.collector")

_RETRY = [(b"retry-after", b"1")]
_TOO_LARGE = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"})

RecordHeaders = Sequence[tuple[str, bytes]]


@dataclass(slots=True)
class Batch:
    """Events for one topic; keys and headers have one item for each, or are None."""

    topic: str
    values: list[bytes | bytearray]
    keys: list[bytes | None] | None = None
    headers: list[RecordHeaders] | None = None


class Pending:
    """An answer that waits: when ``future`` is done, ``finish`` gives the answer or raises Refusal."""

    __slots__ = ("finish", "future")

    def __init__(
        self, future: "asyncio.Future[Any]", finish: Callable[["asyncio.Future[Any]"], Answer]
    ) -> None:
        self.future = future
        self.finish = finish


class KafkaHealth:
    """Whether Kafka takes events; tells the log when that changes, not for each request."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        """What events were refused with when none was taken since, however long ago."""
        self._seen = 0.0

    @property
    def problem(self) -> str | None:
        """What events were last refused with; None since some were taken, or when that was a while ago.

        It fades because an instance that says it is not ready may get no more requests to disprove it with.
        """
        return self.trouble if monotonic() - self._seen < PROBLEM_SECONDS else None

    def good(self) -> None:
        """Events were taken."""
        if self.trouble is not None:
            self.trouble = None
            _log.info("Kafka takes events again")

    def bad(self, error: KafkaPipeError) -> None:
        """Events were not taken."""
        if self.trouble is None:
            _log.warning("Kafka does not take events: %s", error.message)
        self.trouble = error.message
        self._seen = monotonic()


class Delivery:
    """The way of events into Kafka, and what came of it counted and judged."""

    def __init__(
        self,
        producer: "Producer",
        stats: CollectorStats,
        *,
        ack_seconds: float,
        spool: Spooling | None = None,
    ) -> None:
        self.health = KafkaHealth()
        self.ack_seconds = ack_seconds
        self.spool = spool
        self._producer = producer
        self._stats = stats
        producer.on_unwatched_failure(self._lost)
        if spool is not None:
            spool.lost = self._lost_later

    def post(self, topic: str, body: Body, max_events: int) -> int:
        """Queue all events of a body in one crossing, with nobody waiting for them; 0 when some are not fit.

        :raises Refusal: 503 when Kafka cannot take them now
        """
        if self.health.trouble is not None or self.spool is not None:
            return 0  # the slow way finds out whether it takes them again
        try:
            count = self._producer.post(topic, body, max_events)
        except KafkaPipeError as error:
            raise self._refused(error) from None
        self._stats.events_accepted += count
        return count

    def post_watched(self, topic: str, body: Body, max_events: int) -> "asyncio.Future[BatchResult] | None":
        """The same with a future of the results; None when some are not fit."""
        if self.spool is not None:
            return None
        try:
            return self._producer.post_watched(topic, body, max_events)
        except KafkaPipeError as error:
            raise self._refused(error) from None

    def send(self, batch: Batch) -> Sending:
        """Send a batch on its way to Kafka or to the spool, which there is.

        :raises Refusal: 503 when neither can take it now, 413 when the queue never can
        """
        assert self.spool is not None
        try:
            return self.spool.send(batch.topic, batch.values, batch.keys, batch.headers)
        except KafkaPipeError as error:
            raise self._refused(error) from None

    def enqueue(self, batch: Batch) -> "asyncio.Future[BatchResult]":
        """Queue a batch, all of it or nothing.

        :raises Refusal: 503 when Kafka cannot take it now, 413 when it never can
        """
        try:
            return self._producer.try_send_many(
                batch.topic, batch.values, keys=batch.keys, headers=batch.headers
            )
        except KafkaPipeError as error:
            raise self._refused(error) from None

    def count(self, events: int) -> None:
        """So many were answered as taken."""
        self._stats.events_accepted += events

    def let_go(self, pending: "asyncio.Future[BatchResult] | asyncio.Future[Taken]", count: int) -> None:
        """The queue has them and that is enough: what becomes of them is only counted."""
        self._stats.events_accepted += count
        pending.add_done_callback(partial(self._settle, count))

    def judge(self, pending: "asyncio.Future[BatchResult]", count: int) -> None:
        """Returns when the broker confirmed them all; ``pending`` is done.

        :raises Refusal: 503 when Kafka did not take them, 413 when one is larger than the topic takes
        """
        try:
            result = pending.result()
        except KafkaPipeError as error:
            self.health.bad(error)
            raise _unavailable("Kafka did not confirm; the events may still arrive") from None
        if result.failed:
            raise self.refusal(result.delivered, result.failed)
        self.health.good()
        self._stats.events_accepted += count

    def too_late(self) -> Refusal:
        """The refusal of events that Kafka did not confirm in time."""
        detail = f"Kafka did not confirm within {self.ack_seconds:g} s; the events may still arrive"
        self.health.bad(DeadlineError(detail))
        return _unavailable(detail)

    def refusal(self, delivered: int, failed: Sequence[tuple[int, KafkaPipeError]]) -> Refusal:
        """The refusal that says which events were not taken, and counts those that were."""
        more = {
            "accepted": delivered,
            "rejected": [{"index": index, "reason": _reason(error)} for index, error in failed],
        }
        self._stats.events_accepted += delivered
        if all(error.code in _TOO_LARGE for _, error in failed):
            return Refusal(413, "event too large", "an event is larger than its topic takes", more=more)
        self.health.bad(next(error for _, error in failed if error.code not in _TOO_LARGE))
        count = len(failed)
        return _unavailable(f"{count} of {delivered + count} events were not taken", more)

    def _refused(self, error: KafkaPipeError) -> Refusal:
        if isinstance(error, ClosedError):
            return _unavailable("the collector is stopping; none was taken")
        if isinstance(error, RejectedError):
            return Refusal(413, "too many events", "the queue to Kafka never has room for so much")
        self.health.bad(error)
        full = isinstance(error, QueueFull)
        return _unavailable(
            f"{'the queue to Kafka is full' if full else 'Kafka cannot be written to'}; none was taken"
        )

    def _settle(self, count: int, pending: "asyncio.Future[BatchResult] | asyncio.Future[Taken]") -> None:
        try:
            failed = pending.result().failed
        except KafkaPipeError as error:
            failed = [(index, error) for index in range(count)]
        if failed:
            self._count_lost(failed)
        else:
            self.health.good()

    def _lost_later(self, count: int, why: KafkaPipeError) -> None:
        self._stats.events_lost += count
        self.health.bad(why)

    def _lost(self, result: "BatchResult") -> None:
        self._count_lost(result.failed)

    def _count_lost(self, failed: Sequence[tuple[int, KafkaPipeError]]) -> None:
        self._stats.events_lost += len(failed)
        self.health.bad(failed[0][1])


def _unavailable(detail: str, more: dict[str, object] | None = None) -> Refusal:
    return Refusal(503, "kafka unavailable", detail, headers=_RETRY, more=more)


def _reason(error: KafkaPipeError) -> str:
    """What a stranger may know of it: brokers and their addresses are not among that."""
    if error.code in _TOO_LARGE:
        return "larger than the topic takes"
    if isinstance(error, DeadlineError):
        return "not confirmed in time"
    return "refused by Kafka" if isinstance(error, RejectedError) else "Kafka could not take it"
