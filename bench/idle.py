"""M1: what `kafkapipe run` costs while nothing happens: collector, a pipeline to HDFS and one to _bulk.

    python -m bench.idle [SECONDS] [EVENTS]

Mock brokers and a stand-in server. Memory and CPU of the whole process, first as started, then after a burst
of events over HTTP that both sinks must have received. Prints a line.
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from .cluster import INDEX, TOPIC, event
from .measure import ROOT, Helper, Standin, load_average, memory_mib, python

SECONDS = 10
EVENTS = 200_000
_PARTITIONS = 24  # as many as keep all the events
_BODY_EVENTS = 500
_CLIENTS = 8
_PATIENCE = 60.0
_QUIET_SECONDS = 3.0  # the pipelines notice a quiet topic within two
_TICKS = os.sysconf("SC_CLK_TCK")
_LAG = re.compile(r"^kafkapipe_pipeline_lag_records\{.*\} (.*)$", re.MULTILINE)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def settings(bootstrap: str, url: str, listen: str, management: str) -> dict[str, Any]:
    """The colour page's configuration, with production's rotation but for the age."""
    hdfs = {"type": "hdfs", "url": url, "path": "/data/{partition}-{offset}.log", "rotate": {"age": "1s"}}
    search = {"type": "elasticsearch", "url": url, "index": INDEX}
    return {
        "kafka": {"bootstrap.servers": bootstrap},
        "collector": {"listen": listen, "routes": [{"method": "POST", "path": "/events", "topic": TOPIC}]},
        "pipelines": {
            "to-hdfs": {"topics": [TOPIC], "workers": 3, "sink": hdfs},
            "to-elasticsearch": {"topics": [TOPIC], "sink": search},
        },
        "management": {"listen": management},
    }


def used_seconds(process: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def until(what: str, done: Callable[[], bool]) -> None:
    """Look often, and not for ever."""
    end = time.monotonic() + _PATIENCE
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"idle: {what} not within {_PATIENCE:.0f} s")
        await asyncio.sleep(0.05)


def is_ready(management: str) -> bool:
    """Whether every part works, and every group has its partitions: only then does it know its lag."""
    try:
        ready = httpx.get(f"http://{management}/readyz", trust_env=False).status_code == 200
        lags = _LAG.findall(httpx.get(f"http://{management}/metrics", trust_env=False).text)
    except httpx.TransportError:
        return False
    return ready and lags == ["0.0", "0.0"]


async def rest(process: int, seconds: float) -> str:
    """Memory, and CPU in per cent of a core, over some seconds."""
    before = used_seconds(process)
    await asyncio.sleep(seconds)
    busy = (used_seconds(process) - before) / seconds
    return f"{memory_mib(process):.0f} MiB, {busy:.1%} of a core"


async def post(client: httpx.AsyncClient, numbers: list[range]) -> None:
    """Send what is left of the bodies."""
    while numbers:
        body = "\n".join(event(number) for number in numbers.pop())
        (await client.post("/events", content=body.encode())).raise_for_status()


async def burst(listen: str, events: int) -> None:
    """All events, some hundred in a body."""
    numbers = [range(at, min(at + _BODY_EVENTS, events)) for at in range(0, events, _BODY_EVENTS)]
    async with httpx.AsyncClient(base_url=f"http://{listen}", trust_env=False, timeout=_PATIENCE) as client:
        await asyncio.gather(*(post(client, numbers) for _ in range(_CLIENTS)))


async def watch(process: int, ports: tuple[str, str], server: Standin, seconds: float, events: int) -> None:
    """At rest, under load, at rest."""
    listen, management = ports
    start = time.monotonic()
    await until("ready", lambda: is_ready(management))
    ready = time.monotonic() - start
    fresh = await rest(process, seconds)
    await burst(listen, events)
    await until("delivered", lambda: {part["records"] for part in server.stats().values()} == {events})
    peak = memory_mib(process, peak=True)
    await asyncio.sleep(_QUIET_SECONDS)
    print(
        f"M1 kafkapipe run, idle: {fresh}; after {events:,} events: {await rest(process, seconds)}, "
        f"peak {peak:.0f} MiB; ready after {ready:.1f} s; {load_average()}",
        flush=True,
    )


def run(bootstrap: str, server: Standin, seconds: float, events: int) -> None:
    """Start, watch, drain."""
    ports = (f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(settings(bootstrap, server.url, *ports), file)
        file.flush()
        process = subprocess.Popen(python("kafkapipe", "run", file.name), cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            asyncio.run(watch(process.pid, ports, server, seconds, events))
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(_PATIENCE)
    if code:
        raise SystemExit(f"kafkapipe run ended with {code}")


def main(seconds: int = SECONDS, events: int = EVENTS) -> None:
    """With mock brokers and a stand-in server."""
    cluster = python("bench.cluster", "0", "none", str(_PARTITIONS))
    with Helper(*cluster) as helper, Standin() as server:
        run(json.loads(helper.line)["bootstrap"], server, seconds, events)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
