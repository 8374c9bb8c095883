"""Bounded reads: what is in the topic is in the table, and nothing else; the arguments and their errors."""

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import polars
import pyarrow as pa
import pytest

import kafkapipe as kp
from kafkapipe import _core

PARTITIONS, EACH = 3, 40
BIG = 2**53 + 1
NAME = '홍 "길동"\n둘째 줄'
START_MS = 1_767_225_600_123


def value(number: int) -> str | bytes | None:
    """Mostly a click; what is none, no JSON and a tombstone among them."""
    odd = {3: None, 6: b"\xff\x00", 9: "", 12: '{"n":1.5,"user":{"name":7},"ok":"yes"}', 15: "[1]"}
    ok = str(number % 2 == 0).lower()
    click = (
        f'{{"n":{BIG + number},"user":{{"name":"홍 \\"길동\\"\\n둘째 줄"}},"ratio":{number}.25,"ok":{ok}}}'
    )
    return odd.get(number, click)


def parsed(number: int) -> tuple[object, ...]:
    """The fields n, user.name, ratio and ok of that value."""
    if number in (3, 6, 9, 15):
        return (None, None, None, None)
    return (None, None, None, None) if number == 12 else (BIG + number, NAME, number + 0.25, number % 2 == 0)


FIELDS = {"n": "int64", "user.name": "string", "ratio": "float64", "ok": "bool"}


@pytest.fixture
async def topic(cluster: kp.MockCluster) -> str:
    """Forty records in each of three partitions of ``clicks``, with and without keys and headers."""
    cluster.create_topic("clicks", PARTITIONS)
    numbers = range(EACH)
    async with kp.Producer(cluster.bootstrap) as producer:
        for partition in range(PARTITIONS):
            result = await producer.send_many(
                "clicks",
                [value(number) for number in numbers],
                keys=[(None, b"", "키".encode())[number % 3] for number in numbers],
                headers=[
                    [("a", b"\x00"), ("a", None), ('"이름"\n', "값")][: number % 4] for number in numbers
                ],
                timestamps=[START_MS + number for number in numbers],
                partitions=[partition] * EACH,
            )
            assert result.delivered == EACH
    return "clicks"


@pytest.fixture
async def topic_on_two() -> AsyncIterator[tuple[kp.MockCluster, str]]:
    """Forty records on the first of two brokers."""
    with kp.MockCluster(brokers=2) as brokers:
        brokers.create_topic("moving", 1, 2)
        brokers.set_leader("moving", 0, 1)
        async with kp.Producer(brokers.bootstrap) as producer:
            await producer.send_many("moving", [value(number) for number in range(EACH)])
        yield brokers, "moving"


def offsets(table: kp.Table) -> list[tuple[int, int]]:
    return [(row["partition"], row["offset"]) for row in table.head(10_000)]


def expected(*ranges: tuple[int, int, int]) -> list[tuple[int, int]]:
    return [(partition, offset) for partition, start, end in ranges for offset in range(start, end)]


def test_every_column_is_what_another_client_reads(cluster, topic, read_all, capfd):
    rows = kp.read(topic, bootstrap=cluster.bootstrap).head(10_000)
    assert [
        (
            row["partition"],
            row["offset"],
            int(row["timestamp"].timestamp() * 1000 + 0.5),
            row["key"],
            row["value"],
            row["headers"] or None,
        )
        for row in rows
    ] == [tuple(each) for each in read_all(topic, PARTITIONS)]
    assert {(row["topic"], row["timestamp_type"]) for row in rows} == {("clicks", "CreateTime")}
    assert rows[0]["timestamp"] == datetime(2026, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)
    assert capfd.readouterr() == ("", "")


def test_fields_of_json_are_typed_columns(cluster, topic):
    table = kp.read(topic, partitions=[0], columns=["offset"], parse_json=FIELDS, bootstrap=cluster.bootstrap)
    assert table.columns == ["offset", *FIELDS]
    rows = pa.table(table).to_pylist()
    assert [tuple(row.values()) for row in rows] == [(number, *parsed(number)) for number in range(EACH)]


