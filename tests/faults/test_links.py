"""R8 and R9: servers that cannot be reached, and lines that are slow, swallow or cut what goes over them.

The program lives, says why it waits, spends next to nothing meanwhile, and heals by itself.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.faults.lanes import Lane, World
from tests.faults.programs import Program
from tests.faults.proxy import Faults, Proxy

pytestmark = [
    pytest.mark.live,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not os.environ.get("KAFKAPIPE_FAULTS"), reason="minutes of waiting: make faults"),
]

DOWN = Faults(refuse=True)
BUSY_SHARE = 0.10
HEALED_S = 300
RATE = 100


@dataclass
class Links:
    """A proxy before each HTTP server of the stack."""

    namenode: Proxy
    datanode: Proxy
    search: Proxy

    @property
    def hdfs(self) -> tuple[Proxy, Proxy]:
        """Both of HDFS."""
        return self.namenode, self.datanode

    @property
    def all(self) -> tuple[Proxy, Proxy, Proxy]:
        """Every one."""
        return self.namenode, self.datanode, self.search

    async def set(self, faults: Faults, *proxies: Proxy) -> None:
        """Put these faults on these proxies, by default on all."""
        for proxy in proxies or self.all:
            await proxy.set(faults)


async def _datanode_port(world: World) -> int:
    url = f"{world.stack.webhdfs_url}/webhdfs/v1/data/x?op=CREATE&noredirect=true&user.name=hadoop"
    return urlsplit((await world.http.put(url)).json()["Location"]).port or 0


@asynccontextmanager
async def links(world: World) -> AsyncIterator[Links]:
    """Proxies; the NameNode's answers lead to the DataNode's proxy."""
    async with AsyncExitStack() as stack:
        port = await _datanode_port(world)
        datanode = await stack.enter_async_context(Proxy(port))
        while len(str(datanode.port)) != len(str(port)):
            datanode = await stack.enter_async_context(Proxy(port))
        lead = (f"127.0.0.1:{port}".encode(), f"127.0.0.1:{datanode.port}".encode())
        namenode = Proxy(urlsplit(world.stack.webhdfs_url).port or 0, lead)
        search = Proxy(urlsplit(world.stack.search_url).port or 0)
        yield Links(
            await stack.enter_async_context(namenode), datanode, await stack.enter_async_context(search)
        )


def through(world: World, name: str, lines: Links) -> Lane:
    """A lane whose sinks go through the proxies."""
    return world.lane(
        name,
        rate=RATE,
        hdfs_url=f"http://127.0.0.1:{lines.namenode.port}",
        search_url=f"http://127.0.0.1:{lines.search.port}",
    )


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def said(program: Program, http: httpx.AsyncClient, words: str, seconds: float) -> None:
    """Wait until `/readyz` gives a reason with these words in it."""
    deadline = time.monotonic() + seconds
    problems: dict[str, str] | None = None
    while not any(words in f"{part}: {text}" for part, text in (problems or {}).items()):
        assert time.monotonic() < deadline, f"readyz does not speak of {words!r}: {problems}"
        await asyncio.sleep(0.1)
        problems = await program.problems(http)


async def healed(program: Program, http: httpx.AsyncClient) -> float:
    """Seconds until it is ready and has caught up with the records that still come."""
    start = time.monotonic()
    await program.caught_up(http, HEALED_S, lag=2 * RATE)
    while await program.problems(http):
        assert time.monotonic() - start < HEALED_S, await program.state()
        await asyncio.sleep(0.1)
    return time.monotonic() - start


Switch = Callable[[bool], Awaitable[None]]


def outages(world: World, lines: Links) -> dict[str, tuple[Switch, str]]:
    """How each server is taken away and given back, and the word by which `/readyz` must name it."""

    async def hdfs(down: bool) -> None:
        await lines.set(DOWN if down else Faults(), *lines.hdfs)

    async def search(down: bool) -> None:
        await lines.set(DOWN if down else Faults(), lines.search)

    async def kafka(down: bool) -> None:
        await (world.stack.pause if down else world.stack.resume)("kafka-1")

    async def everything(down: bool) -> None:
        await asyncio.gather(hdfs(down), search(down), kafka(down))

    return {
        "HDFS": (hdfs, "hdfs"),
        "Elasticsearch": (search, "index"),
        "Kafka": (kafka, "kafka"),
        "all": (everything, "kafka"),
    }


async def test_unreachable_one_after_the_other_and_all_at_once(world: World) -> None:
    seconds = world.dose(3, 60)
    shares: list[float] = []
    waits: list[float] = []
    async with links(world) as lines:
        lane = through(world, "unreachable", lines)
        await lane.prepare()
        program = await lane.start()
        async with lane.load():
            await asyncio.sleep(2)
            for switch, word in outages(world, lines).values():
                await switch(True)
                try:
                    await said(program, world.http, word, 20 * world.patience)
                    before, start = cpu_s(program.pid), time.monotonic()
                    await asyncio.sleep(seconds)
                    shares.append((cpu_s(program.pid) - before) / (time.monotonic() - start))
                finally:
                    await switch(False)
                assert program.alive, program.tail()
                waits.append(await healed(program, world.http))
        await program.caught_up(world.http)
        assert await program.end() == 0, program.tail()
        await world.settle(
            lane,
            outages=f"{len(waits)} of {seconds} s",
            cpu=f"{max(shares):.1%}",
            healed_s=f"{max(waits):.1f}",
        )
    assert max(shares) <= BUSY_SHARE, shares


LINES = {
    "latency 200 ms": Faults(latency_s=0.2),
    "64 kB/s": Faults(bytes_per_s=64_000),
    "black hole": Faults(black_hole=True),
    "cut after 900 bytes sent": Faults(cut_request_at=900),
    "cut after 150 bytes answered": Faults(cut_answer_at=150),
    "slow close": Faults(slow_close_s=1.0),
}


async def test_lines_that_are_slow_or_cut(world: World) -> None:
    seconds = world.dose(2, 30)
    waits: dict[str, str] = {}
    async with links(world) as lines:
        lane = through(world, "lines", lines)
        await lane.prepare()
        program = await lane.start()
        async with lane.load():
            await asyncio.sleep(2)
            for name, faults in LINES.items():
                await lines.set(faults)
                await asyncio.sleep(seconds)
                assert program.alive, program.tail()
                await lines.set(Faults())
                waits[name] = f"{await healed(program, world.http):.1f} s"
        await program.caught_up(world.http)
        assert await program.end() == 0, program.tail()
        await world.settle(lane, each=f"{seconds} s", healed=waits)
