"""The consumer: batches of records for asyncio, from a group's or from chosen partitions."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from . import _core, _properties
from ._assignment import Assignment
from ._core import Batch
from ._offsets import UNKNOWN, Start, TopicPartition, check_start
from ._threads import SLICE_SECONDS, interrupted
from .errors import ClosedError, ConfigError, DeadlineError, RejectedError

OnRebalance = Callable[["Consumer", tuple[TopicPartition, ...]], Awaitable[None]]

_SAME = {"smallest": "earliest", "beginning": "earliest", "largest": "latest", "end": "latest"}


class Consumer(Assignment):
    """Reads records of Kafka in batches; an async context manager that belongs to one event loop.

        async with Consumer("127.0.0.1:9092", group="g", topics=["colors"]) as consumer:
            async for batch in consumer:
                for record in batch:
                    print(record.offset, record.key, record.value)
                await batch.commit()

    ``topics`` are names or patterns (``^color-.*``) that the members of ``group`` share; without them, choose
    with ``assign``. ``start`` says where to begin where the group has committed nothing: by default with the
    first record that is there (or as ``auto_offset_reset`` says). A batch has at most ``max_records``.

    Nothing is committed but by ``batch.commit()``, unless ``enable_auto_commit=True``: then each batch is
    whose loop body was finished, every ``auto.commit.interval.ms`` and when its partition goes.

    ``on_assign(consumer, partitions)`` is awaited before new partitions are read, so that it may ``seek``
    in them; ``on_revoke`` before partitions go, to another member or because the consumer closes, when
    every batch handed out was finished; ``on_lost`` when they went already, as this member was away for too
    long. They run in the loop's wait for the next batch, and what they raise is raised there, once the
    rebalance is answered. A loop body that takes longer than ``max.poll.interval.ms`` loses its partitions.

    Servers and properties as for Producer. Raises ConfigError for settings that are wrong.
    """

    def __init__(
        self,
        bootstrap: str | None = None,
        *,
        group: str | None = None,
        topics: str | Iterable[str] = (),
        start: Start | None = None,
        max_records: int = 1000,
        on_assign: OnRebalance | None = None,
        on_revoke: OnRebalance | None = None,
        on_lost: OnRebalance | None = None,
        config: Mapping[str, _properties.Value] | None = None,
        **properties: _properties.Value,
    ) -> None:
        given = _properties.collect_consumer(bootstrap, config, properties)
        group = group if group is not None else given.get("group.id")
        reset = given.get("auto.offset.reset", "earliest")
        super().__init__(group, start, start if isinstance(start, str) else _SAME.get(reset, reset))
        self._topics = [topics] if isinstance(topics, str) else list(topics)
        self._auto_commit = given.get("enable.auto.commit", "false") == "true"
        self._shares = bool(self._topics)
        _check(self._group, self._topics, start, max_records, self._auto_commit)
        _check_calls(on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)
        self._properties = {
            **_properties.consumer_defaults(given),
            **given,
            "group.id": self._group or "kafkapipe",
            "auto.offset.reset": self._reset,
            "enable.auto.offset.store": "false",  # the library counts what it handed to us as done
        }
        poll_ms = int(self._properties.get("max.poll.interval.ms", "300000"))
        self._poll_seconds = poll_ms / 3000  # the library must be asked as often, or it leaves the group
        self._max_records = max_records
        self._calls = {"assign": on_assign, "revoke": on_revoke, "lost": on_lost}
        self._self = weakref.ref(self)
        self._handed: Batch | None = None  # the loop's body has it
        self._task: asyncio.Task[object] | None = None  # that asks for the next batch now
        self._free = asyncio.Event()  # set while there is none
        self._free.set()
        self._wake: asyncio.Future[None] | None = None
        self._stopping = False

    # life

    async def start(self) -> None:
        """Start the client on the running loop. Brokers are contacted in the background: none must be up."""
        if self._core is not None:
            raise ClosedError("the consumer was started before: make a new one", op="start consumer")
        core = _core.Consumer(list(self._properties.items()))
        try:
            if self._topics:
                _subscribe(core, self._topics)
        except BaseException:
            core.close()
            raise
        self._open(core)
        self._loop.add_reader(core.fileno(), self._on_ready)

    def stop(self) -> None:
        """End the loop over this consumer, at once if it waits, else after its body, and leave the group.

        From anywhere: another task, another thread, a signal handler.
        """
        self._stopping = True
        if self._core is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_up)

    async def close(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - of a broker's answers
        """Give the partitions up, leave the group within ``timeout`` seconds, end the client.

        Closing twice does nothing. A loop that waits in another task ends. A task that was cancelled, as by
        Ctrl-C, waits only a moment.
        """
        self._stopping = True
        if self._core is None:
            return
        if asyncio.current_task() in {self._task, self._closing} - {None}:
            raise RuntimeError("close() in a callback of the consumer waits for itself: call stop()")
        if self._closing is None:
            in_haste = interrupted()
            left = min(timeout, SLICE_SECONDS) if in_haste else timeout
            self._closing = asyncio.ensure_future(self._close(self._core, left, wait=not in_haste))
        self._wake_up()
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # reading

    def __aiter__(self) -> AsyncIterator[Batch]:
        self._running()
        return self

    async def __anext__(self) -> Batch:
        """The next batch, once there is one.

        Raises what a callback raised; RejectedError for a topic that is not there or not allowed; FatalError
        when the client cannot go on, as with a wrong password. Brokers that are away are waited for.
        """
        if self._task is not None:
            raise RuntimeError("the consumer is read by another task: one loop at a time")
        self._task = asyncio.current_task()
        self._free.clear()
        try:
            batch = None if self._closed() else await self._next(self._running())
        finally:
            self._task = None
            self._free.set()
        if batch is None:
            await self.close()
            raise StopAsyncIteration
        return batch

    # what batches call

    async def _commit(self, batch: Batch, timeout: float) -> None:  # noqa: ASYNC109
        core = self._running()
        self._must_have_group("commit")
        future: asyncio.Future[None] = self._loop.create_future()
        asked, gone = core.commit(batch, future)
        try:
            async with asyncio.timeout(timeout):
                await (future if asked else asyncio.sleep(0))
        except TimeoutError:
            raise DeadlineError(
                f"commit: no answer within {timeout:g} s: {core.problem()}", op="commit"
            ) from None
        _refuse(gone)

    def _commit_sync(self, batch: Batch, timeout: float) -> None:
        core = self._running()
        self._must_have_group("commit")
        _refuse(core.commit_sync(batch, max(1, int(timeout * 1000))))

    def _must_send_offsets(self) -> None:
        """That a transaction may commit for the group."""
        self._running()
        self._must_have_group("send offsets")
        if self._auto_commit:
            raise ConfigError(
                "send offsets: the consumer commits by itself: leave enable_auto_commit out",
                op="send offsets",
            )

    # the loop

    async def _next(self, core: _core.Consumer) -> Batch | None:
        handed, self._handed = self._handed, None
        if handed is not None and self._auto_commit:
            core.store(handed)
        await asyncio.sleep(0)  # other tasks have their turn, also when there is always a batch
        while not self._stopping:
            if (rebalance := core.rebalance()) is not None:
                await self._answer(core, *rebalance)
            elif (batch := core.read(self._max_records, self._self)) is not None:
                self._handed = batch
                return batch
            elif core.rebalance() is None:
                await self._wait()
        return None

    async def _wait(self) -> None:
        self._wake = self._loop.create_future()
        timer = self._loop.call_later(self._poll_seconds, self._wake_up)
        try:
            await self._wake
        finally:
            timer.cancel()
            self._wake = None

    async def _answer(self, core: _core.Consumer, kind: str, entries: list[tuple[str, int, int]]) -> None:
        partitions = tuple(TopicPartition(topic, number) for topic, number, _ in entries)
        try:
            if kind == "assign":
                self._coming = dict.fromkeys(partitions, UNKNOWN)
                await self._begin_at_start(partitions)
            await self._tell(kind, partitions)
        finally:  # whatever the callback did, the group must not wait for us
            starts, self._coming = self._coming, {}
            core.answer([(*where, offset) for where, offset in starts.items()])
            if kind == "assign":
                core.pause([(*where, 0) for where in self._paused.intersection(partitions)])
            else:
                self._paused.difference_update(partitions)

    async def _begin_at_start(self, partitions: tuple[TopicPartition, ...]) -> None:
        """An offset or a time that was given, where the group has committed nothing."""
        if partitions and self._start is not None and not isinstance(self._start, str):
            committed = await self._offsets.committed(partitions, 10.0)
            starts = {where: self._start for where, offset in committed.items() if offset is None}
            self._coming |= await self._offsets.resolve(starts, 10.0)

    async def _tell(self, kind: str, partitions: tuple[TopicPartition, ...]) -> None:
        call = self._calls[kind]
        if call is not None and partitions:
            await call(self, partitions)

    def _on_ready(self) -> None:
        if self._core is not None:
            self._core.clear_wake()
            self._settle_commits(self._core)
        self._wake_up()

    def _settle_commits(self, core: _core.Consumer) -> None:
        for future, error in core.commits():
            if not future.done():  # else nobody waits for it
                future.set_result(None) if error is None else future.set_exception(error)

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # leaving

    async def _close(self, core: _core.Consumer, timeout: float, *, wait: bool) -> None:  # noqa: ASYNC109
        await self._free.wait()
        try:
            if self._topics:
                await self._tell("revoke", self.assignment)
        finally:
            self._handed = None
            self._loop.remove_reader(core.fileno())
            await self._leave(core, timeout)
            if wait:
                await self._threads.idle()
            self._settle_commits(core)
            await self._threads.end(core.close, _fail, wait=wait)

    async def _leave(self, core: _core.Consumer, timeout: float) -> None:  # noqa: ASYNC109
        end = self._loop.time() + timeout
        while not await self._threads.run(core.leave, int(SLICE_SECONDS * 1000)):
            if self._loop.time() >= end:
                return


def _check(
    group: str | None, topics: list[str], start: Start | None, max_records: int, auto_commit: bool
) -> None:
    if (topics or auto_commit) and not group:
        what = (
            "topics are shared by the members of a group" if topics else "enable.auto.commit is for a group"
        )
        raise ConfigError(f"consumer: {what}: give group=, or choose partitions with assign()")
    if group is not None and not isinstance(group, str):
        raise ConfigError(f"consumer: group is {group!r:.80}: give text")
    for topic in topics:
        if not isinstance(topic, str) or not topic:
            raise ConfigError(
                f"consumer: topics has {topic!r:.80}: give names, or patterns that start with ^"
            )
    if start is not None:
        check_start(start, "consumer")
    if not isinstance(max_records, int) or not 1 <= max_records <= 1_000_000:
        raise ConfigError(f"consumer: max_records is {max_records!r:.80}: give 1 to 1000000")


def _check_calls(**calls: object) -> None:
    for name, call in calls.items():
        if call is not None and not callable(call):
            raise ConfigError(f"consumer: {name} is {call!r:.80}: give a coroutine function")


def _subscribe(core: _core.Consumer, topics: list[str]) -> None:
    try:
        core.subscribe(topics)
    except RejectedError as error:
        patterns = ", ".join(topic for topic in topics if topic.startswith("^"))
        advice = f"is {patterns} a regular expression?" if patterns else "check the names"
        raise RejectedError(f"{error.message}: {advice}", op="subscribe", code=error.code) from None


def _fail(unanswered: Iterable[asyncio.Future[None]]) -> None:
    for future in unanswered:
        if not future.done():
            future.set_exception(ClosedError("commit: the consumer was closed", op="commit"))


def _refuse(gone: list[tuple[str, int, int]]) -> None:
    if gone:
        names = ", ".join(f"{topic} [{number}]" for topic, number, _ in gone)
        raise RejectedError(
            f"commit of {names}: taken away since the batch was read: the next owner reads it again",
            op="commit",
            code="REVOKED",
        )