@pytest.mark.parametrize(
    ("arguments", "ranges"),
    [
        ({}, [(0, 0, 40), (1, 0, 40), (2, 0, 40)]),
        ({"partitions": [2, 0, 2]}, [(0, 0, 40), (2, 0, 40)]),
        ({"start": 30, "end": 35, "partitions": (1,)}, [(1, 30, 35)]),
        ({"start": {2: 38, 0: "39"}}, [(0, 39, 40), (2, 38, 40)]),
        ({"start": {1: 5}, "end": {1: 7, 2: 1}}, [(1, 5, 7), (2, 0, 1)]),
        ({"end": {0: 2, 1: 3}, "partitions": [1, 2]}, [(1, 0, 3), (2, 0, 40)]),
        ({"start": 39, "end": 10**15}, [(0, 39, 40), (1, 39, 40), (2, 39, 40)]),
        ({"start": 41}, []),
        ({"start": "latest"}, []),
        ({"end": "earliest"}, []),
        ({"start": 20, "end": 10}, []),
        ({"limit": 0}, []),
        ({"limit": 1}, [(0, 0, 1)]),
        ({"limit": 45}, [(0, 0, 40), (1, 0, 5)]),
        ({"limit": 45, "start": 30}, [(0, 30, 40), (1, 30, 40), (2, 30, 40)]),
    ],
)
def test_the_rows_are_those_of_the_range(cluster, topic, arguments, ranges):
    table = kp.read(topic, bootstrap=cluster.bootstrap, **arguments)
    found = table.estimate()
    limit = arguments.get("limit", 10_000)
    assert found.records == min(limit, sum(each.end - each.start for each in found.partitions))
    assert "not read yet" in repr(table)
    assert offsets(table) == expected(*ranges)
    assert len(table) == sum(end - start for _, start, end in ranges)


async def test_what_is_written_after_the_call_is_not_read(cluster, topic):
    table = kp.read(topic, bootstrap=cluster.bootstrap)
    async with kp.Producer(cluster.bootstrap) as producer:
        await producer.send_many(topic, ["late"] * 30)
    assert offsets(table) == expected((0, 0, 40), (1, 0, 40), (2, 0, 40))


@pytest.mark.parametrize("limit", [None, 100])
async def test_a_batch_that_is_compressed_is_read_from_its_middle_to_its_middle(cluster, limit):
    cluster.create_topic("packed")
    async with kp.Producer(cluster.bootstrap, compression_type="lz4", linger_ms=50) as producer:
        await producer.send_many("packed", [f"{number}" for number in range(300)])
    table = kp.read("packed", start=123, end=200, limit=limit, columns=["value"], bootstrap=cluster.bootstrap)
    assert [row["value"] for row in table.head(1000)] == [b"%d" % number for number in range(123, 200)]


# ---- Arrow ----


def settled_memory() -> int:
    """Blocks that are alive when what earlier tests and the fixtures leave behind is gone."""
    gc.collect()
    for thread in threading.enumerate():
        if "(close)" in thread.name:  # the cluster of an earlier test
            thread.join()
    return _core.memory_live()


def addresses(table: pa.Table) -> list[int]:
    chunks = [chunk for column in table.columns for chunk in column.chunks]
    return [buffer.address for chunk in chunks for buffer in chunk.buffers() if buffer]


def test_importers_share_the_memory_and_it_goes_with_the_last_of_them(cluster, topic):
    before = settled_memory()
    table = kp.read(topic, parse_json=FIELDS, bootstrap=cluster.bootstrap)
    first, second = pa.table(table), pa.table(table)
    frame = polars.DataFrame(table)
    first.validate(full=True)
    assert first.schema == pa.schema(table)
    assert [str(each.type) for each in first.schema][2:4] == ["int64", "timestamp[ms, tz=UTC]"]
    assert first.num_rows == frame.height == PARTITIONS * EACH
    assert addresses(first) == addresses(second)
    assert frame["n"].to_list() == first["n"].to_pylist()
    assert frame["headers"].to_list() == first["headers"].to_pylist()
    one = first["value"].chunk(1)
    del table, first, frame, second
    assert _core.memory_live() > before
    assert one[0].as_py() == value(0).encode()
    del one
    assert _core.memory_live() == before


def test_a_table_without_rows_has_its_columns(cluster, topic):
    empty = pa.table(kp.read(topic, start="latest", bootstrap=cluster.bootstrap))
    assert empty.num_rows == 0
    assert empty.column_names[:3] == ["topic", "partition", "offset"]


def rows_or_no_memory(cluster: kp.MockCluster, topic: str) -> int | None:
    try:
        return int(pa.table(kp.read(topic, parse_json=FIELDS, bootstrap=cluster.bootstrap)).num_rows)
    except (MemoryError, pa.ArrowException):
        return None


def test_every_allocation_may_fail(cluster, topic):
    before = settled_memory()
    found = []
    for n in range(1, 700, 10):
        _core.memory_fail_at(n)
        found.append(rows_or_no_memory(cluster, topic))
        _core.memory_fail_at(0)
        assert _core.memory_live() == before
    assert set(found) == {None, PARTITIONS * EACH}


