"""Partitioners by name and as functions: which message lands where."""

import asyncio
import zlib
from collections import Counter

import pytest

from kafkapipe import ConfigError, DeadlineError, Producer, RejectedError, RetryableError

# Kafka's UtilsTest.testMurmur2, and the unit test in librdkafka's rdmurmur2.c
MURMUR2 = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
    "kafka": 0xD067CF64,
    "giberish123456789": 0x8F552B0C,
    "1234": 0x9FC97B14,
    "234": 0xE7C009CA,
    "34": 0x873930DA,
    "4": 0x5A4B5CA1,
    "PreAmbleWillBeRemoved,ThePrePartThatIs": 0x78424F1C,
    "reAmbleWillBeRemoved,ThePrePartThatIs": 0x4A62B377,
    "eAmbleWillBeRemoved,ThePrePartThatIs": 0xE0E4E09E,
    "AmbleWillBeRemoved,ThePrePartThatIs": 0x62B8B43F,
    "": 0x106E08D9,
}
MANY = 997  # a prime: two hashes that differ seldom meet


async def partitions_of(producer, topic, keys, **more):
    result = await producer.send_many(topic, ["색"] * len(keys), keys=keys, **more)
    assert not result.failed
    return [metadata.partition for metadata in result]


async def test_murmur2_is_javas(cluster):
    cluster.create_topic("t", MANY)
    async with Producer(cluster.bootstrap, partitioner="murmur2") as producer:
        found = await partitions_of(producer, "t", list(MURMUR2))
    assert found == [(value & 0x7FFFFFFF) % MANY for value in MURMUR2.values()]


async def test_sticky_hashes_keys_as_other_clients_on_librdkafka(cluster):
    cluster.create_topic("t", MANY)
    keys = [f"키 {i}" for i in range(300)]
    async with Producer(cluster.bootstrap) as producer:
        found = await partitions_of(producer, "t", keys)
        assert found == [zlib.crc32(key.encode()) % MANY for key in keys]
        without = await partitions_of(producer, "t", [None] * 500)
        assert len(set(without)) < 50  # by chance it were some 400
    async with Producer(cluster.bootstrap, partitioner="murmur2") as producer:
        await producer.send("t", "x")  # the library sticks to partitions whose broker it is connected to
        assert len(set(await partitions_of(producer, "t", [None] * 500))) < 50


async def test_round_robin_gives_each_partition_the_same_in_each_topic(cluster):
    cluster.create_topic("t", 3)
    cluster.create_topic("u", 4)
    async with Producer(cluster.bootstrap, partitioner="round_robin") as producer:
        await producer.warm(["t", "u"])
        for _ in range(6):  # turns of one topic are not those of another
            await asyncio.gather(producer.send("t", "x"), producer.send("u", "y"))
        assert Counter(await partitions_of(producer, "t", ["the same"] * 300)) == {0: 100, 1: 100, 2: 100}
        in_order = await partitions_of(producer, "u", [None] * 8)
        assert in_order[:4] == in_order[4:]
        assert sorted(in_order[:4]) == [0, 1, 2, 3]


async def test_round_robin_passes_over_a_partition_without_a_leader(cluster):
    cluster.create_topic("t", 3)
    async with Producer(
        cluster.bootstrap, partitioner="round_robin", topic_metadata_refresh_interval_ms=100
    ) as producer:
        cluster.set_leader("t", 1, -1)
        await producer.warm(["t"])
        assert set(await partitions_of(producer, "t", [None] * 30)) == {0, 2}


async def test_random_and_consistent(cluster):
    cluster.create_topic("t", 8)
    async with Producer(cluster.bootstrap, partitioner="random") as producer:
        assert len(set(await partitions_of(producer, "t", [None] * 300))) == 8
    async with Producer(cluster.bootstrap, partitioner="consistent") as producer:
        assert len(set(await partitions_of(producer, "t", [None] * 300))) == 1
        assert await partitions_of(producer, "t", ["빨강"]) == [zlib.crc32("빨강".encode()) % 8]


