"""The spool against a real broker that stops, starts, and a collector that is killed at its worst moments."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager

import httpx
import pytest

import kafkapipe as kp
from kafkapipe.stack import Stack

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

EVENTS = 6000
PROGRAM = """
import asyncio, os, sys
import kafkapipe as kp
from kafkapipe.web.server import Server
from kafkapipe.web.spool_file import SpoolFile

bootstrap, path, dies = sys.argv[1:]
if dies == "between commit and remove":
    SpoolFile.remove = lambda self, ids: os.kill(os.getpid(), 9)
if dies == "in the middle":  # the second transaction is open when it goes
    head, asked = SpoolFile.head, []
    def killing(self, *arguments):
        asked.append(arguments)
        if len(asked) == 3:
            os.kill(os.getpid(), 9)
        return head(self, *arguments)
    SpoolFile.head = killing

async def main():
    collector = kp.Collector(
        [kp.Route(method="POST", path="/events", topic="spooled")],
        bootstrap=bootstrap, spool=path, spool_after="1s",
    )
    async with collector:
        server = Server(collector, "127.0.0.1:0", option="test")
        await server.start()
        print(server.url, flush=True)
        while collector._spooler.spool.events or not collector._spooler.spool.written:
            await asyncio.sleep(0.02)
            if dies == "when empty" and not collector._spooler.spool.events:
                break
        print("empty", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def event(number):
    text = {"n": number, "userName": f'홍길동 "{number}"\n둘', "big": 2**53 + 1}
    return json.dumps(text, ensure_ascii=False).encode()


@asynccontextmanager
async def collector(bootstrap, path, dies):
    """A collector in a process of its own, killed at the end if it did not do that itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, bootstrap, str(path), dies, stdout=asyncio.subprocess.PIPE
    )
    url = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
            yield process, http
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def send(http, numbers, size):
    """Statuses of the answers."""
    statuses = set()
    for start in range(numbers.start, numbers.stop, size):
        body = b"\n".join(event(number) for number in range(start, min(start + size, numbers.stop)))
        statuses.add((await http.post("/events", content=body)).status_code)
    return statuses


async def test_each_event_once_and_in_order_after_an_outage_and_four_kills(tmp_path, read_topic):
    path = tmp_path / "spool"
    data = tmp_path / "stack"
    async with Stack(only=["kafka"], kafka_port=0, data_dir=data) as stack:
        bootstrap = stack.bootstrap
        async with kp.Admin(bootstrap) as admin:
            await admin.create_topic("spooled", partitions=1)
        async with collector(bootstrap, path, "never") as (_, http):
            assert await send(http, range(10), 1) <= {200, 202}
            await stack.down()
            assert await send(http, range(10, EVENTS // 2), 500) == {202}
    port = int(bootstrap.rpartition(":")[2])
    async with collector(bootstrap, path, "never") as (_, http):
        assert await send(http, range(EVENTS // 2, EVENTS), 500) == {202}
    async with Stack(only=["kafka"], kafka_port=port, data_dir=data):
        for dies in ("between commit and remove", "in the middle", "between commit and remove"):
            async with collector(bootstrap, path, dies) as (process, _):
                assert await asyncio.wait_for(process.wait(), 60) == -9
        async with collector(bootstrap, path, "when empty") as (process, http):
            assert (await asyncio.wait_for(process.stdout.readline(), 60)) == b"empty\n"
            assert await send(http, range(EVENTS, EVENTS + 10), 1) <= {200, 202}
        records = await asyncio.to_thread(read_topic, bootstrap, "spooled", 1)
    numbers = [json.loads(record.value)["n"] for record in records]
    assert numbers == list(range(EVENTS + 10))
    assert all(record.value == event(number) for number, record in enumerate(records))
