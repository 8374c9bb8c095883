"""Producing, with a result for every message: kafkapipe and its peers by turns.

    python -m bench.producer [RECORDS] [PAIRS]
    python -m bench.producer real [RECORDS] [PAIRS]

Each run is a process of its own beside a fresh mock cluster in another one (with ``real``: a fresh topic of
the local stack's Apache Kafka), so that CPU and memory are the client's alone. The clock starts when the
client is connected and stops when the last result is there. Each run proves its work: the partitions' end
offsets count the records, and every record that is still kept (the mock keeps the last 5 MiB of a partition)
is one that was sent, and there once. Prints a line for each pair of contenders.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from statistics import median
from typing import Any

import aiokafka
import confluent_kafka
from confluent_kafka.aio import AIOProducer

from kafkapipe import Admin, MockCluster, Producer, _core
from kafkapipe.stack import Stack

from .measure import ROOT, Helper, build, cpu_seconds, load_average, memory_mib, python, run_child, spread

TOPIC = "clicks"
PRODUCE = ROOT / "build" / "bench" / "produce"
RECORDS = 500_000
ASYNC_RECORDS = 10_000  # what the slowest contender does in some seconds
PAIRS = 7
PARTITIONS = 3
TASKS = 1_000  # sends that are awaited at the same time
IDLE_SENDS = 200
SETTINGS = {"linger.ms": "5", "acks": "all", "enable.idempotence": "true"}
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"

HEADERS = [
    ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("site", "가게".encode()),
]

Mark = Callable[[], None]
"""Called at the start and at the end of what is measured."""


def event(number: int) -> bytes:
    """The click with this number: about 200 bytes, Korean text in it."""
    return (
        f'{{"timestamp":"2026-01-01T10:00:00.000+0900","userAgent":"{AGENT}","colorName":"red",'
        f'"userName":"홍길동","n":{number}}}'
    ).encode()


# the contenders


async def send_many(bootstrap: str, topic: str, values: list[bytes], mark: Mark) -> None:
    async with Producer(bootstrap, config=SETTINGS) as producer:
        await producer.send(topic)
        mark()
        result = await producer.send_many(topic, values)
        mark()
    assert result.delivered == len(values)


async def try_send(bootstrap: str, topic: str, values: list[bytes], mark: Mark) -> None:
    async with Producer(bootstrap, config=SETTINGS) as producer:
        await producer.send(topic)
        mark()
        await asyncio.gather(*[producer.try_send(topic, value) for value in values])
        mark()


async def send(bootstrap: str, topic: str, values: list[bytes], mark: Mark) -> None:
    async with Producer(bootstrap, config=SETTINGS) as producer:
        await producer.send(topic)
        mark()
        for start in range(0, len(values), TASKS):
            await asyncio.gather(*(producer.send(topic, value) for value in values[start : start + TASKS]))
        mark()


async def send_many_dressed(bootstrap: str, topic: str, values: list[bytes], mark: Mark) -> None:
    async with Producer(bootstrap, config=SETTINGS) as producer:
        await producer.send(topic)
        mark()
        moment = int(time.time() * 1000)
        result = await producer.send_many(
            topic, values, headers=[HEADERS] * len(values), timestamps=[moment] * len(values)
        )
        mark()
    assert result.delivered == len(values)


async def confluent(bootstrap: str, topic: str, values: list[bytes], mark: Mark) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, **SETTINGS})
    delivered = 0

    def on_delivery(error: object, message: object) -> None:
        nonlocal delivered
        delivered += error is None

    def produce(value: bytes | None) -> None:
        while True:
            try:
                producer.produce(topic, value, on_delivery=on_delivery)
                return
            except BufferError:
                producer.poll(0.01)

    produce(None)
    producer.flush()
    mark()
    for value in values:
        produce(value)
        producer.poll(0)
    producer.flush()
    mark()
    assert delivered == len(values) + 1


async def confluent_aio(bootstrap: str, topic: str, values: list[bytes], mark: Mark) -> None:
    producer = AIOProducer({"bootstrap.servers": bootstrap, **SETTINGS})
    await (await producer.produce(topic, None))
    mark()
    await asyncio.gather(*[await producer.produce(topic, value) for value in values])
    mark()
    await producer.close()


@asynccontextmanager
async def aiokafka_producer(bootstrap: str, topic: str) -> AsyncIterator[aiokafka.AIOKafkaProducer]:
    settings = {"acks": "all", "enable_idempotence": True, "linger_ms": 5}
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, **settings) as producer:
        await producer.send_and_wait(topic, None, b"")
        yield producer


async def aiokafka_send(bootstrap: str, topic: str, values: list[bytes], mark: Mark) -> None:
    async with aiokafka_producer(bootstrap, topic) as producer:
        mark()
        moment = int(time.time() * 1000)
        dress = {"timestamp_ms": moment, "headers": HEADERS}
        await asyncio.gather(*[await producer.send(topic, value, **dress) for value in values])
        mark()


async def aiokafka_batches(bootstrap: str, topic: str, values: list[bytes], mark: Mark) -> None:
    """Its own batches, filled by hand and sent to the partitions in turn: one future a batch."""
    async with aiokafka_producer(bootstrap, topic) as producer:
        mark()
        moment = int(time.time() * 1000)
        sent, at = [], 0
        while at < len(values):
            batch = producer.create_batch()
            while at < len(values) and batch.append(
                key=None, value=values[at], timestamp=moment, headers=HEADERS
            ):
                at += 1
            sent.append(await producer.send_batch(batch, topic, partition=len(sent) % PARTITIONS))
        await asyncio.gather(*sent)
        mark()


CONTENDERS = {
    "kafkapipe send_many": send_many,
    "kafkapipe try_send, futures gathered": try_send,
    f"kafkapipe send, {TASKS} tasks": send,
    "confluent-kafka produce(on_delivery), poll(0)": confluent,
    "confluent-kafka AIOProducer, futures gathered": confluent_aio,
    "kafkapipe send_many, headers and timestamps": send_many_dressed,
    "aiokafka send, headers and timestamps, futures gathered": aiokafka_send,
    "aiokafka send_batch, headers and timestamps": aiokafka_batches,
}
PLAIN_C = "plain C rd_kafka_produce, dr_msg_cb"


def run_plain_c(bootstrap: str, topic: str, records: int) -> dict[str, Any]:
    """The C program, which times itself."""
    lines = b"".join(event(number) + b"\n" for number in range(records))
    settings = [f"{name}={value}" for name, value in SETTINGS.items()]
    done = subprocess.run(
        [PRODUCE, bootstrap, topic, str(records), *settings], input=lines, stdout=subprocess.PIPE, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def run(contender: str, bootstrap: str, topic: str, records: int) -> dict[str, Any]:
    """One contender, timed."""
    if contender == PLAIN_C:
        return run_plain_c(bootstrap, topic, records)
    values = [event(number) for number in range(records)]
    marks: list[tuple[float, float]] = []
    mark = lambda: marks.append((time.monotonic(), cpu_seconds()))  # noqa: E731
    asyncio.run(CONTENDERS[contender](bootstrap, topic, values, mark))
    (start, cpu_start), (end, cpu_end) = marks
    return {"seconds": end - start, "cpu": cpu_end - cpu_start, "peak_mib": memory_mib(peak=True)}


async def idle(bootstrap: str) -> dict[str, Any]:
    """Milliseconds of one awaited send while nothing else is sent, again and again."""
    took = []
    async with Producer(bootstrap, config=SETTINGS) as producer:
        await producer.send(TOPIC)
        for _ in range(IDLE_SENDS):
            await asyncio.sleep(0.005)
            start = time.monotonic()
            await producer.send(TOPIC, "one")
            took.append((time.monotonic() - start) * 1000)
    return {"p50": median(took), "p99": sorted(took)[len(took) * 99 // 100]}


def serve() -> None:
    """A mock cluster, until the input ends."""
    with MockCluster() as cluster:
        cluster.create_topic(TOPIC, PARTITIONS)
        print(cluster.bootstrap, flush=True)
        sys.stdin.read()


# the comparison


def prove(contender: str, bootstrap: str, topic: str, records: int) -> None:
    """Ends the program when what arrived is not what was sent."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "proof", "enable.partition.eof": True}
    consumer = confluent_kafka.Consumer({**settings, "auto.offset.reset": "earliest"})
    partitions = [confluent_kafka.TopicPartition(topic, number) for number in range(PARTITIONS)]
    bounds = [consumer.get_watermark_offsets(each, 20) for each in partitions]
    if sum(high for _, high in bounds) != records + 1:
        raise SystemExit(f"{contender}: {bounds} are not {records} records and a first one")
    for each, (low, _) in zip(partitions, bounds, strict=True):
        each.offset = low
    consumer.assign(partitions)
    numbers = _numbers(consumer)
    consumer.close()
    if len(set(numbers)) != len(numbers) or not set(numbers) <= set(range(records)):
        raise SystemExit(f"{contender}: a record is there twice, or was never sent")


