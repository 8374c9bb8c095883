"""R7: an Elasticsearch that has too much to do, loses answers, turns its index read-only, sleeps, wakes."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.gate import Gate
from tests.faults.lanes import Lane, World
from tests.faults.programs import Program

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(3 * 3600)]

MODES = ("busy 30", "busy 100", "429", "503", "short", "lost", "mixed")
RATE = 200
BACK_S = 10
GROWTH = 64 << 20


def refused(document: Any) -> bool:
    """Documents that the gate answers with 400, whenever they come."""
    return bool(document["s"] % 50 == 7)


async def read_only(world: World, lane: Lane, on: bool) -> None:
    """The flood stage's block, as a full disk sets it."""
    setting = {"index.blocks.read_only_allow_delete": True if on else None}
    answer = await world.http.put(f"{world.stack.search_url}/{lane.name}/_settings", json=setting)
    answer.raise_for_status()


def memory(program: Program) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{program.pid}/statm").read_text().split()[1]) * 4096


async def test_a_search_server_with_every_trouble(world: World) -> None:
    seconds = world.dose(2, 10)
    back: dict[str, float] = {}
    async with Gate(world.stack.search_url, world.chance, refused) as gate:
        lane = world.lane("search", rate=RATE, search_url=f"http://127.0.0.1:{gate.port}")
        lane.refused = refused
        await lane.prepare()
        program = await lane.start()
        async with lane.load():
            await asyncio.sleep(3)
            before = memory(program)
            for _ in range(world.dose(1, 10)):
                for mode in MODES:
                    gate.mode = mode
                    await asyncio.sleep(seconds)
                    gate.mode = "open"
                    back[mode] = await returned(world, program)
                await read_only(world, lane, True)
                await asyncio.sleep(seconds)
                await read_only(world, lane, False)
                back["read-only"] = await returned(world, program)
                await world.stack.pause("search")
                await asyncio.sleep(seconds)
                await world.stack.resume("search")
                back["asleep"] = await returned(world, program)
                if world.full:
                    await world.stack.kill("search")
                    await world.stack.start_server("search")
                    back["killed"] = await returned(world, program)
            grown = memory(program) - before
        await program.caught_up(world.http)
        assert await program.end() == 0, program.tail()
        assert gate.seen.keys() >= set(MODES), gate.seen
        slowest = f"{max(back.values()):.1f} s"
        await world.settle(lane, troubles=len(back), back=slowest, grown=f"{grown / 2**20:.0f} MiB")
    assert grown < GROWTH
    assert max(back.values()) <= BACK_S * world.patience, back


async def returned(world: World, program: Program) -> float:
    """Seconds until no more than a second's records wait."""
    start = time.monotonic()
    await program.caught_up(world.http, 300, lag=RATE)
    return time.monotonic() - start
