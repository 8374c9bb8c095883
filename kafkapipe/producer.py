"""The producer: batches of messages into Kafka from asyncio, with a result for every message."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

from . import _core, _partitioner, _properties
from ._core import BatchResult, RecordMetadata
from ._partitioner import Partitioner
from ._threads import SLICE_SECONDS, Threads, interrupted
from ._transaction import Transaction, Transactions
from .errors import ClosedError, ConfigError, DeadlineError, QueueFull

Data = str | bytes | bytearray | memoryview
"""What a key, a value or the value of a header can be: text is written as UTF-8."""


class ArrowArray(Protocol):
    """A column of text or bytes that another library holds, as pyarrow's arrays."""

    def __arrow_c_array__(self, requested_schema: Any = None) -> tuple[Any, Any]: ...


class ArrowStream(Protocol):
    """The same in chunks: pyarrow's chunked arrays, series of polars and pandas."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


Values = Iterable[Data | None] | ArrowArray | ArrowStream
Keys = Sequence[Data | None] | ArrowArray | ArrowStream

Headers = Mapping[str, Data | None] | Iterable[tuple[str, Data | None]]

T = TypeVar("T")

_PURGE_SECONDS = 2.0  # how long the results of a purge may take


class Producer:
    """Writes messages to Kafka; an async context manager that belongs to one event loop.

    Each message is acknowledged by all in-sync replicas and written once (``acks=all``,
    ``enable.idempotence=true``) unless told otherwise, and each has a result: where it is, or why it failed.
    A full local queue is waited for by ``send`` and ``send_many``, first come, first served, and is QueueFull
    for ``try_send`` and ``try_send_many``.

        async with Producer("127.0.0.1:9092", linger_ms=5) as producer:
            metadata = await producer.send("colors", "빨강", key="홍길동")

    ``bootstrap`` are the first servers to ask, ``KAFKAPIPE_BOOTSTRAP`` or 127.0.0.1:9092 by default. A
    keyword ``a_b`` is librdkafka's property ``a.b``; ``config`` takes properties under their own names.
    ``partitioner`` says where messages without ``partition=`` go:

    * ``"sticky"``: those with a key by its hash (CRC32, as every client on librdkafka), those without to one
      partition for a while (``sticky.partitioning.linger.ms``), then to another, which makes full batches;
    * ``"murmur2"``: the same, but the hash is that of the Java client, for topics that both write;
    * ``"round_robin"``: one after the other, whatever the key; ``"random"``: those without a key;
    * ``"consistent"``: by the hash, and all without a key to the same one;
    * a function ``(topic, keys, partitions)`` that returns a number for each key. It is called once for each
      batch, and what it raises is raised by ``send``; a number that is no partition fails its message alone.

    Raises ConfigError for a property that is unknown or has a wrong value.
    """

    def __init__(
        self,
        bootstrap: str | None = None,
        *,
        partitioner: str | Partitioner = "sticky",
        config: Mapping[str, _properties.Value] | None = None,
        **properties: _properties.Value,
    ) -> None:
        given = _properties.collect(bootstrap, config, properties)
        name = partitioner if isinstance(partitioner, str) else "sticky"
        self._properties = {
            **_properties.producer_defaults(given),
            **_partitioner.properties_of(name),
            **given,
        }
        self._round_robin = partitioner == _partitioner.ROUND_ROBIN
        self._core: _core.Producer | None = None
        self._closing: asyncio.Task[None] | None = None
        self._threads = Threads()
        self._choice = self._choice_of(partitioner)
        self._transactions = Transactions(self._threads, self._flushed)
        self._turn = asyncio.Lock()  # of those who wait for room
        self._waiting = 0
        self._room: asyncio.Future[None] | None = None
        self._purging = 0  # those who wait for room must not fall into a purge that is under way
        self._on_failure: list[Callable[[BatchResult], None]] = []

    async def start(self) -> None:
        """Start the client on the running loop. Brokers are contacted in the background: none must be up."""
        if self._core is not None:
            raise ClosedError("the producer was started before: make a new one", op="start producer")
        self._loop = asyncio.get_running_loop()
        self._core = _core.Producer(list(self._properties.items()), self._round_robin)
        self._loop.add_reader(self._core.fileno(), self._on_results)

    async def close(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - the flush's own bound
        """Send what is queued, within ``timeout`` seconds, then end the client; closing twice does nothing.

        What is not acknowledged by then is given up, and its results are ClosedErrors. A task that was
        cancelled, as by Ctrl-C, goes on sending only as long as the brokers acknowledge.
        """
        if self._core is None:
            return
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(self._core, timeout, in_haste=interrupted()))
            self._wake_waiting()
        await asyncio.shield(self._closing)

    async def send(
        self,
        topic: str,
        value: Data | None = None,
        *,
        key: Data | None = None,
        headers: Headers | None = None,
        timestamp: int | datetime | None = None,
        partition: int | None = None,
    ) -> RecordMetadata:
        """Write one message and return where it is, once the broker has acknowledged it.

        ``timestamp`` is a datetime or milliseconds since 1970, by default now; without ``partition`` the
        partitioner chooses. Waits while the local queue is full; when cancelled then, nothing was sent. When
        cancelled later, the message goes out all the same.

        Raises RejectedError when the message will never be accepted, DeadlineError when it was not
        acknowledged within ``delivery.timeout.ms``, RetryableError when trying again can help, FatalError
        when the producer cannot go on (at once when no broker lets it in: a wrong password, a certificate),
        ClosedError when it was closed.
        """
        core = self._running()
        if self._choice is not None:
            [partition] = await self._choice.of(core, topic, (key,), (partition,))
        future: asyncio.Future[RecordMetadata] = self._loop.create_future()
        batch = core.prepare(topic, value, key, headers, timestamp, partition, future)
        if not self._hand_in(core, batch, future):
            await self._hand_in_later(batch, future)
        return await future

    async def send_many(
        self,
        topic: str,
        values: Values,
        *,
        keys: Keys | None = None,
        headers: Sequence[Headers | None] | None = None,
        timestamps: Sequence[int | datetime | None] | None = None,
        partitions: Sequence[int | None] | None = None,
    ) -> BatchResult:
        """Write many messages to one topic and return what became of each, once all have a result.

        ``keys`` and the others have one item for each value; ``values`` may be an iterator, and both may be
        Arrow columns (pyarrow, polars, pandas), which are read where they lie.

        A message that fails, fails alone: it is in ``failed`` of the result, with its index. Waits while the
        local queue is full; when cancelled then, the messages that were queued before go out.

        A broker refuses a whole set of messages when the set is larger than ``max.message.bytes`` of the
        topic. They are sent again then, one by one and in their order; only a message that was queued behind
        them before the refusal came may be written before them. ``batch_size`` below that limit avoids both
        (and in a transaction, which is aborted then, it is the only way).

        Raises FatalError and ClosedError as ``send``; TypeError and ValueError for sequences that do not fit.
        """
        core = self._running()
        if self._choice is not None:
            values, keys = _sized(values, keys)
            partitions = await self._choice.of(core, topic, keys, partitions)
        future: asyncio.Future[BatchResult] = self._loop.create_future()
        batch = core.prepare_many(topic, values, keys, headers, timestamps, partitions, future)
        if not self._hand_in(core, batch, future):
            await self._hand_in_later(batch, future)
        return await future

    def try_send(
        self,
        topic: str,
        value: Data | None = None,
        *,
        key: Data | None = None,
        headers: Headers | None = None,
        timestamp: int | datetime | None = None,
        partition: int | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        """Queue one message now and return the future of its result; QueueFull when there is no room."""
        core = self._running()
        if self._choice is not None:
            [partition] = self._choice.now(topic, (key,), (partition,))
        future = self._loop.create_future()
        batch = core.prepare(topic, value, key, headers, timestamp, partition, future)
        self._hand_in_now(core, batch, future)
        return future

    def try_send_many(
        self,
        topic: str,
        values: Values,
        *,
        keys: Keys | None = None,
        headers: Sequence[Headers | None] | None = None,
        timestamps: Sequence[int | datetime | None] | None = None,
        partitions: Sequence[int | None] | None = None,
    ) -> asyncio.Future[BatchResult]:
        """Queue all of these messages now and return the future of their results.

        Raises QueueFull when there is no room for all of them, and RejectedError when there never can be:
        nothing is queued then.
        """
        core = self._running()
        if self._choice is not None:
            values, keys = _sized(values, keys)
            partitions = self._choice.now(topic, keys, partitions)
        future = self._loop.create_future()
        batch = core.prepare_many(topic, values, keys, headers, timestamps, partitions, future)
        self._hand_in_now(core, batch, future)
        return future

    def post(self, topic: str, body: bytes | bytearray, max_events: int = 1000) -> int:
        """Queue the events of a JSON body now, in one crossing, and watch none of them; how many.

        The body is one object, an array of objects or NDJSON. 0 when an event is not fit, there are none, or
        more than ``max_events``: nothing is queued then. Failures are told to ``on_unwatched_failure``.
        Raises QueueFull when there is no room for all of them, RejectedError when there never can be.
        """
        core = self._core
        if core is None or self._waiting or self._closing is not None or self._choice is not None:
            return self._post(topic, body, max_events, None)
        count = core.post(topic, body, max_events, None)
        if count < 0:
            raise _no_room()
        return count

    def post_watched(
        self, topic: str, body: bytes | bytearray, max_events: int = 1000
    ) -> asyncio.Future[BatchResult] | None:
        """The same with a future of the results; None in place of 0."""
        self._running()
        future: asyncio.Future[BatchResult] = self._loop.create_future()
        return future if self._post(topic, body, max_events, future) else None

    def on_unwatched_failure(self, tell: Callable[[BatchResult], None]) -> None:
        """Call ``tell`` with the results of each ``post`` of which a message failed."""
        self._on_failure.append(tell)

    def _post(
        self,
        topic: str,
        body: bytes | bytearray,
        max_events: int,
        future: asyncio.Future[BatchResult] | None,
    ) -> int:
        core = self._running()
        if self._choice is not None:
            return 0  # a function chooses partitions: try_send_many asks it
        count = -1 if self._waiting else core.post(topic, body, max_events, future)
        if count < 0:
            raise _no_room()
        return count

    async def flush(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - blocks a thread, not the loop
        """Wait until every message that was sent before has a result, without the wait of ``linger.ms``.

        ``timeout`` is in seconds; DeadlineError when some are still without a result then.
        """
        core = self._running()
        if not await self._flushed(core, timeout):
            left, problem = core.outstanding, core.problem()
            message = f"flush: {left} messages have no result after {timeout:g} s"
            raise DeadlineError(f"{message}: {problem}" if problem else message, op="flush")

    async def purge(self) -> None:
        """Give up every message that has no result, also those that are on their way; they fail at once.

        With RetryableError, of code ``_PURGE_QUEUE`` when it was not sent and ``_PURGE_INFLIGHT`` when it
        may be in the topic. Sends that wait for room go on waiting, and find some.
        """
        core = self._running()
        self._purging += 1
        try:
            await self._threads.run(core.purge, False)
        finally:
            self._purging -= 1
            self._on_results()

    def transaction(self, timeout: float = 60.0) -> Transaction:
        """Begin a transaction: what is sent within is committed together at the end of the block.

            async with Producer(transactional_id="colors-1") as producer:
                async for batch in consumer:
                    async with producer.transaction() as transaction:
                        await producer.send_many("upper", [record.value.upper() for record in batch])
                        await transaction.send_offsets(batch)

        An exception in the block aborts. ``timeout`` is in seconds, for the beginning and for the end. The
        first one finishes off what an older producer of this ``transactional_id`` left open, and fences it.
        Raises ConfigError without a ``transactional_id``, others as Transaction says.
        """
        if not self._properties.get("transactional.id"):
            raise ConfigError(
                "transaction: the producer has no transactional_id: give a name that is its own",
                op="begin transaction",
                code="transactional.id",
            )
        return Transaction(self._transactions, self._running, timeout)

    async def warm(self, topics: Iterable[str], timeout: float = 10.0) -> None:  # noqa: ASYNC109 - as flush
        """Learn where the partitions of these topics are, so that the first message need not wait for it.

        Raises DeadlineError when no broker tells within ``timeout`` seconds, RejectedError when there is no
        such topic.
        """
        core = self._running()
        await asyncio.gather(*(self._warm(core, topic, timeout) for topic in topics))

    @property
    def queue_length(self) -> int:
        """Number of messages that were taken and have no result yet."""
        return self._core.outstanding if self._core is not None else 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _running(self) -> _core.Producer:
        if self._core is None:
            raise ClosedError("the producer is not started: use `async with`, or await start()", op="produce")
        if self._closing is not None:
            raise ClosedError("the producer is closed: make a new one", op="produce")
        return self._core

    def _choice_of(self, partitioner: str | Partitioner) -> _partitioner.Choice | None:
        if isinstance(partitioner, str):
            return None
        refresh_ms = int(self._properties.get("topic.metadata.refresh.interval.ms", "300000"))
        seconds = refresh_ms / 1000 if refresh_ms > 0 else float("inf")
        return _partitioner.Choice(partitioner, self._threads, seconds)

    # sending

    def _hand_in(self, core: _core.Producer, batch: BatchResult, future: asyncio.Future[T]) -> bool:
        """Whether the whole batch could be handed in, without overtaking those who wait."""
        try:
            return self._waiting == 0 and core.enqueue(batch)
        except BaseException:
            self._give_up(batch, future)
            raise

    async def _hand_in_later(self, batch: BatchResult, future: asyncio.Future[T]) -> None:
        self._waiting += 1
        try:
            async with self._turn:
                while not self._running().enqueue(batch):
                    self._room = self._loop.create_future()
                    await self._room
        except BaseException:
            self._give_up(batch, future)
            raise
        finally:
            self._waiting -= 1

    def _hand_in_now(self, core: _core.Producer, batch: BatchResult, future: asyncio.Future[T]) -> None:
        if self._waiting > 0 or not core.has_room(batch):
            raise _no_room()
        if not self._hand_in(core, batch, future):
            core.abandon(batch)  # another thread took the room: each message that is left over fails

    def _give_up(self, batch: BatchResult, future: asyncio.Future[T]) -> None:
        future.cancel()  # nobody will wait for it
        if self._core is not None:
            self._core.abandon(batch)

    def _wake_waiting(self) -> None:
        if self._room is not None and not self._room.done() and not self._purging:
            self._room.set_result(None)

    def _on_results(self) -> None:
        if self._core is not None:
            self._settle(self._core.drain())
        self._wake_waiting()

    # waiting

    async def _flushed(
        self,
        core: _core.Producer,
        timeout: float | None,  # noqa: ASYNC109
        *,
        in_haste: bool = False,
    ) -> bool:
        end = None if timeout is None else self._loop.time() + timeout
        before = None
        while self._waiting or core.outstanding:
            left = SLICE_SECONDS if end is None else end - self._loop.time()
            now = (self._waiting, core.outstanding)
            if left <= 0 or (in_haste and now == before):
                return False
            before = now
            await self._threads.run(core.flush, max(1, int(min(left, SLICE_SECONDS) * 1000)))
        return True

    async def _warm(self, core: _core.Producer, topic: str, timeout: float) -> None:  # noqa: ASYNC109
        count = await self._threads.ask_until(lambda timeout_ms: core.warm(topic, timeout_ms), timeout)
        if self._choice is not None:
            self._choice.note(topic, count)

    async def _close(self, core: _core.Producer, timeout: float, *, in_haste: bool) -> None:  # noqa: ASYNC109
        try:
            end = self._loop.time() + timeout
            await self._transactions.close(core, SLICE_SECONDS if in_haste else timeout)
            if not await self._flushed(core, end - self._loop.time(), in_haste=in_haste):
                await self._threads.run(core.purge, True)
                await self._flushed(core, _PURGE_SECONDS)
        finally:
            self._loop.remove_reader(core.fileno())
            await self._threads.end(core.close, self._settle, wait=not in_haste)

    def _settle(self, outcomes: Iterable[tuple[asyncio.Future[Any] | None, Any]]) -> None:
        for future, outcome in outcomes:
            if future is None:  # of a post, with failures
                for tell in self._on_failure:
                    tell(outcome)
            elif future.done():  # cancelled: nobody waits for it
                continue
            elif isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


def _sized(values: Values, keys: Keys | None) -> tuple[Values, Sequence[Any]]:
    """Values and keys for a partitioner of the user's, which gets a key for each message."""
    if keys is not None:
        return values, cast("Sequence[Any]", keys)
    items = values if isinstance(values, Sized) else list(cast("Iterable[Data | None]", values))
    return cast("Values", items), [None] * len(items)


def _no_room() -> QueueFull:
    return QueueFull(
        "produce: the local queue is full: wait, or raise queue.buffering.max.messages and "
        "queue.buffering.max.kbytes",
        op="produce",
        code="_QUEUE_FULL",
    )
