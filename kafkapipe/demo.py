"""The colour example on servers of its own: events sent over HTTP, and proof of where they arrived.

With ``once`` nobody has to open anything, so every port is a free one and the data are in a folder of their
own: a demo never meets what else runs on the machine, nor the data of another demo.
"""

import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import yaml

from . import _core
from ._evidence import (
    Coordinates,
    Index,
    Lines,
    differences,
    index_differences,
    read_folder,
    read_hdfs,
    topic_records,
)
from ._trail import Files, Look, Trail, index
from .admin import Admin
from .app import App
from .check import ports
from .config import Config
from .errors import DeadlineError, FatalError, KafkaPipeError
from .stack import Stack, Step, format_listing

TOPIC = "select-color"
DEAD_LETTERS = "select-color.dlq"
INDEX = "kafka-to-es"
FOLDER = "/data"
PARTITIONS = 3
READY_SECONDS = 120.0
"""How long the pipelines may take to join their groups; a member that comes or goes makes the others wait."""
ARRIVAL_SECONDS = 120.0
"""How long events may take to arrive; on an idle machine it is a few seconds."""
_POLL_SECONDS = 0.1

NAMES = (
    "홍길동", "김철수", "이영희", "O'Brien \"the Red\"", "first line\nsecond line", "a\ttab, a \\ and a é",
    "東京 🟥", "9007199254740993",
)  # fmt: skip
COLORS = ("red", "yellow", "green", "blue")
_AGENT = {"User-Agent": "kafkapipe demo"}

Event = tuple[str, str]
"""Colour and name; no two events of the demo have both in common."""


@dataclass(frozen=True)
class Servers:
    """Where the demo's servers are."""

    bootstrap: str
    stack: Stack | None = None
    folder: Path | None = None
    """Files go here in place of HDFS, and no index is written."""

    def trail(self) -> Trail:
        """What tells the page where its events are."""
        if not self.stack:
            assert self.folder
            return Trail(self.bootstrap, TOPIC, PARTITIONS, {"file": Files(self.folder)})
        places: dict[str, Look] = {
            "HDFS": Files(FOLDER, self.stack.webhdfs_url),
            "Elasticsearch": index(self.stack.search_url, INDEX, TOPIC),
        }
        return Trail(self.bootstrap, TOPIC, PARTITIONS, places)

    async def create_topics(self) -> None:
        """Make the topics that are not there yet; mock brokers make theirs at the start."""
        if self.stack is None:
            return
        async with Admin(self.bootstrap) as admin:
            there = {topic.name for topic in await admin.list_topics()}
            for name, partitions in ((TOPIC, PARTITIONS), (DEAD_LETTERS, 1)):
                if name not in there:
                    await admin.create_topic(name, partitions=partitions)


@asynccontextmanager
async def real_servers(
    report: Callable[[Step], None], *, once: bool, free_ports: bool = False
) -> AsyncIterator[Servers]:
    """Kafka, HDFS and Elasticsearch of the local stack; those that it starts are stopped at the end."""
    kafka, hdfs, search = (0, 0, 0) if once or free_ports else (9092, 9870, 9200)
    with ExitStack() as exits:
        folder = exits.enter_context(tempfile.TemporaryDirectory(prefix="kafkapipe-demo-")) if once else None
        async with Stack(
            data_dir=folder, kafka_port=kafka, hdfs_port=hdfs, search_port=search, report=report
        ) as stack:
            yield Servers(stack.bootstrap, stack)


@asynccontextmanager
async def light_servers(folder: Path) -> AsyncIterator[Servers]:
    """An in-process broker that keeps its records in memory, and a folder for the files."""
    broker = _core.MockCluster(1)
    try:
        broker.create_topic(TOPIC, PARTITIONS)
        broker.create_topic(DEAD_LETTERS, 1)
        yield Servers(broker.bootstrap, folder=folder)
    finally:
        broker.close()


