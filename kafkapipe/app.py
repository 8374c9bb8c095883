"""What ``kafkapipe run`` runs: collector, pipelines and management port in one process and one loop."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from ._collecting import CollectorConfig
from .admin import Admin
from .config import Config, Elasticsearch, PipelineConfig
from .errors import KafkaPipeError
from .indexes import by_guess
from .pipeline import Pipeline
from .producer import Producer
from .web.collector import Collector
from .web.management import management
from .web.server import App as Asgi
from .web.server import Server
from .web.spool import Spool
from .web.spooler import Spooler
from .web.stats import CollectorStats

_log = logging.getLogger("kafkapipe")

DRAIN_SECONDS = 8.0
"""How long the drain may take; the process is gone within ten seconds."""
_PROBE_SECONDS = 3.0


class App:
    """Everything that a configuration asks for, as an async context manager.

    Entering returns when the ports answer and the clients are made; ``problems`` and the pipelines' snapshots
    tell what works. A pipeline that fails leaves the others running. Leaving drains.

    ``around`` makes the application that the collector's port serves out of the collector's own.
    Raises ConfigError for a port that cannot be had or a setting that a library refuses.
    """

    def __init__(self, config: Config, *, around: Callable[[Asgi], Asgi] = lambda app: app) -> None:
        self._config = config
        self._around = around
        self._pipelines: dict[str, Pipeline] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._producer: Producer | None = None
        self._spooler: Spooler | None = None
        self._collector: Collector | None = None
        self._collector_server: Server | None = None
        self._management = Server(management(self), config.management.listen, option="management.listen")
        self._health = _KafkaHealth(config)
        self._stopped = False

    @property
    def collector_url(self) -> str | None:
        """Where the collector answers; None when there is none."""
        return self._collector_server.url if self._collector_server else None

    @property
    def management_url(self) -> str:
        """Where the management port answers."""
        return self._management.url

    def pipelines(self) -> Mapping[str, Mapping[str, Any]]:
        """The snapshot of each pipeline, by name."""
        return {name: pipeline.snapshot() for name, pipeline in self._pipelines.items()}

    def collector_stats(self) -> CollectorStats | None:
        """The collector's counters; None when there is no collector."""
        return self._collector.stats if self._collector else None

    def spool(self) -> Spool | None:
        """The collector's spool; None when there is none."""
        return self._spooler.spool if self._spooler else None

    async def problems(self) -> Mapping[str, str]:
        """What does not work now outside the pipelines, by part."""
        found = {"kafka": await self._health.problem()}
        if self._collector:
            found["collector"] = self._collector.problem
        if self._spooler:
            found["spool"] = self._spooler.problem
        return {part: text for part, text in found.items() if text}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop(0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start(self) -> None:
        await self._management.bind()
        await self._health.start()
        if self._config.collector:
            self._producer = Producer(config=self._config.kafka)
            if self._config.collector.spool:
                self._spooler = Spooler(self._config.collector, self._producer, self._config.kafka)
            self._collector = Collector.from_config(
                self._config.collector, self._producer, spooler=self._spooler
            )
            listen = self._config.collector.listen
            served = self._around(self._collector)
            gate = self._collector.gate() if served is self._collector else None
            self._collector_server = Server(served, listen, option="collector.listen", gate=gate)
            await self._collector_server.bind()
            await self._producer.start()
            if self._spooler:
                await self._spooler.start()
            self._tasks.append(asyncio.create_task(_warm(self._producer, self._config.collector)))
        for name, pipeline in self._config.pipelines.items():
            self._pipelines[name] = Pipeline.from_config(name, pipeline, self._config.kafka)
            if isinstance(pipeline.sink, Elasticsearch):
                self._tasks.append(asyncio.create_task(_warn_of_guess(name, pipeline, pipeline.sink)))
        for name, running in self._pipelines.items():
            await running.start()
            self._tasks.append(asyncio.create_task(_watch(name, running), name=f"watch {name}"))
        await self._management.start()
        if self._collector_server:
            await self._collector_server.start()

    async def stop(self, timeout: float = DRAIN_SECONDS) -> bool:  # noqa: ASYNC109 - cuts off, does not raise
        """Drain: take nothing more, flush what was taken, seal and publish files, commit.

        What is left after ``timeout`` seconds is cut off. Records that a pipeline had not settled are read
        again at the next start. False when events that the collector had taken could not be sent to Kafka.
        """
        if self._stopped:
            return True
        self._stopped = True
        deadline = time.monotonic() + timeout
        await _end(self._tasks)
        pipelines = asyncio.gather(*(pipeline.stop(timeout) for pipeline in self._pipelines.values()))
        flushed = await self._stop_collector(deadline)
        await pipelines
        await self._health.close()
        await self._management.close(1.0)
        return flushed

    async def _stop_collector(self, deadline: float) -> bool:
        if not (self._collector_server and self._collector and self._producer):
            return True
        await self._collector_server.close(max(0.0, (deadline - time.monotonic()) / 2))
        stats = self._collector.stats
        before = stats.events_lost
        if self._spooler:
            await self._spooler.stop_draining()
        await self._producer.close(max(0.0, deadline - time.monotonic()))
        await asyncio.sleep(0)  # the results of the close are counted in the loop's next turn
        if self._spooler:
            await self._spooler.close()
        lost = stats.events_lost - before
        if lost:
            _log.error("collector: %d events that were answered as queued did not reach Kafka", lost)
        return not lost


async def _warm(producer: Producer, collector: CollectorConfig) -> None:
    """Ask for the topics' partitions now, so that the first event need not wait for that."""
    for topic in collector.topics:
        try:
            await producer.warm([topic])
        except KafkaPipeError as error:
            _log.warning("collector: topic %s: %s", topic, error.message)


async def _warn_of_guess(name: str, pipeline: PipelineConfig, sink: Elasticsearch) -> None:
    """Tell the log when the server would guess the mapping of an index that the pipeline writes to."""
    if text := await by_guess(name, pipeline, sink):
        _log.warning("%s: %s; to choose: kafkapipe index create CONFIG %s", name, text, name)


async def _watch(name: str, pipeline: Pipeline) -> None:
    """Tell the log when a pipeline ends by itself; the others go on."""
    try:
        await pipeline.run()
    except KafkaPipeError as error:
        _log.error("%s", error.message)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _KafkaHealth:
    """Whether the cluster answers, asked at most once in a few seconds however many ask for readiness."""

    def __init__(self, config: Config) -> None:
        self._admin = Admin(config=config.kafka)
        self._asked = -_PROBE_SECONDS
        self._problem: str | None = None
        self._lock = asyncio.Lock()

    async def problem(self) -> str | None:
        """Why Kafka cannot be used; None when it can."""
        async with self._lock:
            if time.monotonic() - self._asked >= _PROBE_SECONDS:
                self._problem = await self._ask()
                self._asked = time.monotonic()
        return self._problem

    async def _ask(self) -> str | None:
        try:
            await self._admin.list_topics(timeout=_PROBE_SECONDS)
        except KafkaPipeError as error:
            return error.message
        return None

    async def start(self) -> None:
        """Make the client; ConfigError for a property's value that librdkafka refuses."""
        await self._admin.start()

    async def close(self) -> None:
        """End the client."""
        await self._admin.close()


async def interrupted() -> None:
    """Wait for SIGTERM or SIGINT; from then on, a second one ends the process at once, with 1."""
    first = asyncio.Event()

    def on_signal() -> None:
        if first.is_set():
            os._exit(1)
        first.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await first.wait()


async def serve(config: Config) -> int:
    """Run a configuration until SIGTERM or SIGINT, then drain; the exit code."""
    stop = asyncio.create_task(interrupted())
    async with App(config) as app:
        _log.info("management port: %s", app.management_url)
        if app.collector_url:
            _log.info("collector: %s", app.collector_url)
        await stop
        _log.info("draining")
        return 0 if await app.stop() else 1
