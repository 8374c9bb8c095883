"""Pipelines: topics through a sink, run by C threads; this module starts, watches and stops them."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

from . import _core, _html, _properties
from ._files import File, Hdfs
from ._problems import validate
from ._ranges import Range
from ._threads import Threads, interrupted
from ._yaml import Document
from .config import Elasticsearch, Null, PipelineConfig, to_core_json
from .errors import ClosedError, FatalError, RetryableError

DRAIN_SECONDS = 8.0
"""How long ``stop`` waits by default until what was read is delivered and committed."""
_ASK_MS = 10_000
_COORDINATOR_SECONDS = 15.0


class Snapshot(dict[str, Any]):
    """How a pipeline is, at one moment."""

    def _repr_html_(self) -> str:
        values = {name: value for name, value in self.items() if name not in ("name", "workers")}
        return _html.mapping({**values, "workers": len(self.get("workers", ()))}, str(self.get("name", "")))


class Pipeline:
    """One pipeline, as an async context manager that starts it and, at the end, drains it.

    Its workers are threads that never hold the interpreter's lock; the event loop hears of changes through
    a descriptor. Offsets are committed only after the sink has the records, so a pipeline may be stopped,
    killed and started at any time: files and documents are there exactly once.
    """

    def __init__(
        self,
        *,
        topics: Sequence[str],
        sink: Hdfs | File | Elasticsearch | Null,
        kafka: Mapping[str, str] | None = None,
        name: str = "pipeline",
        **options: Any,
    ) -> None:
        """A pipeline from ``topics`` (names, or regular expressions that start with ^) to ``sink``.

        ``kafka`` holds librdkafka properties (``KAFKAPIPE_BOOTSTRAP`` or 127.0.0.1:9092 is the default
        server), ``options`` are the other options of a pipeline in a configuration file (``group``,
        ``workers``, ``dead_letter``, …). Raises ConfigError.
        """
        fields = {"topics": list(topics), "sink": sink, **options}
        config = validate(Document(f"pipeline {name}", fields), PipelineConfig)
        self._open(to_core_json(name, config, _properties.collect(None, kafka, {})))

    @classmethod
    def from_config(
        cls,
        name: str,
        config: PipelineConfig,
        kafka: Mapping[str, str],
        ranges: Sequence[Range] | None = None,
        *,
        redrive: bool = False,
    ) -> Self:
        """A pipeline as a configuration file describes it; ``kafka`` are the whole file's properties.

        With ``ranges`` it reads these alone of its topics, and is drained at their ends. ``redrive``: they
        are dead letters, and each is delivered as the record that it was.
        """
        self = cls.__new__(cls)
        parts = None if ranges is None else [each.core() for each in ranges]
        self._open(to_core_json(name, config, kafka, parts, redrive), ranges)
        return self

    def _open(self, document: str, ranges: Sequence[Range] | None = None) -> None:
        self._core: _core.Pipeline | None = _core.Pipeline(document)
        self._ranges = ranges
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._threads = Threads()
        self._last = Snapshot(json.loads(self._core.snapshot()))

    async def start(self) -> None:
        """Starts the workers. They join the group in the background; ``snapshot`` tells how far they are."""
        core = self._usable()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(core.fileno(), self._on_wake)
        core.start()

    async def run(self) -> None:
        """Runs until the pipeline stops; started when it was not.

        Raises FatalError with the reason when it failed, as at a record that can never be delivered.
        """
        if self._loop is None:
            await self.start()
        core = self._usable()
        await self._until(core.stopped)
        self._raise_if_failed()

    async def drained(self) -> None:
        """Waits until everything that is in the topics now is in the sink and committed.

        Raises FatalError when the pipeline fails meanwhile.
        """
        if self._ranges is not None:
            wanted = {(each.topic, each.partition): each.end for each in self._ranges}
        else:
            ends = await self._ends()
            wanted = {(topic, number): high for topic, number, low, high, _ in ends if high > low}
        while wanted:
            await self._until(partial(self._may_have_committed, wanted))
            now = {(topic, number): committed for topic, number, _, _, committed in await self._ends()}
            wanted = {part: high for part, high in wanted.items() if now.get(part, -1) < high}
            if wanted:  # another process of the group owns what is left: look again in a while
                await self._change()

    async def stop(self, timeout: float = DRAIN_SECONDS) -> None:  # noqa: ASYNC109 - the drain's own bound
        """Stops reading, delivers and commits what was read within ``timeout`` seconds, leaves the group.

        What is not done by then is left to the next owner of the partitions: nothing is lost. Stopping twice
        does nothing.
        """
        core = self._core
        if core is None:
            return
        core.stop(int(timeout * 1000))
        if self._loop is not None:
            await self._until(core.stopped)
            self._loop.remove_reader(core.fileno())
        self._last = Snapshot(json.loads(core.snapshot()))
        self._core = None
        await self._threads.end(core.close, lambda _: None, wait=not interrupted())

    def snapshot(self) -> Snapshot:
        """State ("starting", "running", "paused", "draining", "stopped", "failed"), its reason, and counters.

        ``lag`` is in records that are not committed, None while it is not known; ``bytes_out`` counts keys
        and values; ``workers`` has each worker's assignment as [topic, partition, position, committed].
        """
        if self._core is not None:
            self._last = Snapshot(json.loads(self._core.snapshot()))
        return self._last

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _usable(self) -> _core.Pipeline:
        if self._core is None:
            raise ClosedError("the pipeline was stopped: make a new one", op="pipeline")
        return self._core

    def _on_wake(self) -> None:
        if self._core is not None:
            self._core.clear_wake()
        self._changed.set()

    async def _until(self, done: Callable[[], bool]) -> None:
        """Looks at every change, and each second."""
        while True:
            self._changed.clear()
            if done():
                return
            await self._change()

    async def _change(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), 1.0)

    async def _ends(self) -> list[tuple[str, int, int, int, int]]:
        """Asks the brokers where each partition begins and ends, and what the group has committed.

        A group that is new may have no coordinator yet, or one that is not ready: asks again for a while.
        """
        deadline = time.monotonic() + _COORDINATOR_SECONDS
        while True:
            try:
                answer = await self._threads.run(self._usable().ends, _ASK_MS)
            except RetryableError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
            else:
                ends: list[tuple[str, int, int, int, int]] = json.loads(answer)
                return ends

    def _may_have_committed(self, wanted: Mapping[tuple[str, int], int]) -> bool:
        """Whether the group may be there, as far as its own workers know."""
        self._raise_if_failed()
        assigned = [part for worker in self.snapshot()["workers"] for part in worker["assignment"]]
        return bool(assigned) and all(
            committed >= wanted.get((topic, partition), -1) for topic, partition, _, committed in assigned
        )

    def _raise_if_failed(self) -> None:
        seen = self.snapshot()
        if seen["state"] == "failed":
            raise FatalError(f"pipeline {seen['name']}: {seen['reason']}", op="pipeline")
