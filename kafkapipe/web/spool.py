"""The spool: keeps events on disk that Kafka does not take now; bounded.

One thread has the file. It writes all that waits for it as one group, so that a flood costs one sync of the
disk at a time, and the event loop never waits for a disk.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ClosedError, QueueFull, RetryableError
from .spool_file import Headers, Row, SpoolFile

_log = logging.getLogger("kafkapipe.collector")

_GROUP = 256  # requests that are written together


@dataclass(slots=True)
class _Job:
    future: "asyncio.Future[Any]"
    add: Sequence[Row] = ()
    remove: Sequence[int] = ()
    ask: Callable[[SpoolFile], Any] | None = None


class Spool:
    """:param max_bytes: of all events together; more is refused with QueueFull"""

    def __init__(self, path: str, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._counts: dict[str, int] = {}
        self._closing = False
        self.bytes = 0
        self.written = 0
        self.oldest: int | None = None
        """When the first event came, in milliseconds since 1970."""
        self.name = ""
        self.changed = asyncio.Event()
        """Set when events were added."""

    async def start(self) -> None:
        """Open the file.

        :raises ConfigError: when that fails
        """
        self._loop = asyncio.get_running_loop()
        self._file = await asyncio.to_thread(SpoolFile, self._path)
        self.name = self._file.name
        self._last = self._file.last_id()
        self.oldest = self._file.oldest()
        for topic, (events, size) in self._file.totals().items():
            self._counts[topic] = events
            self.bytes += size
        self._thread = threading.Thread(target=self._work, name="kafkapipe spool", daemon=True)
        self._thread.start()
        if self._counts:
            _log.info("spool: %d events of an earlier run wait for Kafka in %s", self.events, self._path)
            self.changed.set()

    async def close(self) -> None:
        """Write what waits and close the file; again does nothing."""
        self._closing = True
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    @property
    def events(self) -> int:
        """Number of events in the spool."""
        return sum(self._counts.values())

    @property
    def topics(self) -> list[str]:
        """The topics that have events in it."""
        return list(self._counts)

    def has(self, topic: str) -> bool:
        """Whether events of this topic are in it, or on their way into it."""
        return topic in self._counts

    def count(self, topic: str) -> int:
        """Number of events of this topic in it, or on their way into it."""
        return self._counts.get(topic, 0)

    @property
    def problem(self) -> str | None:
        """What waits, in words; None when it is empty."""
        if not self._counts:
            return None
        return f"{self.events} events ({self.bytes} bytes) wait for Kafka, the first for {self.age:.0f} s"

    @property
    def age(self) -> float:
        """Seconds that the first event has waited; 0 when there is none."""
        return max(0.0, time.time() - self.oldest / 1000) if self._counts and self.oldest else 0.0

    def put(
        self,
        topic: str,
        values: Sequence[bytes | bytearray],
        keys: Sequence[bytes | None] | None,
        headers: Sequence[Headers] | None,
    ) -> "tuple[asyncio.Future[None], list[Row]]":
        """Add events: a future that is done when they are on disk, and the rows that they are.

        :raises QueueFull: when there is no room for all of them
        :raises ClosedError: when it was closed
        """
        if self._closing or self._thread is None:
            raise ClosedError("spool: it is closed", op="spool")
        now = int(time.time() * 1000)
        rows = [
            Row(
                self._last + 1 + number, topic, now, keys[number] if keys else None, bytes(value),
                headers[number] if headers else (),
            )
            for number, value in enumerate(values)
        ]  # fmt: skip
        size = sum(row.size for row in rows)
        if self.bytes + size > self._max_bytes:
            raise QueueFull(f"spool: it has its {self._max_bytes} bytes", op="spool", code="_QUEUE_FULL")
        self._last += len(rows)
        self._count(rows, 1)
        future = self._do(_Job(self._loop.create_future(), add=rows))
        future.add_done_callback(lambda done: self._added(done, rows))
        return future, rows

    def _added(self, done: "asyncio.Future[None]", rows: list[Row]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._count(rows, -1)
        else:
            self.written += len(rows)
            self.changed.set()

    async def remove(self, rows: Sequence[Row]) -> None:
        """Forget these events; they are gone from the disk when this returns."""
        if rows:
            await self._do(_Job(self._loop.create_future(), remove=[row.id for row in rows]))
            self._count(rows, -1)
            if not self._counts:
                await self.ask(SpoolFile.shrink)

    async def ask(self, question: Callable[[SpoolFile], Any]) -> Any:
        """What this gives, called in the thread that has the file."""
        return await self._do(_Job(self._loop.create_future(), ask=question))

    def _do(self, job: _Job) -> "asyncio.Future[Any]":
        self._jobs.put(job)
        return job.future

    def _count(self, rows: Sequence[Row], sign: int) -> None:
        for row in rows:
            self.bytes += sign * row.size
            left = self._counts.get(row.topic, 0) + sign
            if left:
                self._counts[row.topic] = left
            else:
                del self._counts[row.topic]

    # the thread

    def _work(self) -> None:
        going = True
        while going:
            jobs = [self._jobs.get()]
            while len(jobs) < _GROUP and not self._jobs.empty():
                jobs.append(self._jobs.get())
            going = None not in jobs
            self._write([job for job in jobs if job is not None])
        self._file.close()

    def _write(self, jobs: list[_Job]) -> None:
        changes = [job for job in jobs if job.ask is None]
        error: Exception | None = None
        if changes:
            try:
                self._file.begin()
                for job in changes:
                    self._file.add(job.add)
                    self._file.remove(job.remove)
                self._file.commit()
            except sqlite3.Error as failure:
                self._file.rollback()
                error = RetryableError(f"spool: {self._path}: {failure}", op="spool")
        answers: list[tuple[_Job, Any]] = [(job, error) for job in changes]
        answers += [(job, self._answer(job.ask)) for job in jobs if job.ask is not None]
        oldest = self._answer(SpoolFile.oldest)
        self._loop.call_soon_threadsafe(self._settle, answers, oldest)

    def _answer(self, question: Callable[[SpoolFile], Any]) -> Any:
        try:
            return question(self._file)
        except sqlite3.Error as failure:
            return RetryableError(f"spool: {self._path}: {failure}", op="spool")

    def _settle(self, answers: list[tuple[_Job, Any]], oldest: Any) -> None:
        self.oldest = oldest if isinstance(oldest, int) else None
        for job, answer in answers:
            if job.future.done():
                continue
            if isinstance(answer, Exception):
                job.future.set_exception(answer)
            else:
                job.future.set_result(answer)
