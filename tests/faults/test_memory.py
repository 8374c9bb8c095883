"""R12: the n-th allocation of the core fails, through each public entry: a clean error, no loss, no leak."""

import asyncio
import gc
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import kafkapipe as kp
from kafkapipe import _core
from kafkapipe._core import MockCluster, memory_fail_at, memory_live

SWEEP = 300
FULL = float(os.environ.get("KAFKAPIPE_FAULTS") or 0) > 0
TOPIC = "memory"
RECORDS = 40
CLEAN = (MemoryError, kp.KafkaPipeError)

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def cluster() -> Any:
    """One broker with records in it."""
    with MockCluster() as brokers:
        brokers.create_topic(TOPIC, 1)
        yield brokers


async def fill(bootstrap: str, start: int, count: int) -> None:
    """Records that tell their numbers."""
    async with kp.Producer(bootstrap) as producer:
        values = [f'{{"n":{n},"이름":"홍길동 \\"{n}\\""}}' for n in range(start, start + count)]
        assert (await producer.send_many(TOPIC, values)).delivered == count


async def a_producer(bootstrap: str, _: Path) -> None:
    async with kp.Producer(bootstrap) as producer:
        await producer.send_many("other", ["가", "나"], keys=["k", None], headers=[[("h", b"v")], []])


async def a_consumer(bootstrap: str, _: Path) -> None:
    async with kp.Consumer(bootstrap) as consumer:
        await consumer.assign([(TOPIC, 0)], 0)
        batch = await anext(consumer)
        assert [record.offset for record in batch]


async def a_reader(bootstrap: str, _: Path) -> None:
    await asyncio.to_thread(lambda: kp.read(TOPIC, start="earliest", bootstrap=bootstrap))


async def json_documents(_: str, __: Path) -> None:
    _core.json_check(b'{"a":[1,2,{"b":"\\u00e9"}]}')
    _core.json_fields(b'{"a":{"b":1},"c":"\\u00e9"}', ["a.b", "c", "d"])
    _core.split_events(b'{"a":1}\n{"b":2}\nnot json\n', 10)


ENTRIES: list[Callable[[str, Path], Awaitable[None]]] = [a_producer, a_consumer, a_reader, json_documents]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
async def test_every_allocation_may_fail(
    entry: Callable[[str, Path], Awaitable[None]], cluster: MockCluster, tmp_path: Path
) -> None:
    await fill(cluster.bootstrap, 0, RECORDS)
    await entry(cluster.bootstrap, tmp_path)
    before = settled_memory()
    failures = 0
    for n in range(1, SWEEP if FULL else 40):
        memory_fail_at(n)
        try:
            await entry(cluster.bootstrap, tmp_path)
        except CLEAN:
            failures += 1
        finally:
            memory_fail_at(0)
        left = memory_live() - before
        left = settled_memory() - before if left > 0 else left
        assert left <= 0, f"allocation {n} failed and {left} blocks were left behind"
    assert failures, "no allocation failed"


async def test_a_pipeline_that_runs_out_of_memory(cluster: MockCluster, tmp_path: Path) -> None:
    chance = random.Random(int(os.environ.get("KAFKAPIPE_SEED") or 5))
    before = settled_memory()
    rounds = 60 if FULL else 2
    path = f"{tmp_path}/{{partition}}-{{offset}}.log"
    sink = kp.File(path=path, rotate={"records": 7, "age": "200ms"})
    session = {"bootstrap.servers": cluster.bootstrap, "heartbeat.interval.ms": "300"}
    for number in range(rounds):
        await fill(cluster.bootstrap, number * RECORDS, RECORDS)
        memory_fail_at(chance.randint(1, SWEEP))
        try:
            await once(sink, session)
        except CLEAN:
            pass
        finally:
            memory_fail_at(0)
    await once(sink, session)
    found = lines(tmp_path)
    assert found.total() == len(found) == rounds * RECORDS
    assert settled_memory() == before


def lines(folder: Path) -> Counter[str]:
    """Lines of the published files."""
    return Counter(line for file in folder.glob("*.log") for line in file.read_text().splitlines())


def settled_memory() -> int:
    """Live blocks of the core, without what only waits for Python's garbage collector."""
    gc.collect()
    return memory_live()


async def once(sink: Any, session: dict[str, str]) -> None:
    """A pipeline that drains the topic, or says why it cannot."""
    async with kp.Pipeline(topics=[TOPIC], sink=sink, kafka=session, name="memory") as pipeline:
        await pipeline.drained()
