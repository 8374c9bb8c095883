"""The producer on a real broker: what mock brokers do not do."""

import asyncio
from datetime import UTC, datetime

import pyarrow
import pytest

from kafkapipe import Admin, FatalError, Producer, RejectedError, read


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


CODECS = {
    "none": 0,
    "gzip": 1,
    "snappy": 2,
    "lz4": 3,
    "zstd": 4,
}  # as a batch of records says it, in its attributes


@pytest.mark.parametrize("codec", CODECS)
async def test_compression_is_what_the_broker_stores(stack, admin, read_topic, codec):
    topic = f"live-{codec}"
    await admin.create_topic(topic)
    values = [f'{{"userName":"홍길동","n":{9007199254740993 + i}}}'.encode() for i in range(2_000)]
    async with Producer(stack.bootstrap, compression_type=codec, linger_ms=50) as producer:
        assert not (await producer.send_many(topic, values)).failed
    assert [each.value for each in await asyncio.to_thread(read_topic, stack.bootstrap, topic)] == values
    [segment] = stack.data_dir.rglob(f"{topic}-0/{0:020}.log")
    stored = segment.read_bytes()
    assert int.from_bytes(stored[21:23], "big") & 7 == CODECS[codec]
    size = sum(map(len, values))
    assert len(stored) > size if codec == "none" else len(stored) < size / 3


@pytest.mark.parametrize("acks", [0, 1, "all"])
async def test_acks(stack, admin, read_topic, acks):
    topic = f"live-acks-{acks}"
    await admin.create_topic(topic)
    async with Producer(stack.bootstrap, acks=acks, linger_ms=1) as producer:
        await producer.warm([topic])
        result = await producer.send_many(topic, ["하나", "둘", "셋"])
        await producer.flush()
    assert [metadata.offset for metadata in result] == ([-1] * 3 if acks == 0 else [0, 1, 2])
    async with asyncio.timeout(20):  # nobody told that they are there
        while len(records := await asyncio.to_thread(read_topic, stack.bootstrap, topic)) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert [each.value.decode() for each in records] == ["하나", "둘", "셋"]


@pytest.mark.parametrize("call", ["send", "send_many", "try_send", "warm", "transaction"])
async def test_wrong_password_is_told_at_once_from_each_call(stack, call):
    wrong = {**stack.sasl_config("alice", "PLAIN"), "sasl.password": "틀린"}
    if call == "transaction":
        wrong["transactional.id"] = "live-wrong-password"
    producer = Producer(config=wrong)
    async with asyncio.timeout(20):
        await producer.start()
        with pytest.raises(
            FatalError, match=r"check sasl\.mechanism, sasl\.username and sasl\.password"
        ) as caught:
            await told(producer, call)
        assert stack.sasl_bootstrap in caught.value.message
        assert caught.value.code == "_AUTHENTICATION"
        with pytest.raises(FatalError, match="no broker lets it in"):
            producer.try_send("live-wrong-password", "x")
        await producer.close()


async def told(producer, call):
    if call == "transaction":
        async with producer.transaction():
            pytest.fail("it cannot begin")
    if call == "warm":
        await producer.warm(["live-wrong-password"])
    if call == "send_many":
        result = await producer.send_many("live-wrong-password", ["x"] * 3)
        assert len(result.failed) == 3
        raise result[2]
    await getattr(producer, call)("live-wrong-password", "x")


async def test_certificate_that_is_not_trusted_is_told_at_once(stack):
    config = stack.sasl_config("admin", "PLAIN")
    del config["ssl.ca.location"]
    async with asyncio.timeout(20), Producer(config=config) as producer:
        with pytest.raises(FatalError, match=r"SSL handshake failed") as caught:
            await producer.send("live-untrusted", "x")
    assert caught.value.code == "_SSL"
