"""Producing, with a result for every message: kafkapipe and confluent-kafka by turns, on mock brokers.

    python -m bench.producer [RECORDS] [PAIRS]

Each run is a process of its own beside a fresh mock cluster in another one, so that CPU and memory are the
client's alone. The clock starts when the client is connected and stops when the last result is there. Each
run proves its work: the partitions' end offsets count the records, and every record that the mock still keeps
(the last 5 MiB of a partition) is one that was sent, and there once. Prints a line for each pair.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import confluent_kafka
from confluent_kafka.aio import AIOProducer

from kafkapipe import MockCluster, Producer, _core

from .measure import Helper, cpu_seconds, load_average, memory_mib, python, run_child, spread

TOPIC = "clicks"
RECORDS = 500_000
ASYNC_RECORDS = 10_000  # what the slowest contender does in some seconds
PAIRS = 7
PARTITIONS = 3
TASKS = 1_000  # sends that are awaited at the same time
IDLE_SENDS = 200
SETTINGS = {"linger.ms": "5", "acks": "all", "enable.idempotence": "true"}
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"

Mark = Callable[[], None]
"""Called at the start and at the end of what is measured."""


def event(number: int) -> bytes:
    """The click with this number: about 200 bytes, Korean text in it."""
    return (
        f'{{"timestamp":"2026-01-01T10:00:00.000+0900","userAgent":"{AGENT}","colorName":"red",'
        f'"userName":"홍길동","n":{number}}}'
    ).encode()


# the contenders


async def send_many(bootstrap: str, values: list[bytes], mark: Mark) -> None:
    async with Producer(bootstrap, config=SETTINGS) as producer:
        await producer.send(TOPIC)
        mark()
        result = await producer.send_many(TOPIC, values)
        mark()
    assert result.delivered == len(values)


async def try_send(bootstrap: str, values: list[bytes], mark: Mark) -> None:
    async with Producer(bootstrap, config=SETTINGS) as producer:
        await producer.send(TOPIC)
        mark()
        await asyncio.gather(*[producer.try_send(TOPIC, value) for value in values])
        mark()


async def send(bootstrap: str, values: list[bytes], mark: Mark) -> None:
    async with Producer(bootstrap, config=SETTINGS) as producer:
        await producer.send(TOPIC)
        mark()
        for start in range(0, len(values), TASKS):
            await asyncio.gather(*(producer.send(TOPIC, value) for value in values[start : start + TASKS]))
        mark()


async def confluent(bootstrap: str, values: list[bytes], mark: Mark) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, **SETTINGS})
    delivered = 0

    def on_delivery(error: object, message: object) -> None:
        nonlocal delivered
        delivered += error is None

    def produce(value: bytes | None) -> None:
        while True:
            try:
                producer.produce(TOPIC, value, on_delivery=on_delivery)
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


async def confluent_aio(bootstrap: str, values: list[bytes], mark: Mark) -> None:
    producer = AIOProducer({"bootstrap.servers": bootstrap, **SETTINGS})
    await (await producer.produce(TOPIC, None))
    mark()
    await asyncio.gather(*[await producer.produce(TOPIC, value) for value in values])
    mark()
    await producer.close()


CONTENDERS = {
    "kafkapipe send_many": send_many,
    "kafkapipe try_send, futures gathered": try_send,
    f"kafkapipe send, {TASKS} tasks": send,
    "confluent-kafka produce(on_delivery), poll(0)": confluent,
    "confluent-kafka AIOProducer, futures gathered": confluent_aio,
}


def run(contender: str, bootstrap: str, records: int) -> dict[str, Any]:
    """One contender, timed."""
    values = [event(number) for number in range(records)]
    marks: list[tuple[float, float]] = []
    mark = lambda: marks.append((time.monotonic(), cpu_seconds()))  # noqa: E731
    asyncio.run(CONTENDERS[contender](bootstrap, values, mark))
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


def prove(contender: str, bootstrap: str, records: int) -> None:
    """Ends the program when what arrived is not what was sent."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "proof", "enable.partition.eof": True}
    consumer = confluent_kafka.Consumer({**settings, "auto.offset.reset": "earliest"})
    partitions = [confluent_kafka.TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
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


def proven(contender: str, records: int) -> dict[str, Any]:
    """One run beside a fresh cluster."""
    with Helper(*python("bench.producer", "serve")) as cluster:
        bootstrap = cluster.line.strip()
        result = run_child("bench.producer", "run", contender, bootstrap, str(records))
        prove(contender, bootstrap, records)
    return result


def figures(contender: str, runs: list[dict[str, Any]], records: int) -> str:
    """Throughput, CPU and memory of a contender."""
    rate = median(records / each["seconds"] for each in runs)
    cpu = median(each["cpu"] / records * 1e6 for each in runs)
    peak = median(each["peak_mib"] for each in runs)
    return f"{contender}: {rate / 1000:,.0f}k/s, {cpu:.2f} CPU-s per million, peak {peak:.0f} MiB"


def compare(ours: str, theirs: str, records: int, pairs: int) -> str:
    """The line of two contenders."""
    found = [(proven(ours, records), proven(theirs, records)) for _ in range(pairs)]
    faster = [their["seconds"] / our["seconds"] for our, their in found]
    cheaper = [their["cpu"] / our["cpu"] for our, their in found]
    return (
        f"{figures(ours, [our for our, _ in found], records)}; "
        f"{figures(theirs, [their for _, their in found], records)}; "
        f"ratio {spread(faster)}, of CPU {spread(cheaper)}, {pairs} pairs of {records:,} records"
    )


def header() -> str:
    """Versions and settings."""
    ours = f"kafkapipe {_core.versions()['kafkapipe']} on librdkafka {_core.versions()['librdkafka']}"
    theirs = f"confluent-kafka {confluent_kafka.__version__} on librdkafka {confluent_kafka.libversion()[0]}"
    settings = ", ".join(f"{name}={value}" for name, value in SETTINGS.items())
    return (
        f"produce: {ours}, {theirs}; mock cluster, {PARTITIONS} partitions, {settings}, "
        f"events of {len(event(0))} bytes; {load_average()}"
    )


def main(records: int = RECORDS, pairs: int = PAIRS) -> None:
    """Print the comparison."""
    batch, futures, tasks, peer, peer_aio = CONTENDERS
    print(header())
    print(compare(batch, peer, records, pairs), flush=True)
    print(compare(futures, peer_aio, ASYNC_RECORDS, pairs), flush=True)
    alone = [proven(tasks, 10 * ASYNC_RECORDS) for _ in range(pairs)]
    print(figures(tasks, alone, 10 * ASYNC_RECORDS), flush=True)
    with Helper(*python("bench.producer", "serve")) as cluster:
        took = run_child("bench.producer", "idle", cluster.line.strip())
    print(f"kafkapipe send, idle: p50 {took['p50']:.2f} ms, p99 {took['p99']:.2f} ms", flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["run", contender, bootstrap, records]:
            print(json.dumps(run(contender, bootstrap, int(records))))
        case ["idle", bootstrap]:
            print(json.dumps(asyncio.run(idle(bootstrap))))
        case numbers:
            main(*map(int, numbers))
