"""What all calls of the admin client have in common: its life, the way of an answer, deadlines."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from . import _core, _properties
from ._threads import Threads, interrupted
from .errors import ClosedError, RetryableError

Offset = tuple[str, int, int]
"""Topic, partition, and an offset or a time in ms."""

_UNREADY = {"NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS"}
_LOOK_SECONDS = 0.1

EARLIEST, LATEST = -2, -1
"""Times that mean the two ends of a partition."""

Partition = tuple[int, int, tuple[int, ...], tuple[int, ...]]
"""Number, leader (-1: none), replicas, in-sync replicas."""


class Deadline:
    """The seconds that a call of several steps has left."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + seconds

    @property
    def left(self) -> float:
        """Seconds; never less than a moment, as each step tells itself that it is late."""
        return max(0.001, self._end - self._loop.time())

    @property
    def passed(self) -> bool:
        return self._loop.time() >= self._end


class Client:
    """An async context manager that belongs to one event loop."""

    def __init__(
        self,
        bootstrap: str | None = None,
        *,
        config: Mapping[str, _properties.Value] | None = None,
        **properties: _properties.Value,
    ) -> None:
        given = _properties.collect(bootstrap, config, properties)
        self._properties = {**_properties.CLIENT_DEFAULTS, "isolation.level": "read_uncommitted", **given}
        self._core: _core.Admin | None = None
        self._closed = False
        self._threads = Threads()
        self._altering = asyncio.Lock()  # settings are read, then written

    async def start(self) -> None:
        """Start the client on the running loop. Brokers are contacted by the first call."""
        if self._core is not None or self._closed:
            raise ClosedError("the admin client was started before: make a new one", op="start admin")
        self._loop = asyncio.get_running_loop()
        self._core = _core.Admin(list(self._properties.items()))
        self._loop.add_reader(self._core.fileno(), self._on_answers)

    async def close(self) -> None:
        """End the client; calls without an answer raise ClosedError. Closing twice does nothing."""
        core, self._core, self._closed = self._core, None, True
        if core is not None:
            self._loop.remove_reader(core.fileno())
            await self._threads.end(core.close, _fail, wait=not interrupted())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _running(self) -> _core.Admin:
        if self._core is None:
            state = "closed: make a new one" if self._closed else "not started: use `async with`"
            raise ClosedError(f"the admin client is {state}", op="admin")
        return self._core

    async def call(self, method: str, *args: object, timeout: float) -> Any:  # noqa: ASYNC109 - goes to the broker
        """What the answer to a call of the core says; it is sent again while a coordinator is not ready."""
        deadline = Deadline(timeout)
        while True:
            try:
                return json.loads(await self._send(method, args, deadline.left))
            except RetryableError as error:
                if error.code not in _UNREADY or deadline.passed:
                    raise
            await asyncio.sleep(_LOOK_SECONDS)

    def _send(self, method: str, args: Sequence[object], seconds: float) -> "asyncio.Future[str]":
        send: Callable[..., None] = getattr(self._running(), method)
        future = self._loop.create_future()
        send(*args, max(1, min(int(seconds * 1000), 3_600_000)), future)
        return future

    def _on_answers(self) -> None:
        for future, outcome in self._core.drain() if self._core is not None else ():
            if future.done():  # cancelled: nobody waits for it
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    async def metadata(self, topic: str | None, timeout: float) -> list[tuple[str, list[Partition]]]:  # noqa: ASYNC109
        """One topic, or all of them for None: names and partitions."""
        core = self._running()

        def ask(timeout_ms: int) -> list[tuple[str, list[Partition]]]:
            return core.metadata(topic, timeout_ms)

        return await self._threads.ask_until(ask, timeout)

    async def cluster(self, timeout: float) -> Any:  # noqa: ASYNC109
        """Id, controller and brokers as the core tells them."""
        core = self._running()
        return json.loads(await self._threads.ask_until(core.cluster, timeout))

    async def find_offsets(self, times: Sequence[Offset], timeout: float) -> list[int]:  # noqa: ASYNC109
        """For each time the first offset of that time or later, -1 when there is none; EARLIEST, LATEST."""
        core = self._running()

        def ask(timeout_ms: int) -> list[int]:
            return core.find_offsets(list(times), timeout_ms)

        return await self._threads.ask_until(ask, timeout) if times else []


def _fail(unanswered: Iterable[asyncio.Future[Any]]) -> None:
    for future in unanswered:
        if not future.done():
            future.set_exception(ClosedError("the admin client was closed", op="admin"))
