"""Hands events to the producer and says what became of them in the terms of HTTP."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from ..errors import ClosedError, DeadlineError, KafkaPipeError, QueueFull, RejectedError
from .answers import Refusal
from .deadline import Deadline
from .stats import CollectorStats

if TYPE_CHECKING:
    from .._core import BatchResult
    from ..producer import Producer

PROBLEM_SECONDS = 10.0
"""How long after it was last seen a problem with Kafka is reported."""

_log = logging.getLogger("kafkapipe.collector")

_RETRY = [(b"retry-after", b"1")]
_TOO_LARGE = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"})

Events = Sequence[bytes | bytearray]


class KafkaHealth:
    """Whether Kafka takes events; tells the log when that changes, not for each request."""

    def __init__(self) -> None:
        self._problem: str | None = None
        self._seen = 0.0

    @property
    def problem(self) -> str | None:
        """What events were last refused with; None since some were taken, or when that was a while ago.

        It fades because an instance that says it is not ready may get no more requests to disprove it with.
        """
        return self._problem if monotonic() - self._seen < PROBLEM_SECONDS else None

    def good(self) -> None:
        """Events were taken."""
        if self._problem is not None:
            self._problem = None
            _log.info("Kafka takes events again")

    def bad(self, error: KafkaPipeError) -> None:
        """Events were not taken."""
        if self._problem is None:
            _log.warning("Kafka does not take events: %s", error.message)
        self._problem = error.message
        self._seen = monotonic()


class Delivery:
    """The way of events into Kafka, and what came of it counted and judged."""

    def __init__(self, producer: "Producer", stats: CollectorStats, *, ack_seconds: float) -> None:
        self.health = KafkaHealth()
        self._producer = producer
        self._stats = stats
        self._deadline = Deadline(ack_seconds)

    async def take(self, topic: str, events: Events, *, queued: bool) -> None:
        """Returns when the local queue has the events (``queued``), or else when the broker confirmed them.

        :raises Refusal: 503 when Kafka cannot take them now, 413 when one is larger than the topic takes
        """
        pending = self._enqueue(topic, events)
        if queued:
            pending.add_done_callback(partial(self._settle, len(events)))
        else:
            result = await self._confirmation(pending)
            if result.failed:
                raise self._refusal(result)
            self.health.good()
        self._stats.events_accepted += len(events)

    def _enqueue(self, topic: str, events: Events) -> "asyncio.Future[BatchResult]":
        try:
            return self._producer.try_send_many(topic, events)
        except QueueFull as error:
            self.health.bad(error)
            raise _unavailable("the queue to Kafka is full; none was taken") from None
        except ClosedError:
            raise _unavailable("the collector is stopping; none was taken") from None
        except RejectedError:
            raise Refusal(413, "too many events", "the queue to Kafka never has room for so much") from None
        except KafkaPipeError as error:
            self.health.bad(error)
            raise _unavailable("Kafka cannot be written to; none was taken") from None

    async def _confirmation(self, pending: "asyncio.Future[BatchResult]") -> "BatchResult":
        try:
            with self._deadline:
                return await pending
        except TimeoutError:
            detail = f"Kafka did not confirm within {self._deadline.seconds:g} s; the events may still arrive"
            self.health.bad(DeadlineError(detail))
            raise _unavailable(detail) from None
        except KafkaPipeError as error:
            self.health.bad(error)
            raise _unavailable("Kafka did not confirm; the events may still arrive") from None

    def _refusal(self, result: "BatchResult") -> Refusal:
        first = result.failed[0][1]
        more = {
            "accepted": result.delivered,
            "rejected": [{"index": index, "reason": _reason(error)} for index, error in result.failed],
        }
        self._stats.events_accepted += result.delivered
        if all(error.code in _TOO_LARGE for _, error in result.failed):
            return Refusal(413, "event too large", "an event is larger than its topic takes", more=more)
        self.health.bad(first)
        count = len(result.failed)
        return _unavailable(f"{count} of {result.delivered + count} events were not taken", more)

    def _settle(self, count: int, pending: "asyncio.Future[BatchResult]") -> None:
        try:
            failed = pending.result().failed
        except KafkaPipeError as error:
            failed = [(index, error) for index in range(count)]
        if failed:
            self._stats.events_lost += len(failed)
            self.health.bad(failed[0][1])
        else:
            self.health.good()


def _unavailable(detail: str, more: dict[str, object] | None = None) -> Refusal:
    return Refusal(503, "kafka unavailable", detail, headers=_RETRY, more=more)


def _reason(error: KafkaPipeError) -> str:
    """What a stranger may know of it: brokers and their addresses are not among that."""
    if error.code in _TOO_LARGE:
        return "larger than the topic takes"
    if isinstance(error, DeadlineError):
        return "not confirmed in time"
    return "refused by Kafka" if isinstance(error, RejectedError) else "Kafka could not take it"
