"""The producer on a real broker: what mock brokers do not do."""

import asyncio
from datetime import UTC, datetime

import pyarrow
import pytest

from kafkapipe import Admin, Producer, RejectedError, read


@pytest.fixture
async def admin(stack):
    async with Admin(stack.bootstrap) as client:
        yield client


async def test_metadata_has_the_timestamp_that_the_topic_keeps(stack, admin):
    await admin.create_topic("live-create-time")
    await admin.create_topic("live-append-time", config={"message.timestamp.type": "LogAppendTime"})
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    async with Producer(stack.bootstrap, linger_ms=0) as producer:
        given = await producer.send("live-create-time", "빨강", timestamp=moment)
        appended = await producer.send("live-append-time", "빨강", timestamp=moment)
    assert given.timestamp == moment.timestamp() * 1000
    assert appended.timestamp > datetime(2026, 1, 2, tzinfo=UTC).timestamp() * 1000


async def test_message_over_the_limit_of_the_topic_fails_alone(stack, admin, read_topic):
    await admin.create_topic("live-limit")
    async with Producer(stack.bootstrap, linger_ms=50, message_max_bytes=5_000_000) as producer:
        result = await producer.send_many("live-limit", ["하나", "x" * 3_000_000, "둘"])
    [(index, error)] = result.failed
    assert (index, type(error)) == (1, RejectedError)
    assert "max.message.bytes of the topic" in error.message
    records = await asyncio.to_thread(read_topic, stack.bootstrap, "live-limit")
    assert [record.value.decode() for record in records] == ["하나", "둘"]


@pytest.mark.parametrize("idempotent", [True, False])
async def test_limit_of_the_topic_below_the_size_of_a_set(stack, admin, read_topic, idempotent):
    """A broker refuses whole sets of messages: the one too large for itself fails, the others are there."""
    topic = f"live-small-limit-{idempotent}".lower()
    await admin.create_topic(topic, config={"max.message.bytes": "10000"})
    values = [f"{i} 홍길동" * 60 for i in range(400)]
    values[100] = "x" * 20_000
    async with Producer(stack.bootstrap, linger_ms=50, enable_idempotence=idempotent) as producer:
        result = await producer.send_many(topic, values)
        after = await producer.send_many(topic, ["뒤"] * 3)
    assert [(index, type(error)) for index, error in result.failed] == [(100, RejectedError)]
    assert not after.failed
    records = await asyncio.to_thread(read_topic, stack.bootstrap, topic)
    assert [each.value.decode() for each in records] == [*values[:100], *values[101:], "뒤", "뒤", "뒤"]


async def test_many_messages_are_there_once(stack, admin, read_topic):
    await admin.create_topic("live-many", partitions=3)
    values = [
        f'{{"userName":"홍길동 \\"{i}\\"","n":{9007199254740993 + i}}}'.encode() for i in range(100_000)
    ]
    async with Producer(stack.bootstrap, compression_type="lz4") as producer:
        result = await producer.send_many("live-many", values)
    assert not result.failed
    records = await asyncio.to_thread(read_topic, stack.bootstrap, "live-many", 3)
    there = {(record.partition, record.offset): record.value for record in records}
    assert [there[each.partition, each.offset] for each in result] == values
    assert len(records) == len(values)


async def test_keys_land_where_javas_producer_puts_them(stack, admin):
    """By the real thing: Kafka's console producer writes the same keys into a topic of the same shape."""
    for name in ("live-java-keys", "live-our-keys"):
        await admin.create_topic(name, partitions=7)
    keys = [
        "",
        *("k" * n for n in range(1, 14)),
        *(f"사용자 {i} 'x\"" for i in range(150)),
        "9007199254740993",
    ]
    written = await stack.run_java_tool(
        "kafka", "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", stack.bootstrap,
        "--topic", "live-java-keys", "--reader-property", "parse.key=true",
        stdin="".join(f"{key}\tjava\n" for key in keys).encode(),
    )  # fmt: skip
    assert written.returncode == 0, written.stderr
    async with Producer(stack.bootstrap, partitioner="murmur2") as producer:
        result = await producer.send_many("live-our-keys", ["ours"] * len(keys), keys=keys)
    table = await asyncio.to_thread(read, "live-java-keys", bootstrap=stack.bootstrap)
    java = {row["key"].decode(): row["partition"] for row in pyarrow.table(table).to_pylist()}
    assert java == {key: metadata.partition for key, metadata in zip(keys, result, strict=True)}
    assert len(set(java.values())) == 7