def _numbers(consumer: confluent_kafka.Consumer) -> list[int]:
    numbers = []
    ended = 0
    while ended < PARTITIONS:
        message = consumer.poll(20)
        assert message is not None, "the proof waited in vain"
        if message.error():
            ended += 1
        elif message.value() is not None:
            number = json.loads(message.value())["n"]
            assert event(number) == message.value()
            numbers.append(number)
    return numbers


Place = Callable[[], Any]
"""Opens a fresh topic: a context manager of where it is and what it is called."""


@contextmanager
def mock_topic() -> Iterator[tuple[str, str]]:
    """On a fresh mock cluster."""
    with Helper(*python("bench.producer", "serve")) as cluster:
        yield cluster.line.strip(), TOPIC


def real_topics(bootstrap: str) -> Place:
    """On the broker given, a new one each time, deleted after."""
    numbers = itertools.count()

    @contextmanager
    def topic() -> Iterator[tuple[str, str]]:
        name = f"{TOPIC}-{next(numbers)}"
        asyncio.run(_administer(bootstrap, "create_topic", name, partitions=PARTITIONS, replication_factor=1))
        yield bootstrap, name
        asyncio.run(_administer(bootstrap, "delete_topic", name))

    return topic


async def _administer(bootstrap: str, call: str, *arguments: Any, **options: Any) -> None:
    async with Admin(bootstrap) as admin:
        await getattr(admin, call)(*arguments, **options)


