"""A lane: one topic with its load, the two pipelines that drain it, and the lives of the program that runs
them.

Lanes run side by side: a killed program's successor mostly waits for the broker to believe in the death.
"""

import asyncio
import os
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import confluent_kafka
import httpx

import kafkapipe as kp
from kafkapipe.stack import Stack
from tests.faults.oracle import Ledger, Places, ReadTopic, Verdict, judge
from tests.faults.programs import Program, Zygote

SESSION_MS = 1500
PARTITIONS = 2


@dataclass
class Lane:
    """``name`` is also its topic, its index and its folder under /data."""

    name: str
    stack: Stack
    zygote: Zygote
    port: int
    rate: int = 400
    poison_every: int = 100
    session_ms: int = SESSION_MS
    kafka: dict[str, str] = field(default_factory=dict)
    hdfs_url: str = ""
    search_url: str = ""
    rotate: dict[str, Any] = field(default_factory=lambda: {"records": 150, "age": "500ms"})
    stream: str = "8MiB"
    format: str = "raw"  # json: files have dead letters of their own, in NAME-files-dlq
    partitions: int = PARTITIONS
    refused: Callable[[Any], bool] = lambda _: False  # documents that the index never takes
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.name, self.partitions, self.poison_every)

    @property
    def groups(self) -> tuple[str, str]:
        """The groups of the files and of the index pipeline."""
        return f"{self.name}-files", f"{self.name}-index"

    def config(self, port: int | None = None) -> dict[str, Any]:
        """The configuration file."""
        session = {
            "session.timeout.ms": str(self.session_ms),
            "heartbeat.interval.ms": str(self.session_ms // 4),
            "topic.metadata.refresh.interval.ms": "5000",
        }
        sinks: list[dict[str, Any]] = [
            {
                "type": "hdfs",
                "url": self.hdfs_url or self.stack.webhdfs_url,
                "path": f"/data/{self.name}/{{partition}}-{{offset}}.log",
                "rotate": self.rotate,
                "stream": self.stream,
                "format": self.format,
                "timeout": "10s",
            },
            {
                "type": "elasticsearch",
                "url": self.search_url or self.stack.search_url,
                "index": self.name,
                "flush": {"records": 50, "age": "200ms"},
                "timeout": "10s",
            },
        ]
        letters = {"dead_letter": {"topic": f"{self.name}-files-dlq"}} if self.format == "json" else {}
        common = {"topics": [self.name], "retry": {"max": "1s"}, "kafka": {**session, **self.kafka}}
        return {
            "kafka": {"bootstrap.servers": self.stack.bootstrap},
            "pipelines": {
                self.groups[0]: {**common, "workers": 2, "sink": sinks[0], **letters},
                self.groups[1]: {**common, "sink": sinks[1], "dead_letter": {"topic": f"{self.name}-dlq"}},
            },
            "management": {"listen": f"127.0.0.1:{port or self.port}"},
        }

    async def prepare(self) -> None:
        """Make its topics and its index."""
        async with kp.Admin(self.stack.bootstrap) as admin:
            await admin.create_topic(self.name, partitions=self.partitions, timeout=120)
            await admin.create_topic(f"{self.name}-dlq", partitions=1, timeout=120)
        settings = {"settings": {"number_of_shards": 1, "number_of_replicas": 0}}
        async with httpx.AsyncClient(timeout=120, trust_env=False) as http:
            answer = await http.put(f"{self.stack.search_url}/{self.name}", json=settings)
            answer.raise_for_status()

    @asynccontextmanager
    async def load(self) -> AsyncIterator[kp.Producer]:
        """Its producer, sending all the while; at the end what was sent is acked."""
        async with kp.Producer(self.stack.bootstrap) as producer:
            flow = asyncio.create_task(self.ledger.flow(producer, self.rate))
            try:
                yield producer
            finally:
                flow.cancel()
                await asyncio.gather(flow, return_exceptions=True)

    async def start(self, fail_point: str = "", port: int | None = None) -> Program:
        """A life of the program."""
        return await self.zygote.start(self.config(port), fail_point=fail_point)

    async def finish(self, http: httpx.AsyncClient) -> None:
        """A last life that drains everything and ends in order."""
        program = await self.start()
        await program.caught_up(http)
        assert await program.end() == 0, program.tail()

    async def judge(self, read_topic: ReadTopic) -> Verdict:
        """What the oracle says."""
        folder, letters = f"/data/{self.name}", f"{self.name}-dlq"
        places = Places(self.stack, read_topic, folder, self.name, letters, self.refused)
        return await judge(places, self.ledger)


async def seconds_to_commit(lane: Lane, group: str, limit: float = 10) -> float:
    """Seconds until the group's offsets go on, which must be within ``limit``."""
    start = time.monotonic()
    async with kp.Admin(lane.stack.bootstrap) as admin:

        async def look() -> int:
            try:
                return sum(
                    each.committed or 0 for each in (await admin.describe_group(group, timeout=120)).offsets
                )
            except kp.RejectedError:  # there is no such group yet
                return 0

        before = await look()
        while await look() == before:
            late = time.monotonic() - start > limit
            assert not late, f"{group} did not commit within {limit} s (its offsets' sum is {before})"
            await asyncio.sleep(0.1)
    return time.monotonic() - start


@asynccontextmanager
async def intruder(lane: Lane) -> AsyncIterator[None]:
    """Another member of the lane's groups that reads and never commits: its coming is a rebalance."""
    stop = threading.Event()

    def join(group: str) -> None:
        settings = {
            "bootstrap.servers": lane.stack.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            **lane.kafka,
        }
        member = confluent_kafka.Consumer(settings)
        member.subscribe([lane.name])
        while not stop.is_set():
            member.poll(0.1)
        member.close()

    threads = [asyncio.create_task(asyncio.to_thread(join, group)) for group in lane.groups]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*threads)


@dataclass
class World:
    """What a fault test works with. ``share`` of the full dose is wanted; ``figures`` are told at the end."""

    stack: Stack
    zygote: Zygote
    http: httpx.AsyncClient
    read_topic: ReadTopic
    port: Callable[[], int]
    seed: int
    share: float
    figures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    @property
    def full(self) -> bool:
        """Whether this is not the default run."""
        return self.share > 0

    @property
    def patience(self) -> float:
        """What a time limit of the matrix is multiplied by: 1 on a machine with cores to spare."""
        return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / 1.5)

    def dose(self, small: int, full: int) -> int:
        """How much of it: ``small`` in the default run, else that share of ``full``, if that is more."""
        return max(small, round(full * self.share))

    def lane(self, name: str, **options: Any) -> Lane:
        """A lane of its own for this run."""
        return Lane(f"{name}-{self.seed}", self.stack, self.zygote, self.port(), **options)

    async def settle(self, *lanes: Lane, **figures: object) -> None:
        """Drain the lanes, have the oracle judge them, note the figures; fails when anything is wrong."""
        await asyncio.gather(*(lane.finish(self.http) for lane in lanes))
        verdicts = [await lane.judge(self.read_topic) for lane in lanes]
        total: Counter[str] = Counter()
        for verdict in verdicts:
            total.update(verdict.figures)
        self.note(**figures, **total)
        assert [problem for verdict in verdicts for problem in verdict.problems] == []

    def note(self, **figures: object) -> None:
        """A line for the end of the run."""
        self.figures.append(", ".join(f"{name}: {value}" for name, value in figures.items()))
