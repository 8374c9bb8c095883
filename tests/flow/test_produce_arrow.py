"""Columns of other libraries as values and keys: nothing is turned into Python objects on the way."""

import pyarrow as pa
import pytest

from kafkapipe import Producer, RejectedError, _core, read

TEXTS = ["빨강", "", None, 'say "hello"\n', "9007199254740993", "x" * 100_000, "열두 바이트를 넘는 글"] * 3
BYTES = [None if text is None else text.encode() for text in TEXTS]

TYPES = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view(), pa.binary_view()]


async def sent(cluster, read_all, values, **more):
    cluster.create_topic("t", 1)
    async with Producer(cluster.bootstrap) as producer:
        result = await producer.send_many("t", values, **more)
    assert not result.failed
    return read_all("t")


def column(type_):
    return pa.array(BYTES if pa.types.is_binary(type_) or "binary" in str(type_) else TEXTS, type_)


@pytest.mark.parametrize("type_", TYPES, ids=str)
async def test_every_type_of_text_and_bytes(cluster, read_all, type_):
    records = await sent(cluster, read_all, column(type_), keys=column(type_))
    assert [record.value for record in records] == BYTES
    assert [record.key for record in records] == BYTES


@pytest.mark.parametrize("type_", TYPES, ids=str)
async def test_slices_and_chunks_are_read_from_where_they_begin(cluster, read_all, type_):
    chunks = pa.chunked_array([column(type_)[3:], column(type_)[:0], column(type_)[5:9]])
    records = await sent(cluster, read_all, chunks[1:], keys=column(type_)[: len(chunks) - 1])
    assert [record.value for record in records] == (BYTES[3:] + BYTES[5:9])[1:]
    assert [record.key for record in records] == BYTES[: len(records)]


async def test_fixed_size_and_null(cluster, read_all):
    fixed = pa.array([b"abcd", None, b"\0\1\2\3"], pa.binary(4))
    records = await sent(cluster, read_all, fixed, keys=pa.nulls(3))
    assert [(record.value, record.key) for record in records] == [
        (b"abcd", None),
        (None, None),
        (b"\0\1\2\3", None),
    ]


async def test_series_of_polars(cluster, read_all):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"key": ["짧다", None, "열두 바이트를 넘는 글"], "value": ["a", "", "b" * 50]})
    records = await sent(cluster, read_all, frame["value"], keys=frame["key"])
    assert [record.value.decode() for record in records] == frame["value"].to_list()
    assert [record.key and record.key.decode() for record in records] == frame["key"].to_list()


async def test_what_was_read_from_a_topic_goes_into_another(cluster, read_all):
    await sent(cluster, read_all, BYTES, keys=BYTES)
    cluster.create_topic("copy", 1)
    table = pa.table(read("t", bootstrap=cluster.bootstrap))
    async with Producer(cluster.bootstrap) as producer:
        result = await producer.send_many("copy", table["value"], keys=table["key"])
    assert result.delivered == len(BYTES)
    assert [record[3:5] for record in read_all("copy")] == [record[3:5] for record in read_all("t")]


async def test_column_larger_than_the_queue_goes_through(cluster, read_all):
    texts = [f"{i} 홍길동" for i in range(20_000)]
    cluster.create_topic("t", 1)
    async with Producer(cluster.bootstrap, queue_buffering_max_messages=700) as producer:
        result = await producer.send_many("t", pa.array(texts))
        with pytest.raises(RejectedError, match="20000 messages of 288890 bytes never fit"):
            producer.try_send_many("t", pa.array(texts))
    assert result.delivered == len(texts)
    assert [record.value.decode() for record in read_all("t")] == texts


async def test_partitioner_of_the_users_gets_the_column(cluster, read_all):
    cluster.create_topic("t", 3)
    calls = []

    def choose(topic, keys, partitions):
        calls.append(type(keys))
        return [len(str(key)) % partitions for key in keys]

    async with Producer(cluster.bootstrap, partitioner=choose) as producer:
        result = await producer.send_many("t", pa.array(["a", "b"]), keys=pa.array(["1", "22"]))
        assert [metadata.partition for metadata in result] == [1, 2]
        await producer.send_many("t", pa.array(["a", "b"]))
    assert calls == [pa.StringArray, list]


async def test_columns_that_do_not_fit_are_refused_as_a_whole(cluster):
    async with Producer(cluster.bootstrap) as producer:
        for wrong, words in [
            (pa.array([1, 2]), 'values is an Arrow column of type "l": give one of strings or bytes'),
            (pa.array(["a"]).dictionary_encode(), "with a dictionary: give one of strings"),
            (pa.table({"a": ["x"]}), 'type "\\+s"'),
        ]:
            with pytest.raises(TypeError, match=words):
                await producer.send_many("t", wrong)
        with pytest.raises(ValueError, match="keys has 2 items for 1 messages"):
            await producer.send_many("t", ["a"], keys=pa.array(["a", "b"]))
        with pytest.raises(TypeError, match="keys is an Arrow column"):
            await producer.send_many("t", pa.array(["a"]), keys=pa.array([1.5]))
        stream = pa.chunked_array([["a"]]).__arrow_c_stream__()

        class Once:
            def __arrow_c_stream__(self, requested_schema=None):
                return stream

        assert (await producer.send_many("t", Once())).delivered == 1
        assert producer.queue_length == 0


async def test_columns_leave_nothing_behind(cluster):
    cluster.create_topic("t", 1)
    values = pa.chunked_array([pa.array(["색"] * 500), pa.array(["빛"] * 500)])
    async with Producer(cluster.bootstrap) as producer:
        await producer.send_many("t", values)
        before, arrow = _core.memory_live(), pa.total_allocated_bytes()
        for _ in range(50):
            await producer.send_many("t", values, keys=values)
            with pytest.raises(TypeError):
                await producer.send_many("t", values, keys=pa.array([1]))
        assert _core.memory_live() == before
        assert pa.total_allocated_bytes() == arrow