def proven(contender: str, records: int, place: Place) -> dict[str, Any]:
    """One run into a fresh topic."""
    with place() as (bootstrap, topic):
        result = run_child("bench.producer", "run", contender, bootstrap, topic, str(records))
        prove(contender, bootstrap, topic, records)
    return result


def figures(contender: str, runs: list[dict[str, Any]], records: int) -> str:
    """Throughput, CPU and memory of a contender."""
    rate = median(records / each["seconds"] for each in runs)
    cpu = median(each["cpu"] / records * 1e6 for each in runs)
    peak = median(each["peak_mib"] for each in runs)
    return f"{contender}: {rate / 1000:,.0f}k/s, {cpu:.2f} CPU-s per million, peak {peak:.0f} MiB"


def compare(ours: str, theirs: str, records: int, pairs: int, place: Place = mock_topic) -> str:
    """The line of two contenders."""
    found = [(proven(ours, records, place), proven(theirs, records, place)) for _ in range(pairs)]
    faster = [their["seconds"] / our["seconds"] for our, their in found]
    cheaper = [their["cpu"] / our["cpu"] for our, their in found]
    return (
        f"{figures(ours, [our for our, _ in found], records)}; "
        f"{figures(theirs, [their for _, their in found], records)}; "
        f"ratio {spread(faster)}, of CPU {spread(cheaper)}, {pairs} pairs of {records:,} records"
    )


def header(broker: str) -> str:
    """Versions and settings."""
    ours = f"kafkapipe {_core.versions()['kafkapipe']} on librdkafka {_core.versions()['librdkafka']}"
    theirs = f"confluent-kafka {confluent_kafka.__version__} on librdkafka {confluent_kafka.libversion()[0]}"
    settings = ", ".join(f"{name}={value}" for name, value in SETTINGS.items())
    return (
        f"produce: {ours}, {theirs}, aiokafka {aiokafka.__version__}; {broker}, {PARTITIONS} partitions, "
        f"{settings}, events of {len(event(0))} bytes; {load_average()}"
    )


def main(records: int = RECORDS, pairs: int = PAIRS) -> None:
    """Print the comparison on mock brokers."""
    batch, futures, tasks, peer, peer_aio, dressed, *pure = CONTENDERS
    build("produce")
    print(header("mock cluster"))
    print(compare(batch, peer, records, pairs), flush=True)
    print(compare(batch, PLAIN_C, records, pairs), flush=True)
    print(compare(futures, peer_aio, ASYNC_RECORDS, pairs), flush=True)
    for theirs in pure:
        print(compare(dressed, theirs, 10 * ASYNC_RECORDS, pairs), flush=True)
    alone = [proven(tasks, 10 * ASYNC_RECORDS, mock_topic) for _ in range(pairs)]
    print(figures(tasks, alone, 10 * ASYNC_RECORDS), flush=True)
    with Helper(*python("bench.producer", "serve")) as cluster:
        took = run_child("bench.producer", "idle", cluster.line.strip())
    print(f"kafkapipe send, idle: p50 {took['p50']:.2f} ms, p99 {took['p99']:.2f} ms", flush=True)


def main_real(records: int = RECORDS, pairs: int = PAIRS) -> None:
    """Print the comparison on a real broker, which shares the machine: there the CPU ratio is what counts."""
    with Helper(*python("bench.producer", "stack")) as stack:
        place = real_topics(stack.line.strip())
        batch, futures, _, peer, peer_aio, dressed, *pure = CONTENDERS
        print(header("one Apache Kafka"))
        print(compare(batch, peer, records, pairs, place), flush=True)
        print(compare(futures, peer_aio, ASYNC_RECORDS, pairs, place), flush=True)
        for theirs in pure:
            print(compare(dressed, theirs, 10 * ASYNC_RECORDS, pairs, place), flush=True)


async def serve_stack() -> None:
    """Apache Kafka on a free port, until the input ends."""
    with tempfile.TemporaryDirectory() as folder:
        async with Stack(only=["kafka"], kafka_port=0, data_dir=folder) as stack:
            print(stack.bootstrap, flush=True)
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["stack"]:
            asyncio.run(serve_stack())
        case ["run", contender, bootstrap, topic, records]:
            print(json.dumps(run(contender, bootstrap, topic, int(records))))
        case ["idle", bootstrap]:
            print(json.dumps(asyncio.run(idle(bootstrap))))
        case ["real", *numbers]:
            main_real(*map(int, numbers))
        case numbers:
            main(*map(int, numbers))
