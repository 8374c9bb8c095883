"""R1: `kill -9` of the pipelines at random times and at each named point. Nothing lost, nothing twice."""

import asyncio
import random
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.lanes import Lane, World, intruder, seconds_to_commit

POINTS = (
    "before-put", "mid-put", "after-201", "after-put", "before-intent", "commit-sent", "after-intent",
    "before-rename", "after-rename", "before-join", "after-join",
    "before-final", "after-final", "mid-bulk", "after-bulk",
    "before-dead-letter", "mid-dead-letter", "after-dead-letter", "assign", "revoke",
)  # fmt: skip
JOINS = ("before-join", "after-join")  # only files that stream come there
LANES = 3
GENTLE: dict[str, Any] = {"rate": 60, "rotate": {"records": 150, "age": "1s"}}  # what HDFS takes on two cores
FIRST_COMMIT_S = 10


def test_every_named_point_is_in_the_matrix() -> None:
    sources = (Path(__file__).parents[2] / "csrc").rglob("*.c")
    named = {name for file in sources for name in re.findall(r'KP_FAIL_POINT\("(.*?)"\)', file.read_text())}
    assert named == set(POINTS)


async def at_random(lane: Lane, chance: random.Random, tally: Counter[str]) -> None:
    """Kill the program some time after its start."""
    program = await lane.start()
    await asyncio.sleep(chance.uniform(0.2, 3.5))
    assert program.alive, program.tail()
    await program.kill()
    tally["random"] += 1


async def at_point(lane: Lane, point: str, chance: random.Random, tally: Counter[str]) -> None:
    """Start a program that kills itself at the point."""
    often = chance.randint(1, 2 if point in ("assign", "revoke") else 4)
    program = await lane.start(f"{point}:{often}")
    if point in ("assign", "revoke"):
        while program.alive:
            await asyncio.wait([program.ended], timeout=chance.uniform(2, 3))
            if program.alive:
                async with intruder(lane):
                    await asyncio.wait([program.ended], timeout=chance.uniform(2, 4))
    assert await program.wait(300, f"came to {point}") == -signal.SIGKILL, program.tail()
    tally[point] += 1


async def work(lane: Lane, tasks: list[str], seed: int, tally: Counter[str]) -> None:
    """Take tasks until there are none, while events come."""
    chance = random.Random(seed)
    await lane.prepare()
    async with lane.load():
        while tasks:
            task = tasks.pop()
            if task == "random":
                await at_random(lane, chance, tally)
            else:
                await at_point(lane, task, chance, tally)


async def restart(world: World, lane: Lane) -> float:
    """Kill a program that works with a session as users have it; seconds to its successor's first commit.

    Not while its workers still join: Kafka may then make a dead member the leader of the group, and waits for
    a second session to end.
    """
    before = await lane.start()
    await seconds_to_commit(lane, lane.groups[0], 300)
    await asyncio.sleep(world.chance.uniform(2, 4))
    await before.kill()
    after = await lane.start()
    try:
        return await seconds_to_commit(lane, lane.groups[0], FIRST_COMMIT_S * world.patience)
    finally:
        await after.kill()


@pytest.mark.live
@pytest.mark.timeout(4 * 3600)
@pytest.mark.asyncio(loop_scope="session")
async def test_killed_at_random_and_at_each_point(world: World) -> None:
    rounds = world.dose(1, 25)
    tasks = ["random"] * world.dose(6, 300) + [each for each in POINTS if each not in JOINS] * rounds
    world.chance.shuffle(tasks)
    lanes = [world.lane(f"kills{number}", **GENTLE) for number in range(LANES)]
    streamed = world.lane("kills-streamed", stream="1KiB", **GENTLE)
    tally: Counter[str] = Counter()
    await asyncio.gather(
        work(streamed, list(JOINS) * rounds, world.seed - 1, tally),
        *(work(lane, tasks, world.seed + n, tally) for n, lane in enumerate(lanes)),
    )
    lanes[0].session_ms = 6000
    async with lanes[0].load():
        seconds = [await restart(world, lanes[0]) for _ in range(world.dose(1, 10))]
    kills = tally.total() + 2 * len(seconds)
    await world.settle(
        *lanes, streamed, kills=kills, points=len(POINTS), first_commit_s=f"{max(seconds):.1f}"
    )
    assert tally.keys() == {"random", *POINTS}
