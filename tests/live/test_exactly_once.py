"""`kafkapipe run` killed in the middle of 100,000 events: each is in HDFS once and in the index once."""

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import kafkapipe as kp
from kafkapipe.stack import Stack, hdfs_listing

EVENTS = 100_000
KILLS = 3
PARTITIONS = 3
pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]


def event(number: int) -> bytes:
    name = f'홍길동 "{number}"\nline two'
    return json.dumps({"n": number, "userName": name, "big": 2**53 + 1}, ensure_ascii=False).encode()


def configuration(stack: Stack, topic: str, management_port: int) -> dict[str, Any]:
    return {
        "kafka": {"bootstrap.servers": stack.bootstrap},
        "pipelines": {
            f"{topic}-files": {
                "topics": [topic],
                "workers": 2,
                "sink": {
                    "type": "hdfs",
                    "url": stack.webhdfs_url,
                    "user": "hadoop",
                    "path": f"/data/{topic}/color-{{partition}}-{{offset}}.log",
                    "rotate": {"records": 700, "age": "2s"},
                },
            },
            f"{topic}-index": {
                "topics": [topic],
                "sink": {
                    "type": "elasticsearch",
                    "url": stack.search_url,
                    "index": topic,
                    "flush": {"records": 500},
                },
            },
        },
        "management": {"listen": f"127.0.0.1:{management_port}"},
    }


@asynccontextmanager
async def running(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kafkapipe", "run", str(config), stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def produce(bootstrap: str, topic: str) -> None:
    """All events, in pieces, so that the pipelines meet them while they come."""
    async with kp.Producer(bootstrap) as producer:
        for start in range(0, EVENTS, 2000):
            result = await producer.send_many(topic, [event(n) for n in range(start, start + 2000)])
            assert result.delivered == 2000


async def count(http: httpx.AsyncClient, stack: Stack, index: str) -> int:
    await http.post(f"{stack.search_url}/{index}/_refresh")
    answer = await http.get(f"{stack.search_url}/{index}/_count")
    return int(answer.json()["count"]) if answer.is_success else 0


async def documents(http: httpx.AsyncClient, stack: Stack, index: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    answer = await http.post(f"{stack.search_url}/{index}/_search?scroll=1m", json={"size": 5000})
    while hits := answer.json()["hits"]["hits"]:
        found |= {hit["_id"]: hit["_source"] for hit in hits}
        scroll = {"scroll": "1m", "scroll_id": answer.json()["_scroll_id"]}
        answer = await http.post(f"{stack.search_url}/_search/scroll", json=scroll)
    return found


async def lines(http: httpx.AsyncClient, stack: Stack, folder: str) -> Counter[tuple[int, int, bytes]]:
    """Each line of each published file, with the coordinates that the file's name gives it."""
    found: Counter[tuple[int, int, bytes]] = Counter()
    for entry in await hdfs_listing(stack.webhdfs_url, folder):
        if entry.is_folder or "/_tmp/" in entry.path:
            continue
        partition, offset = map(int, entry.path.removesuffix(".log").split("color-")[1].split("-"))
        url = f"{stack.webhdfs_url}/webhdfs/v1{entry.path}?op=OPEN&user.name=hadoop"
        body = (await http.get(url, follow_redirects=True)).content
        for number, line in enumerate(body.splitlines()):
            found[partition, offset + number, line] += 1
    return found


async def temporaries(stack: Stack, folder: str) -> list[str]:
    return [
        entry.path for entry in await hdfs_listing(stack.webhdfs_url, f"{folder}/_tmp") if not entry.is_folder
    ]


async def lag(http: httpx.AsyncClient, port: int) -> float:
    """The greatest lag of the pipelines; infinite while it is not known."""
    try:
        text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    except httpx.TransportError:
        return float("inf")
    values = [
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("kafkapipe_pipeline_lag_records{")
    ]
    return max(values) if len(values) == 2 else float("inf")


async def test_killed_in_the_middle_of_100_000_events(
    stack: Stack, tmp_path: Path, read_topic: Any, unused_tcp_port: int
) -> None:
    seed = int(os.environ.get("KAFKAPIPE_SEED", random.randrange(2**32)))
    print(f"KAFKAPIPE_SEED={seed}")
    chance = random.Random(seed)
    topic = f"killed-{seed}"
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(configuration(stack, topic, unused_tcp_port)))
    async with kp.Admin(stack.bootstrap) as admin:
        await admin.create_topic(topic, partitions=PARTITIONS)
    kills_at = sorted(chance.sample(range(EVENTS // 20, EVENTS * 9 // 10), KILLS))
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        producing = asyncio.create_task(produce(stack.bootstrap, topic))
        for threshold in kills_at:
            async with running(config) as process:
                while await count(http, stack, topic) < threshold:
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
                process.kill()
                await process.wait()
        await producing
        async with running(config) as process:
            while await lag(http, unused_tcp_port) > 0:
                assert process.returncode is None
                await asyncio.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                assert await process.wait() == 0

        records = await asyncio.to_thread(read_topic, stack.bootstrap, topic, PARTITIONS)
        assert len(records) == EVENTS
        expected = {(each.partition, each.offset): each.value for each in records}
        published = await lines(http, stack, f"/data/{topic}")
        assert max(published.values()) == 1
        assert {(p, o): line for p, o, line in published} == expected
        assert len(published) == EVENTS
        assert await temporaries(stack, f"/data/{topic}") == []
        await http.post(f"{stack.search_url}/{topic}/_refresh")
        indexed = await documents(http, stack, topic)
        assert indexed == {f"{topic}+{p}+{o}": json.loads(value) for (p, o), value in expected.items()}