def example() -> dict[str, Any]:
    """The colour example as its file has it."""
    text = files(__package__).joinpath("color.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def configuration(servers: Servers, *, once: bool, free_ports: bool = False) -> Config:
    """The example, pointed at these servers; ``once`` publishes files after 3 s in place of 30."""
    document = example()
    document["kafka"]["bootstrap.servers"] = servers.bootstrap
    pipelines = document["pipelines"]
    sink = pipelines["color-to-hdfs"]["sink"]
    if once:
        sink["rotate"]["age"] = "3s"
    if once or free_ports:
        document["collector"]["listen"] = document["management"]["listen"] = "127.0.0.1:0"
    if servers.stack:
        sink["url"] = servers.stack.webhdfs_url
        pipelines["color-to-elasticsearch"]["sink"]["url"] = servers.stack.search_url
    else:
        path = f"{servers.folder}/color-{{partition}}-{{offset}}.log"
        pipelines["color-to-hdfs"]["sink"] = {"type": "file", "path": path, "rotate": sink["rotate"]}
        del pipelines["color-to-elasticsearch"]
    return Config.model_validate(document)


async def require_ports() -> None:
    """Raise KafkaPipeError when a port of the page or of the management is taken, before anything starts."""
    for item in await ports(Config.model_validate(example())):
        if not item.ok:
            raise KafkaPipeError(f"{item.name}: {item.detail}", op="listen", code="EADDRINUSE")


# ---- the events


def posted_events() -> list[bytes]:
    """Events as they are posted; their numbers are beyond what a double can hold."""
    return [
        json.dumps(
            {
                "timestamp": "2026-01-01T10:00:00.000+0900",
                "userAgent": "kafkapipe demo",
                "colorName": COLORS[number % len(COLORS)],
                "userName": f"{NAMES[number % len(NAMES)]} {number}",
                "count": 2**53 + 1 + number,
            },
            ensure_ascii=False,
        ).encode()
        for number in range(33)
    ]


def bodies() -> list[bytes]:
    """The posted events as one object, an array of 20, and 12 lines."""
    events = posted_events()
    return [events[0], b"[" + b",".join(events[1:21]) + b"]", b"\n".join(events[21:]) + b"\n"]


def selections() -> list[dict[str, str]]:
    """The queries of the page's request: every name with every colour; 32 events."""
    return [{"color": color, "user": name} for name in NAMES for color in COLORS]


async def send(url: str) -> Counter[Event]:
    """Send all events to the collector; how often each was sent."""
    sent = Counter((query["color"], query["user"]) for query in selections())
    async with httpx.AsyncClient(base_url=url, headers=_AGENT, trust_env=False, timeout=30) as http:
        for query in selections():
            _taken(await http.get("/api/select", params=query))
        for body in bodies():
            _taken(await http.post(f"/events/{TOPIC}", content=body))
    sent.update(Counter(_event(event) for event in posted_events()))
    return sent


def _taken(answer: httpx.Response) -> None:
    if answer.status_code != 200:
        raise KafkaPipeError(
            f"collector: HTTP {answer.status_code} for {answer.request.method} {answer.request.url.path}: "
            f"{answer.text[:200]}",
            op="send",
        )


def _event(value: bytes) -> Event:
    fields = json.loads(value)
    return fields["colorName"], fields["userName"]


# ---- the course of --once


@dataclass
class Report:
    """What was sent, what arrived where, and how long each stage took."""

    events: int = 0
    lines: int = 0
    documents: int | None = None
    """None when there is no index."""
    listing: str = ""
    samples: dict[str, Any] = field(default_factory=dict)
    """A few documents by id, or lines by file."""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds by name."""
    problems: list[str] = field(default_factory=list)
    """What is missing, doubled or different; empty when every event is everywhere exactly once."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = round(time.monotonic() - start, 3)

    @property
    def complete(self) -> bool:
        """Whether every event was found everywhere, exactly once."""
        return self.events > 0 and self.lines == self.events and not self.problems


async def run_once(servers: Servers, report: Report) -> None:
    """Send the events, wait for them, stop, and compare every place with every other."""
    with report.stage("create the topics"):
        await servers.create_topics()
    places = Places(servers)
    async with App(configuration(servers, once=True)) as app:
        assert app.collector_url
        with report.stage("start collector and pipelines"):
            await ready(app)
        with report.stage("send the events over HTTP"):
            sent = await send(app.collector_url)
        report.events = sent.total()
        arrivals = [_arrival(app, report, place, count) for place, count in places.counts.items()]
        await asyncio.gather(*arrivals)
        with report.stage("drain and stop the pipelines"):
            await app.stop()
    with report.stage("compare"):
        await places.compare(sent, report)


async def ready(app: App) -> None:
    """Wait until every pipeline has been given all partitions."""

    async def all_assigned() -> bool:
        return set(_assigned(app).values()) == {PARTITIONS}

    await _until(
        app,
        all_assigned,
        lambda: f"of {PARTITIONS} partitions, pipelines have {_assigned(app)}",
        seconds=READY_SECONDS,
    )


def _assigned(app: App) -> dict[str, int]:
    return {
        name: sum(len(worker["assignment"]) for worker in snapshot["workers"])
        for name, snapshot in app.pipelines().items()
    }


async def _arrival(app: App, report: Report, place: str, count: Callable[[], Awaitable[int]]) -> None:
    found = 0

    async def all_there() -> bool:
        nonlocal found
        found = await count()
        return found >= report.events

    try:
        with report.stage(f"until all are in {place}"):
            await _until(
                app,
                all_there,
                lambda: f"{found} of {report.events} events are in {place}",
                seconds=ARRIVAL_SECONDS,
            )
    except (DeadlineError, FatalError) as error:  # the comparison then says which are missing
        report.problems.append(error.message)


async def _until(
    app: App, done: Callable[[], Awaitable[bool]], state: Callable[[], str], *, seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    while not await done():
        for name, snapshot in app.pipelines().items():
            if snapshot["state"] == "failed":
                raise FatalError(f"pipeline {name}: {snapshot['reason']}", op="demo")
        if time.monotonic() > deadline:
            raise DeadlineError(f"after {seconds:.0f} s {state()}", op="demo")
        await asyncio.sleep(_POLL_SECONDS)


class Places:
    """Where events are to arrive, and what is there."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._lines = Lines()
        self.counts: dict[str, Callable[[], Awaitable[int]]] = {"files": self._count_lines}
        if servers.stack:
            self._index = Index(servers.stack.search_url, INDEX)
            self.counts = {"HDFS": self._count_lines, "Elasticsearch": self._index.count}

    async def _count_lines(self) -> int:
        await self._listing()
        return len(self._lines.found)

    async def _listing(self) -> str:
        if self._servers.stack:
            return format_listing(await read_hdfs(self._lines, self._servers.stack.webhdfs_url, FOLDER))
        assert self._servers.folder
        paths = await read_folder(self._lines, self._servers.folder)
        return "\n".join(f"{path.stat().st_size:>8} {path}" for path in paths)

    async def compare(self, sent: Counter[Event], report: Report) -> None:
        """Fill in the report: what is where, and every difference."""
        report.listing = await self._listing()
        lines = self._lines.found
        report.lines = len(lines)
        report.problems += self._lines.problems
        if self._servers.stack:
            records = await topic_records(self._servers.stack, TOPIC, report.events)
            documents = await self._index.documents()
            report.documents = len(documents)
            report.samples = dict(sorted(documents.items())[:: max(1, len(documents) // 4)])
            report.problems += differences(records, lines)
            report.problems += index_differences(TOPIC, records, documents)
        else:
            records = lines
            report.samples = {f"{TOPIC}+{at[0]}+{at[1]}": json.loads(lines[at]) for at in sorted(lines)[::16]}
        report.problems += _miscounted(sent, records)


def _miscounted(sent: Counter[Event], records: dict[Coordinates, bytes]) -> Iterator[str]:
    """Events that are not in the records as often as they were sent, and posted bytes that are not there."""
    found = Counter(_event(value) for value in records.values())
    for event in sorted(sent.keys() | found.keys()):
        if sent[event] != found[event]:
            yield f"{event} was sent {sent[event]} times and arrived {found[event]} times"
    for value in set(posted_events()) - set(records.values()):
        yield f"this did not arrive byte for byte: {value!r}"
