"""The collector: W1, W2, W3, latency in an open loop, memory of idle connections.

    python -m bench.collector [SECONDS] [PAIRS] [1|2|3: from W1, W2 or W3 on]

The server is pinned to one core, the generator (wrk: apt-get install wrk) to the other; the brokers are a
mock cluster in a third process. Contenders take turns. A run is void unless every request was answered with
success and the topic holds as many records as events were answered as taken.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import confluent_kafka
import uvloop

from kafkapipe import MockCluster

from .cluster import event
from .collector_servers import SETTINGS, TOPIC
from .measure import Helper, load_average, python, spread

SECONDS = 5
PAIRS = 7
CONNECTIONS = 64
IDLE_CONNECTIONS = 10_000
BATCH = 100
PARTITIONS = 3
_REQUESTS = re.compile(r"(\d+) requests in ([\d.]+)(ms|s)")
_BAD = re.compile(r"Non-2xx|Socket errors")


class Run:
    """One contender beside a fresh cluster."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> "Run":
        self._cluster = Helper(*python("bench.collector", "serve")).__enter__()
        self._bootstrap = self._cluster.line.strip()
        command = python("bench.collector_servers", self.name, self._bootstrap)
        self._server = Helper(*command).__enter__()
        self.port = int(self._server.line)
        return self

    def __exit__(self, *error: Any) -> None:
        self._server.__exit__(None, None, None)
        self._cluster.__exit__(None, None, None)

    def figures(self) -> dict[str, float]:
        """CPU-seconds and memory of the server."""
        process = self._server.process
        assert process.stdin
        assert process.stdout
        process.stdin.write("\n")
        process.stdin.flush()
        found: dict[str, float] = json.loads(process.stdout.readline())
        return found

    def records(self, wanted: float) -> int:
        """What is in the topic, once that is so many or has had its time."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self._bootstrap, "group.id": "proof"})
        parts = [confluent_kafka.TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        found, end = 0, time.monotonic() + 60
        while found < wanted and time.monotonic() < end:
            found = sum(consumer.get_watermark_offsets(each, 20)[1] for each in parts)
            time.sleep(0.1)
        consumer.close()
        return found


def body(events: int) -> str:
    """So many clicks, one a line."""
    return "\n".join(event(number) for number in range(events))


def wrk(port: int, seconds: int, events: int) -> dict[str, float]:
    """Requests a second of 64 connections that each wait for their answer."""
    script = Path(tempfile.gettempdir(), f"kafkapipe-wrk-{os.getpid()}.lua")
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/x-ndjson"\n'
        f"wrk.body = [==[{body(events)}]==]\n"
    )
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "60s", "-s", str(script)]
    if shutil.which("taskset"):
        command = ["taskset", "-c", str(os.cpu_count() - 1 if os.cpu_count() else 0), *command]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/events"], capture_output=True, text=True, check=True
    )
    script.unlink()
    found = _REQUESTS.search(done.stdout)
    if not found or _BAD.search(done.stdout):
        raise SystemExit(f"void: {done.stdout}")
    length = float(found[2]) / (1000 if found[3] == "ms" else 1)
    return {"requests": int(found[1]), "rate": int(found[1]) / length}


def measured(name: str, seconds: int, events: int) -> dict[str, float]:
    """One run."""
    with Run(name) as run:
        wrk(run.port, 1, events)
        warm = run.figures()
        result = wrk(run.port, seconds, events)
        result["cpu_us"] = (run.figures()["cpu"] - warm["cpu"]) / result["requests"] * 1e6
        if name not in ("bare", "nothing"):
            wanted = result["requests"] * events  # and those that wrk left unread at its end
            if (found := run.records(wanted)) < wanted:
                raise SystemExit(f"void: {name}: {found} of {wanted} records are in the topic")
    return result


def compare(  # noqa: PLR0917
    title: str, ours: str, theirs: str, seconds: int, pairs: int, events: int = 1
) -> None:
    """The line of two contenders."""
    found = [(measured(ours, seconds, events), measured(theirs, seconds, events)) for _ in range(pairs)]
    sides = []
    for name, side in ((ours, 0), (theirs, 1)):
        rate = median(pair[side]["rate"] for pair in found)
        cpu = median(pair[side]["cpu_us"] for pair in found)
        sides.append(f"{name} {rate:,.0f} requests/s, {cpu:.1f} us of CPU each")
    rates = [our["rate"] / their["rate"] for our, their in found]
    cheaper = [their["cpu_us"] / our["cpu_us"] for our, their in found]
    print(
        f"{title}: {'; '.join(sides)}; ratio {spread(rates)}, of CPU {spread(cheaper)}, {pairs} pairs; "
        f"{load_average()}",
        flush=True,
    )


# open loop


class _Client(asyncio.Protocol):
    """One connection of the open loop; answers come in the order of the requests."""

    def __init__(self, took: list[float]) -> None:
        self._took = took
        self.due: list[float] = []
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        data = self._left + data
        count = data.count(b'{"accepted":1}')
        if b"HTTP/1.1 4" in data or b"HTTP/1.1 5" in data:
            raise SystemExit(f"void: {data!r}")
        self._left = data[data.rindex(b'{"accepted":1}') + 14 :] if count else data
        for due in self.due[:count]:
            self._took.append((now - due) * 1000)
        del self.due[:count]


async def _open_loop(port: int, path: str, rate: float, seconds: float) -> list[float]:
    loop = asyncio.get_running_loop()
    took: list[float] = []
    clients = [
        (await loop.create_connection(lambda: _Client(took), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    data = body(1).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json"]
    request = "\r\n".join([*lines, f"Content-Length: {len(data)}", "", ""]).encode() + data
    start, sent = loop.time(), 0
    while (now := loop.time()) < start + seconds:
        while sent < (now - start) * rate:
            client = clients[sent % CONNECTIONS]
            client.due.append(time.monotonic() - (now - start) + sent / rate)  # when it should have gone
            client.transport.write(request)  # type: ignore[attr-defined]
            sent += 1
        await asyncio.sleep(0.0005)
    end = loop.time() + 20
    while len(took) < sent and loop.time() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    if len(took) < sent:
        raise SystemExit(f"void: {len(took)} of {sent} requests were answered")
    return sorted(took)


def latency(path: str, rate: float, seconds: float) -> None:
    """Milliseconds from the moment that a request should have been sent."""
    with Run("kafkapipe") as run:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {(os.cpu_count() or 1) - 1})
        took = uvloop.run(_open_loop(run.port, path, rate, seconds))
    p50, p99, p999 = (took[int(len(took) * part)] for part in (0.5, 0.99, 0.999))
    print(
        f"latency at {rate:,.0f} requests/s, {path}: p50 {p50:.2f}, p99 {p99:.2f}, p99.9 {p999:.2f} ms; "
        f"{load_average()}",
        flush=True,
    )


async def _connect(port: int, count: int) -> list[asyncio.BaseTransport]:
    loop = asyncio.get_running_loop()
    opened = []
    for _ in range(count):
        opened.append((await loop.create_connection(asyncio.Protocol, "127.0.0.1", port))[0])
    return opened


def idle(count: int) -> None:
    """Memory of connections on which nothing happens."""

    async def hold(run: Run) -> dict[str, float]:
        before = run.figures()
        opened = await _connect(run.port, count)
        await asyncio.sleep(0.5)
        start = run.figures()
        await asyncio.sleep(3)
        after = run.figures()
        for each in opened:
            each.close()  # type: ignore[attr-defined]
        return {
            "mib": after["mib"] - before["mib"],
            "all": after["mib"],
            "cpu": (after["cpu"] - start["cpu"]) / 3,
        }

    with Run("kafkapipe") as run:
        found = uvloop.run(hold(run))
    each = found["mib"] * 1024 / count
    print(f"idle: {count:,} connections take {found['mib']:.0f} MiB ({each:.1f} KiB each), the whole process "
          f"{found['all']:.0f} MiB, {found['cpu']:.1%} of a core", flush=True)  # fmt: skip


def serve() -> None:
    """A mock cluster, until the input ends."""
    with MockCluster() as cluster:
        cluster.create_topic(TOPIC, PARTITIONS)
        print(cluster.bootstrap, flush=True)
        sys.stdin.read()


def main(seconds: int = SECONDS, pairs: int = PAIRS, first: int = 1) -> None:
    """The lines from W1, W2 or W3 on."""
    if not shutil.which("wrk"):
        raise SystemExit("the load generator wrk is missing: apt-get install wrk")
    settings = ", ".join(f"{name}={value}" for name, value in SETTINGS.items())
    print(
        f"collector: {CONNECTIONS} connections, event of {len(body(1).encode())} bytes, {settings}",
        flush=True,
    )
    if first == 1:
        compare("W1 one event a POST, queued", "kafkapipe", "bare", seconds, pairs)
        compare("W1, the bare server below ASGI", "kafkapipe", "nothing", seconds, pairs)
    if first <= 2:
        compare("W2", "kafkapipe", "fastapi-confluent", seconds, max(1, pairs // 2))
        compare("W2", "kafkapipe", "fastapi-aiokafka", seconds, max(1, pairs // 2))
    compare(f"W3 {BATCH} events a POST", "kafkapipe", "python", seconds, pairs, BATCH)
    idle(IDLE_CONNECTIONS)
    half = measured("kafkapipe", 1, 1)["rate"] / 2
    latency("/events", half, seconds)
    latency("/acked", half, seconds)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case numbers:
            main(*map(int, numbers))
