"""Brings the events of the spool to Kafka, in order and each once.

A transaction has the events of one topic and, as an offset of the spool's own group, how far that went. So
after a ``kill -9`` Kafka itself tells which events it has, and the file forgets them: nothing is sent twice
to those who read committed data, which is every consumer of kafkapipe. The rows go when the commit is known.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping

from .._transaction import Transaction
from ..consumer import Consumer
from ..errors import ClosedError, DeadlineError, FatalError, KafkaPipeError, RetryableError
from ..producer import Producer
from .spool_file import Row
from .spooling import Spooling

_log = logging.getLogger("kafkapipe.collector")

_MOST = 1000
_MAX_BYTES = 4 << 20
_STEP_SECONDS = 20.0
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
# what one event can be refused for, whatever comes before and after it
_OF_THE_EVENT = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD"})
# a transaction decides these
_OURS = frozenset(
    {
        "acks", "request.required.acks", "enable.idempotence", "delivery.timeout.ms", "message.timeout.ms",
        "transactional.id", "linger.ms", "queue.buffering.max.ms", "enable.gapless.guarantee",
        "max.in.flight", "max.in.flight.requests.per.connection", "retries", "message.send.max.retries",
    }
)  # fmt: skip


class Drain:
    """A task that empties the spool whenever Kafka takes events.

    :param kafka: librdkafka's properties of the whole file
    """

    def __init__(self, spooling: Spooling, kafka: Mapping[str, str]) -> None:
        self._spooling = spooling
        self._spool = spooling.spool
        self._kafka = {name: value for name, value in kafka.items() if name not in _OURS}
        self._producer: Producer | None = None
        self._known: set[str] = set()  # topics whose position was read since the producer is ours
        self._most: dict[str, int] = {}  # events at once of topics with one that Kafka does not take
        self._task: asyncio.Task[None] | None = None
        self.problem: str | None = None
        """Why the last try failed."""

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="drain the spool")

    async def close(self) -> None:
        """Stop; what is under way is aborted and stays in the spool."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._drop_producer()

    async def _run(self) -> None:
        wait = _FIRST_WAIT
        while True:
            await self._spool.changed.wait()
            self._spool.changed.clear()
            failed = False
            for topic in self._spool.topics:
                failed |= not await self._empty(topic)
            wait = min(wait * 2, _LONGEST_WAIT) if failed else _FIRST_WAIT
            if failed:
                await asyncio.sleep(random.uniform(wait / 2, wait))
                self._spool.changed.set()

    async def _empty(self, topic: str) -> bool:
        """Whether all of a topic could be sent, or nothing yet because the producer's come first."""
        try:
            while self._spool.has(topic) and not self._spooling.is_open(topic):
                try:
                    if not await self._step(topic):
                        return True
                finally:
                    self._spooling.open_gate(topic)
        except KafkaPipeError as error:
            if self.problem is None:
                _log.warning("spool: Kafka does not take events of %s: %s", topic, error.message)
            self.problem = error.message
            if isinstance(error, FatalError | ClosedError):
                await self._drop_producer()
            return False
        if self.problem is not None and not self._spool.events:
            _log.info("spool: all events are in Kafka")
            self.problem = None
        return True

    async def _step(self, topic: str) -> bool:
        """One transaction; False when there was nothing to do."""
        producer = await self._ready_producer()
        most = self._most.get(topic, _MOST)
        rows: list[Row] = []
        transaction = producer.transaction(_STEP_SECONDS)
        try:
            async with transaction:
                await self._learn(topic)
                rows = await self._spool.ask(lambda file: file.head(topic, most, _MAX_BYTES))
                if len(rows) == self._spool.count(topic):
                    self._spooling.close_gate(topic)
                if rows:
                    await self._send(producer, transaction, rows)
        except DeadlineError:
            if not await _committed(transaction):
                raise
        except KafkaPipeError as error:
            if error.code not in _OF_THE_EVENT or not rows:
                raise
            await self._refused(topic, rows, error)
            return True
        await self._spool.remove(rows)
        if most < _MOST:
            self._most[topic] = most * 2
        return bool(rows)

    async def _send(self, producer: Producer, transaction: Transaction, rows: list[Row]) -> None:
        topic = rows[0].topic
        sent = producer.try_send_many(
            topic,
            [row.value for row in rows],
            keys=[row.key for row in rows],
            headers=[row.headers for row in rows],
            timestamps=[row.at for row in rows],
        )
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                result = await sent
        except TimeoutError:
            raise RetryableError(f"Kafka did not confirm within {_STEP_SECONDS:g} s", op="drain") from None
        if result.failed:
            raise result.failed[0][1]
        await transaction.send_position(self._spool.name, topic, rows[-1].id + 1, _STEP_SECONDS)

    async def _refused(self, topic: str, rows: list[Row], error: KafkaPipeError) -> None:
        """Of a batch that was refused for one event it is not known which: halves find it."""
        self._most[topic] = max(1, len(rows) // 2)
        if len(rows) == 1:
            await self._spool.remove(rows)
            self._spooling.lost(1, error)
            _log.error("spool: Kafka will never take an event of %s: %s", topic, error.message)

    async def _learn(self, topic: str) -> None:
        """Forget what an earlier run had sent and could not forget; the transaction before ours is ended."""
        if topic in self._known:
            return
        reader = Consumer(group=self._spool.name, config=self._kafka)
        async with reader:
            (position,) = (await reader.committed([(topic, 0)], timeout=_STEP_SECONDS)).values()
        if position is not None:
            rows: list[Row] = await self._spool.ask(lambda file: file.of(topic, position))
            if rows:
                _log.info("spool: %d events of %s were sent by an earlier run", len(rows), topic)
            await self._spool.remove(rows)
        self._known.add(topic)

    async def _ready_producer(self) -> Producer:
        if self._producer is None:
            properties = {
                "reconnect.backoff.max.ms": "1000",
                **self._kafka,
                "transactional.id": self._spool.name,
                "linger.ms": "0",
            }
            self._producer = Producer(config=properties)
            await self._producer.start()
        return self._producer

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        self._known.clear()
        if producer is not None:
            with contextlib.suppress(KafkaPipeError):
                await producer.close(1.0)


async def _committed(transaction: Transaction) -> bool:
    """Wait for a commit without an answer; False when it was no commit that had none."""
    while True:
        try:
            await transaction.commit()
        except DeadlineError:
            await asyncio.sleep(_FIRST_WAIT)
        except KafkaPipeError:
            return False
        else:
            return True
