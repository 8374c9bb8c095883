"""R4, R5 and R13: members that come and go, that sleep past their session and wake, that are asked to end."""

import asyncio
import os
import random
import signal
import time
from collections import Counter

import pytest

from kafkapipe import _core
from tests.faults.lanes import Lane, World, seconds_to_commit
from tests.faults.programs import Program

pytestmark = [
    pytest.mark.live,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(3 * 3600),
    pytest.mark.skipif(not os.environ.get("KAFKAPIPE_FAULTS"), reason="minutes of waiting: make faults"),
]

STOPS = (
    "before-intent",
    "after-intent",
    "before-rename",
    "after-201",
    "mid-bulk",
    "after-bulk",
    "before-final",
)
DRAIN_S = 10
# librdkafka before 2.3.0 aborts when a cooperative member is closed in the middle of a rebalance
COOPERATIVE_MAY_ABORT = _core.kafka_default_assignor() != "cooperative-sticky"


async def storm(world: World, lane: Lane, seconds: float, every: float) -> Counter[str]:
    """Programs join, drain or are killed, one each ``every`` seconds; at least one stays."""
    chance = random.Random(lane.name)
    tally: Counter[str] = Counter()
    members = [await lane.start()]
    cooperative = lane.kafka.get("partition.assignment.strategy") == "cooperative-sticky"
    allowed = {0, -signal.SIGABRT} if cooperative and COOPERATIVE_MAY_ABORT else {0}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(chance.uniform(0.6, 1.4) * every)
        if len(members) == 1 or (len(members) < 3 and chance.random() < 0.5):
            members.append(await lane.start(port=world.port()))
            tally["joined"] += 1
            continue
        leaver = members.pop(chance.randrange(len(members)))
        if chance.random() < 0.3:
            await leaver.kill()
            tally["killed"] += 1
        else:
            assert await leaver.end((DRAIN_S + 2) * world.patience) in allowed, leaver.tail()
            tally["left"] += 1
    for member in members:
        assert await member.end((DRAIN_S + 2) * world.patience) in allowed, member.tail()
    return tally


async def test_rebalance_storm(world: World) -> None:
    seconds, every = world.dose(8, 1800), world.dose(2, 5)
    lanes = [
        world.lane(name, rate=200, kafka={"partition.assignment.strategy": strategy}, partitions=3)
        for name, strategy in (("eager", "range"), ("cooperative", "cooperative-sticky"))
    ]
    for lane in lanes:
        await lane.prepare()
    async with lanes[0].load(), lanes[1].load():
        tallies = await asyncio.gather(*(storm(world, lane, seconds, every) for lane in lanes))
    await world.settle(*lanes, seconds=seconds, **sum(tallies, Counter()))


async def zombie(world: World, lane: Lane, point: str, chance: random.Random) -> None:
    """A program is stopped at a point for longer than its session; another one takes over, then it wakes."""
    sleeper = await lane.start(f"{point}:{chance.randint(1, 3)}:stop")
    await stopped(sleeper)
    heir = await lane.start(port=world.port())
    await seconds_to_commit(lane, lane.groups[0], 300)
    await seconds_to_commit(lane, lane.groups[1], 300)
    sleeper.signal(signal.SIGCONT)
    await seconds_to_commit(lane, lane.groups[0], 300)
    for program in (sleeper, heir):
        assert await program.end((DRAIN_S + 2) * world.patience) == 0, program.tail()


async def stopped(program: Program) -> None:
    """Wait until SIGSTOP has been obeyed."""
    deadline = time.monotonic() + 300
    while not program.paused:
        assert program.alive, program.tail()
        assert time.monotonic() < deadline, await program.state()
        await asyncio.sleep(0.02)


async def test_zombies(world: World) -> None:
    rounds = [STOPS[n % len(STOPS)] for n in range(world.dose(3, 99))]
    world.chance.shuffle(rounds)
    lanes = [world.lane(f"zombie{n}", rate=100) for n in range(3)]
    for lane in lanes:
        await lane.prepare()

    async def work(lane: Lane) -> None:
        async with lane.load():
            while rounds:
                await zombie(world, lane, rounds.pop(), world.chance)

    count = len(rounds)
    await asyncio.gather(*(work(lane) for lane in lanes))
    await world.settle(*lanes, zombies=count)


async def test_sigterm_under_load(world: World) -> None:
    lane = world.lane("terminated", rate=2000, rotate={"records": 1000, "age": "2s"})
    await lane.prepare()
    seconds: list[float] = []
    async with lane.load():
        for _ in range(world.dose(5, 100)):
            program = await lane.start()
            await seconds_to_commit(lane, lane.groups[0], 300)
            await asyncio.sleep(world.chance.uniform(0, 1))
            start = time.monotonic()
            assert await program.end(DRAIN_S * world.patience) == 0, program.tail()
            seconds.append(time.monotonic() - start)
    await world.settle(lane, terms=len(seconds), drained_s=f"{max(seconds):.1f} at most")
