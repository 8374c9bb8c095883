"""Replay and dead letters on the real servers: headers, ids, times, letters that are too long."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

import kafkapipe as kp
from kafkapipe.config import Config, loads
from kafkapipe.dead_letters import Choice, redrive, scan
from kafkapipe.stack import Stack

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HEADERS = [("추적", "홍길동".encode()), ("empty", None)]
VALUES = [b'{"n":9007199254740993}', b'{"n":"\xeb\xa7\x8e\xeb\x8b\xa4"}', None, b'{"n":1}', "글".encode()]
BAD = [1, 2, 4]  # no number, a tombstone, no JSON


def configuration(stack: Stack, topic: str, index: str) -> Config:
    sink = {"type": "elasticsearch", "url": stack.search_url, "index": index, "flush": {"age": "100ms"}}
    pipeline = {"topics": [topic], "sink": sink, "dead_letter": {"topic": f"{topic}.dlq"}}
    return loads(
        json.dumps({"kafka": {"bootstrap.servers": stack.bootstrap}, "pipelines": {topic: pipeline}})
    )


async def prepare(stack: Stack, topic: str, values: list[bytes | None], **dead: str) -> None:
    """Topics that keep records however old they are, the dead letters' with settings of its own."""
    async with kp.Admin(stack.bootstrap) as admin:
        await admin.create_topic(topic, config={"retention.ms": "-1"})
        await admin.create_topic(f"{topic}.dlq", config={"retention.ms": "-1", **dead})
    async with kp.Producer(stack.bootstrap) as producer:
        for number, value in enumerate(values):
            stamp = NOON + timedelta(minutes=number)
            await producer.send(topic, value, headers=HEADERS, timestamp=stamp, partition=0)


async def documents(http: httpx.AsyncClient, stack: Stack, index: str) -> dict[str, Any]:
    await http.post(f"{stack.search_url}/{index}/_refresh")
    hits = (await http.get(f"{stack.search_url}/{index}/_search")).json()["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


async def committed(stack: Stack, group: str) -> Any:
    async with kp.Admin(stack.bootstrap) as admin:
        return (await admin.describe_group(group)).offsets


async def test_letters_are_the_records_and_go_again_under_their_ids(stack: Stack) -> None:
    topic = "letters"
    await prepare(stack, topic, VALUES)
    config, repaired = configuration(stack, topic, topic), configuration(stack, topic, "letters-open")
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        mapping = {"mappings": {"properties": {"n": {"type": "long"}}}}
        (await http.put(f"{stack.search_url}/{topic}", json=mapping)).raise_for_status()
        async with kp.Pipeline.from_config(topic, config.pipelines[topic], config.kafka) as pipeline:
            await pipeline.drained()
        good = {f"{topic}+0+{n}": json.loads(VALUES[n] or b"") for n in (0, 3)}
        assert await documents(http, stack, topic) == good
        letters = await asyncio.to_thread(lambda: list(scan(f"{topic}.dlq", Choice(), config.kafka)))
        assert sorted(each.origin for each in letters) == [(topic, 0, n) for n in BAD]
        for each in letters:
            assert (each.key, each.value, list(each.headers)) == (None, VALUES[each.origin[2]], HEADERS)
            assert each.timestamp == NOON + timedelta(minutes=each.origin[2])
            assert (each.pipeline, each.stage, bool(each.error), bool(each.message)) == (
                topic, "TASK_PUT", True, True,
            )  # fmt: skip

        before = await committed(stack, topic)
        start, end = NOON + timedelta(minutes=3), NOON + timedelta(minutes=4)
        again = await kp.replay(config, topic, start=start, end=end)
        assert (again.finished, again.delivered, again.rejected) == (True, 1, 0)
        assert await documents(http, stack, topic) == good
        assert await committed(stack, topic) == before

        choice = Choice(start=NOON + timedelta(minutes=1), end=NOON + timedelta(minutes=2))
        sent = await redrive(repaired, topic, choice)
        assert [(each.origin, each.outcome) for each in sent.letters] == [((topic, 0, 1), "delivered")]
        assert await documents(http, stack, "letters-open") == {f"{topic}+0+1": {"n": "많다"}}
        everything = await redrive(repaired, topic, Choice())
        found = sorted((each.origin[2], each.outcome) for each in everything.letters)
        assert found == [(1, "already there"), (2, "rejected"), (4, "rejected")]
        assert await documents(http, stack, "letters-open") == {f"{topic}+0+1": {"n": "많다"}}


async def test_a_letter_that_its_topic_does_not_take_is_told(stack: Stack) -> None:
    topic = "long-letters"
    await prepare(stack, topic, [b"x" * 5000], **{"max.message.bytes": "2000"})
    config = configuration(stack, topic, topic)
    pipeline = kp.Pipeline.from_config(topic, config.pipelines[topic], config.kafka)
    async with pipeline:
        with pytest.raises(kp.FatalError, match=r"dead letter to long-letters\.dlq"):
            await pipeline.drained()
    async with kp.Admin(stack.bootstrap) as admin:
        rows = await admin.call("committed", topic, [(topic, 0, 0)], timeout=20)
    assert rows[0][2] <= 0  # nothing is lost: it is read again