def test_unknown_partitioner_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match='no "murmer2"; did you mean "murmur2"'):
        Producer(partitioner="murmer2")


async def test_properties_of_ones_own_win(cluster):
    cluster.create_topic("t", MANY)
    async with Producer(cluster.bootstrap, config={"partitioner": "murmur2_random"}) as producer:
        assert await partitions_of(producer, "t", ["21"]) == [(MURMUR2["21"] & 0x7FFFFFFF) % MANY]


async def test_function_is_called_once_for_each_batch(cluster):
    cluster.create_topic("t", 4)
    calls = []

    def choose(topic, keys, partitions):
        calls.append((topic, list(keys), partitions))
        return (len(key or "") % partitions for key in keys)

    async with Producer(cluster.bootstrap, partitioner=choose) as producer:
        assert await partitions_of(producer, "t", ["", "가", "가나", "가나다", "가나다라"]) == [0, 1, 2, 3, 0]
        assert (await producer.send("t", "x", key="ab")).partition == 2
        assert (await producer.send("t", "x", key="ab", partition=3)).partition == 3
        result = await producer.send_many("t", (text for text in "ab"), partitions=[None, 1])
        assert [metadata.partition for metadata in result] == [0, 1]
        assert (await producer.try_send("t", "x", key="a")).partition == 1
        with pytest.raises(RetryableError, match=r'await warm\(\["u"\]\)'):
            producer.try_send("u", "x")
    assert calls == [
        ("t", ["", "가", "가나", "가나다", "가나다라"], 4),
        ("t", ["ab"], 4),
        ("t", ["ab"], 4),
        ("t", [None, None], 4),
        ("t", ["a"], 4),
    ]


async def test_wrong_numbers_fail_their_messages_alone(cluster, read_all):
    cluster.create_topic("t", 2)
    async with Producer(cluster.bootstrap, partitioner=lambda *_: [0, 2, -1, "1", 1, 2**40]) as producer:
        result = await producer.send_many("t", [str(i) for i in range(6)])
    assert [index for index, _ in result.failed] == [1, 2, 3, 5]
    assert {type(error) for _, error in result.failed} == {RejectedError}
    assert "the topic has no partition of this number" in result[1].message
    assert "message 2: partition is out of range" in result[2].message
    assert "message 3: partition is str" in result[3].message
    assert [record.value for record in read_all("t", 2)] == [b"0", b"4"]


async def test_errors_of_the_function_reach_the_caller(cluster):
    cluster.create_topic("t", 2)

    def choose(topic, keys, partitions):
        if keys[0] == "length":
            return []
        raise ZeroDivisionError(topic)

    async with Producer(cluster.bootstrap, partitioner=choose) as producer:
        with pytest.raises(ZeroDivisionError, match="t"):
            await producer.send_many("t", ["x"])
        with pytest.raises(ValueError, match="gave 0 partitions for 1 messages"):
            await producer.send("t", "x", key="length")
        with pytest.raises(ZeroDivisionError):
            producer.try_send("t", "x")
        assert producer.queue_length == 0


async def test_number_that_is_known_does_while_the_broker_is_away(cluster, monkeypatch):
    monkeypatch.setattr("kafkapipe._partitioner._AGAIN_SECONDS", 0.1)
    cluster.create_topic("t", 3)
    async with Producer(
        cluster.bootstrap, partitioner=lambda *_: [2], topic_metadata_refresh_interval_ms=10
    ) as producer:
        assert (await producer.send("t", "x")).partition == 2
        cluster.set_up(-1, False)
        await asyncio.sleep(0.05)
        monkeypatch.setattr("kafkapipe._partitioner._FIRST_SECONDS", 0.3)
        with pytest.raises(DeadlineError, match="topic u"):
            await producer.send("u", "x")
        pending = asyncio.create_task(producer.send("t", "y"))
        while producer.queue_length == 0:  # noqa: ASYNC110 - a state of the core's
            await asyncio.sleep(0.01)
        cluster.set_up(-1, True)
        assert (await pending).partition == 2