def test_a_notebook_shows_a_table(cluster, topic):
    table = kp.read(topic, limit=25, bootstrap=cluster.bootstrap)
    html = table._repr_html_()
    assert html.count("<tr>") == 21
    assert "clicks: 25 rows, the first 20" in html
    assert "홍 \\&quot;길동" in html
    assert "<caption>clicks: at most 25 records</caption>" in table.estimate()._repr_html_()


# ---- errors ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": "yesterday"}, r"read: start 'yesterday': give an offset, a datetime"),
        ({"end": -1}, r"read: end -1: give an offset"),
        ({"start": True}, r"read: start True: give"),
        ({"partitions": [-1]}, r"read: partition -1: give numbers from 0 up"),
        ({"partitions": []}, r"read: no partitions"),
        ({"start": {}}, r"read: no partitions"),
        ({"start": {"0": 5, 1: 5}}, r"read: partition '0': give numbers"),
        ({"limit": -5}, r"read: limit -5"),
        ({"columns": ["offsets"]}, r'read: there is no column "offsets": did you mean "offset"\?'),
        ({"columns": []}, r"read: no columns"),
        ({"parse_json": {"n": "int"}}, r'read: parse_json has the type "int" for n: give string, int64'),
        ({"parse_json": {"offset": "int64"}}, r'read: two columns are named "offset"'),
        ({"parse_json": {"a..b": "int64"}}, r'parse_json: path "a..b" has an empty step'),
        ({"group_id": "g"}, r"kafka property group.id: not for a bounded read"),
        ({"isolation_levle": "read_committed"}, r'did you mean "isolation.level"\?'),
        ({"isolation_level": "none"}, r"kafka property isolation.level: "),
    ],
)
def test_an_argument_that_cannot_be_is_told_before_anything_is_tried(arguments, message):
    with pytest.raises(kp.ConfigError, match=message):
        kp.read("t", bootstrap="127.0.0.1:1", **arguments)


def test_a_partition_that_is_not_there(cluster, topic):
    with pytest.raises(
        kp.RejectedError, match="read clicks: it has no partition 3: its 3 partitions begin with 0"
    ):
        kp.read(topic, partitions=[1, 3], bootstrap=cluster.bootstrap)


def test_a_broker_that_is_not_there_is_named_within_the_deadline():
    start = time.monotonic()
    with pytest.raises(kp.DeadlineError, match=r"nothing came from 127\.0\.0\.1:1 within 0\.5 s") as caught:
        kp.read("t", bootstrap="127.0.0.1:1", timeout=0.5)
    assert time.monotonic() - start < 2
    assert caught.value.op == "read"


def test_a_broker_that_falls_silent_is_named_within_the_deadline(cluster, topic):
    table = kp.read(topic, bootstrap=cluster.bootstrap, timeout=1)
    cluster.set_rtt(1, 60_000)
    with pytest.raises(kp.DeadlineError, match=rf"{cluster.bootstrap} within 1 s"):
        table.load()
    cluster.set_rtt(1, 0)
    with pytest.raises(kp.ClosedError, match="read again"):
        len(table)
    assert table.estimate().records == PARTITIONS * EACH


INTERRUPTED = """
import sys, kafkapipe as kp
try:
    if sys.argv[2] == "ask":
        print("now", flush=True)
        kp.read("clicks", bootstrap=sys.argv[1])
    else:
        table = kp.read("clicks", bootstrap=sys.argv[1])
        print("now", flush=True)
        sys.stdin.readline()
        len(table)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("phase", ["ask", "read"])
def test_ctrl_c_is_answered_at_once(cluster, topic, phase):
    bootstrap = cluster.bootstrap if phase == "read" else "127.0.0.1:1"
    command = [sys.executable, "-c", INTERRUPTED, bootstrap, phase]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "now\n"
        if phase == "read":
            cluster.set_rtt(1, 60_000)
            process.stdin.write("go\n")
            process.stdin.flush()
        time.sleep(0.5)  # it waits for a broker that says nothing: there is nothing to see of that
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - start < 0.25
        process.kill()


def test_reading_needs_the_records_only_once(cluster, topic):
    table = kp.read(topic, bootstrap=cluster.bootstrap).load()
    cluster.set_up(-1, False)
    assert len(table) == pa.table(table).num_rows == PARTITIONS * EACH
    assert table


async def test_a_partition_that_moved_to_another_broker_meanwhile(topic_on_two):
    brokers, topic = topic_on_two
    table = kp.read(topic, bootstrap=brokers.bootstrap, timeout=20)
    brokers.set_leader(topic, 0, 2)
    assert len(table) == EACH
    brokers.set_leader(topic, 0, 1)
    assert len(kp.read(topic, bootstrap=brokers.bootstrap, timeout=20)) == EACH
