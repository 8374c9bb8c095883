"""R14: one record, then nothing: its file is there when its age is up, whatever else could rotate it."""

import asyncio
import time

import pytest

import kafkapipe as kp
from kafkapipe.stack import hdfs_listing
from tests.faults.lanes import World
from tests.faults.oracle import event

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

AGE_S = 2
RULES = {
    "age": {"age": f"{AGE_S}s"},
    "records": {"age": f"{AGE_S}s", "records": 1000},
    "bytes": {"age": f"{AGE_S}s", "bytes": "1MiB"},
}


async def test_one_record_then_nothing(world: World) -> None:
    topic = f"quiet-{world.seed}"
    config = {
        "kafka": {"bootstrap.servers": world.stack.bootstrap},
        "pipelines": {
            f"{topic}-{name}": {
                "topics": [topic],
                "sink": {
                    "type": "hdfs",
                    "url": world.stack.webhdfs_url,
                    "path": f"/data/{topic}/{name}/{{partition}}-{{offset}}.log",
                    "rotate": rotate,
                },
            }
            for name, rotate in RULES.items()
        },
        "management": {"listen": f"127.0.0.1:{world.port()}"},
    }
    async with kp.Admin(world.stack.bootstrap) as admin:
        await admin.create_topic(topic, partitions=1, timeout=120)
    program = await world.zygote.start(config)
    async with kp.Producer(world.stack.bootstrap) as producer:
        await producer.send(topic, value=event(0, 0))
        await program.caught_up(world.http)  # the groups have their partitions
        for sequence in range(1, world.dose(3, 20)):
            before = len(await published(world, topic))
            await producer.send(topic, value=event(0, sequence))
            start = time.monotonic()
            while len(await published(world, topic)) < before + len(RULES):
                await asyncio.sleep(0.05)
                assert time.monotonic() - start < AGE_S + world.patience, (
                    await published(world, topic),
                    sequence,
                )
            assert time.monotonic() - start > AGE_S - 0.5, "not by its age"
    assert await program.end() == 0, program.tail()


async def published(world: World, topic: str) -> list[str]:
    """Files under their final names."""
    entries = await hdfs_listing(world.stack.webhdfs_url, f"/data/{topic}")
    return [each.path for each in entries if not each.is_folder and "/_tmp/" not in each.path]
