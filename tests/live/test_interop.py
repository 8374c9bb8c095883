"""What kafkapipe writes, the Java client, confluent-kafka and aiokafka read, and the other way round.

Keys, headers and timestamps included: nulls, empty ones, the same header twice, Korean, quotes and newlines.
"""

import asyncio
from typing import NamedTuple

import aiokafka
import confluent_kafka
import polars
import pytest

import kafkapipe as kp
from kafkapipe.stack import Stack

CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
FIELD, HEADER, END = "\u241f", "\u241d", "\u241e\n"  # symbols that are in no record

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]


class Sent(NamedTuple):
    """One record, whoever writes or reads it."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int


def record(key: str | None, value: str | None, *headers: tuple[str, str | None], at: int = 0) -> Sent:
    pairs = tuple((name, None if text is None else text.encode()) for name, text in headers)
    return Sent(
        None if key is None else key.encode(),
        None if value is None else value.encode(),
        pairs,
        1_767_225_600_123 + at,
    )


CORPUS = [
    record(
        "홍길동",
        '{"n":9007199254740993,"userName":"홍 \\"길동\\""}',
        ("색", "빨강"),
        ("색", "파랑"),
        ("a", ""),
    ),
    record('"인용"\n키', "한 줄\n두 줄\t탭", ("줄", "하나\n둘"), at=1),
    record(None, "", ("none", None), at=2),
    record("", "빈 키", at=3),
    record("삭제", None, ("why", "GDPR"), at=4),
    record(None, None, at=86_400_000),
]
BINARY = Sent(b"\xff\x00", bytes(range(256)), (("bin", b"\x00\xfe"),), 1)


async def make_topic(stack: Stack, name: str) -> str:
    async with kp.Admin(stack.bootstrap) as admin:
        await admin.create_topic(name)
    return name


# ---- readers ----


async def java_reads(stack: Stack, topic: str, count: int) -> list[Sent]:
    printed = {
        **dict.fromkeys(("timestamp", "headers", "key", "value"), "true"), "partition": "false",
    }  # fmt: skip
    properties = [f"print.{name}={value}" for name, value in printed.items()]
    properties += [f"key.separator={FIELD}", f"line.separator={END}", "null.literal=<null>"]
    properties += [f"headers.separator={HEADER}"]
    found = await stack.run_java_tool(
        "kafka", CONSUMER, "--bootstrap-server", stack.bootstrap, "--topic", topic, "--from-beginning",
        "--max-messages", str(count), "--timeout-ms", "60000",
        *(word for each in properties for word in ("--formatter-property", each)),
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return [_of_java(line) for line in found.stdout.removesuffix(END).split(END)]


def _of_java(line: str) -> Sent:
    def data(text: str) -> bytes | None:
        return None if text == "<null>" else text.encode()

    time, headers, key, value = line.split(FIELD)
    pairs = [] if headers == "NO_HEADERS" else [each.split(":", 1) for each in headers.split(HEADER)]
    return Sent(
        data(key),
        data(value),
        tuple((name, data(text)) for name, text in pairs),
        int(time.removeprefix("CreateTime:")),
    )


async def confluent_reads(stack: Stack, topic: str, count: int) -> list[Sent]:
    return await asyncio.to_thread(_confluent_reads, stack.bootstrap, topic, count)


def _confluent_reads(bootstrap: str, topic: str, count: int) -> list[Sent]:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}-confluent"})
    try:
        consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
        messages = [consumer.poll(30) for _ in range(count)]
        return [
            Sent(each.key(), each.value(), tuple(each.headers() or ()), each.timestamp()[1])
            for each in messages
        ]
    finally:
        consumer.close()


async def aiokafka_reads(stack: Stack, topic: str, count: int) -> list[Sent]:
    place = aiokafka.TopicPartition(topic, 0)
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=stack.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([place])
        async with asyncio.timeout(30):
            records = [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()
    return [Sent(each.key, each.value, tuple(each.headers), each.timestamp) for each in records]


async def we_consume(stack: Stack, topic: str, count: int) -> list[Sent]:
    found: list[Sent] = []
    async with kp.Consumer(stack.bootstrap) as consumer, asyncio.timeout(30):
        await consumer.assign([(topic, 0)], start="earliest")
        while len(found) < count:
            found += [Sent(r.key, r.value, tuple(r.headers), r.timestamp) for r in await anext(consumer)]
    return found


async def we_read(stack: Stack, topic: str, count: int) -> list[Sent]:
    table = await asyncio.to_thread(kp.read, topic, bootstrap=stack.bootstrap)
    rows = polars.DataFrame(table).with_columns(polars.col("timestamp").dt.epoch("ms")).to_dicts()
    return [
        Sent(
            row["key"],
            row["value"],
            tuple((header["key"], header["value"]) for header in row["headers"] or ()),
            row["timestamp"],
        )
        for row in rows
    ]


# ---- writers ----


async def java_writes(stack: Stack, topic: str) -> list[Sent]:
    """The console producer: text of one line each, its own time, and no null among headers."""
    sent = [
        record("홍길동", '{"n":9007199254740993}', ("색", "빨강"), ("색", "파랑")),
        record("", "", ("a", "")),
        record("삭제", None, ("why", "GDPR")),
        record(None, "값 \"인용\" 'x'"),
    ]
    properties = (
        "parse.key=true", "parse.headers=true", f"key.separator={FIELD}", f"headers.delimiter={FIELD}",
        f"headers.separator={HEADER}", "headers.key.separator=:", "null.marker=<null>",
    )  # fmt: skip

    def text(data: bytes | None) -> str:
        return "<null>" if data is None else data.decode()

    def line(one: Sent) -> str:
        headers = HEADER.join(f"{name}:{text(value)}" for name, value in one.headers) or "<null>"
        return f"{headers}{FIELD}{text(one.key)}{FIELD}{text(one.value)}\n"

    done = await stack.run_java_tool(
        "kafka", PRODUCER, "--bootstrap-server", stack.bootstrap, "--topic", topic,
        "--compression-codec", "zstd",
        *(word for each in properties for word in ("--reader-property", each)),
        stdin="".join(map(line, sent)).encode(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr  # it ends with 0 even then
    return sent


async def confluent_writes(stack: Stack, topic: str) -> list[Sent]:
    def write() -> None:
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": stack.bootstrap, "compression.type": "snappy"}
        )
        for key, value, headers, timestamp in [*CORPUS, BINARY]:
            producer.produce(topic, value, key, headers=list(headers), timestamp=timestamp, partition=0)
        assert producer.flush(30) == 0

    await asyncio.to_thread(write)
    return [*CORPUS, BINARY]


async def aiokafka_writes(stack: Stack, topic: str) -> list[Sent]:
    sent = [each for each in [*CORPUS, BINARY] if each[:2] != (None, None)]  # it refuses to write those
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=stack.bootstrap, compression_type="gzip")
    await producer.start()
    try:
        for key, value, headers, timestamp in sent:
            await producer.send_and_wait(
                topic, value, key, partition=0, timestamp_ms=timestamp, headers=list(headers)
            )
    finally:
        await producer.stop()
    return sent


# ---- tests ----


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    """Topics that kafkapipe wrote, by what is in them."""
    return {}


@pytest.fixture
async def ours(stack: Stack, written: dict[str, str]) -> str:
    """A topic that kafkapipe wrote, made once: each record alone, then all in a batch per compression."""
    if "text" not in written:
        written["text"] = topic = await make_topic(stack, "interop-ours")
        async with kp.Producer(stack.bootstrap) as producer:
            for key, value, headers, timestamp in CORPUS:
                await producer.send(topic, value, key=key, headers=headers, timestamp=timestamp)
        for compression in ("gzip", "snappy", "lz4", "zstd"):
            async with kp.Producer(stack.bootstrap, compression_type=compression) as producer:
                result = await producer.send_many(
                    topic,
                    [each.value for each in CORPUS],
                    keys=[each.key for each in CORPUS],
                    headers=[each.headers for each in CORPUS],
                    timestamps=[each.timestamp for each in CORPUS],
                )
            assert result.failed == []
    return written["text"]


@pytest.mark.parametrize(
    "reads",
    [java_reads, confluent_reads, aiokafka_reads, we_consume, we_read],
    ids=lambda each: each.__name__,
)
async def test_what_we_write_others_read(stack: Stack, ours: str, reads) -> None:
    assert await reads(stack, ours, 5 * len(CORPUS)) == 5 * CORPUS


@pytest.mark.parametrize(
    "writes", [java_writes, confluent_writes, aiokafka_writes], ids=lambda each: each.__name__
)
async def test_what_others_write_we_read(stack: Stack, writes) -> None:
    topic = await make_topic(stack, f"interop-{writes.__name__}".replace("_", "-"))
    sent = await writes(stack, topic)
    for reads in (we_consume, we_read):
        found = await reads(stack, topic, len(sent))
        if writes is java_writes:  # it writes its own time
            assert all(each.timestamp > CORPUS[0].timestamp for each in found)
            found = [each._replace(timestamp=one.timestamp) for each, one in zip(found, sent, strict=True)]
        assert found == sent


async def test_binary_is_the_same_for_all(stack: Stack) -> None:
    topic = await make_topic(stack, "interop-binary")
    async with kp.Producer(stack.bootstrap) as producer:
        key, value, headers, timestamp = BINARY
        await producer.send(topic, memoryview(value or b""), key=key, headers=headers, timestamp=timestamp)
    for reads in (confluent_reads, aiokafka_reads, we_consume, we_read):
        assert await reads(stack, topic, 1) == [BINARY]
