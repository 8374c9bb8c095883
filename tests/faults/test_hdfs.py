"""R6 on the real HDFS: the DataNode is killed under uploads, the NameNode is started again, safe mode is on.

By `make faults` alone; in the default run tests/live/test_webhdfs_store.py kills the DataNode.
What an answer that was cut, lost or wrong does is shown at each step on a scripted server, by the C programs
test_webhdfs and test_files_publish.
"""

import asyncio
import os
import time

import pytest

from kafkapipe.stack import hdfs_listing
from tests.faults.lanes import Lane, World

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(3 * 3600)]

SAFE_MODE = "org.apache.hadoop.hdfs.tools.DFSAdmin"
OLD_S = 60


async def safe_mode(world: World, word: str) -> None:
    """Turn it on or off: enter, leave."""
    result = await world.stack.run_java_tool("hdfs", SAFE_MODE, "-safemode", word)
    assert result.returncode == 0, result.stderr


async def old_temporary_files(world: World, lane: Lane) -> list[str]:
    """Temporary files that were there a minute ago."""
    entries = await hdfs_listing(world.stack.webhdfs_url, f"/data/{lane.name}/_tmp")
    now = time.time()
    return [each.path for each in entries if not each.is_folder and now - each.modified.timestamp() > OLD_S]


@pytest.mark.skipif(not os.environ.get("KAFKAPIPE_FAULTS"), reason="HDFS killed under load: make faults")
async def test_killed_and_started_again(world: World) -> None:
    lane = world.lane("hdfs", rate=100, rotate={"records": 2000, "age": "500ms"})
    await lane.prepare()
    program = await lane.start()
    waits: list[float] = []
    async with lane.load():
        await program.caught_up(world.http, lag=200)
        for _ in range(world.dose(1, 10)):
            for server in ("datanode", "namenode"):
                await asyncio.sleep(world.chance.uniform(0.2, 1.5))
                await world.stack.kill(server)
                await asyncio.sleep(world.chance.uniform(0.5, 2))
                await world.stack.start_server(server)
                start = time.monotonic()
                await program.caught_up(world.http, lag=200)
                waits.append(time.monotonic() - start)
            await safe_mode(world, "enter")
            await asyncio.sleep(3)
            await safe_mode(world, "leave")
            await program.caught_up(world.http, lag=200)
    await program.caught_up(world.http)
    await asyncio.sleep(OLD_S)
    assert await old_temporary_files(world, lane) == []
    assert await program.end() == 0, program.tail()
    await world.settle(lane, servers_killed=len(waits), healed_s=f"{max(waits):.1f}")
