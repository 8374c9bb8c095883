"""C2, a topic into an Arrow table: kafkapipe.read and, by turns, confluent-kafka's consume(1000) with the
same table built by pyarrow. On mock brokers.

    python -m bench.read [RECORDS] [PAIRS]

Each run is a process of its own; the cluster is in another one. The clock starts before the client is made
and stops when the pyarrow.Table is there. Each run proves its work: the number of rows, and a checksum over
every column of every row. Prints a line for each set of columns.
"""

import asyncio
import json
import sys
import time
import zlib
from collections.abc import Callable
from statistics import median
from typing import Any

import confluent_kafka
import pyarrow as pa

from kafkapipe import MockCluster, Producer, _core, read

from .cluster import event
from .measure import Helper, cpu_seconds, load_average, memory_mib, python, run_child, spread

TOPIC = "clicks"
RECORDS = 300_000
PAIRS = 7
SLICE = 10_000
EVENT_BYTES = 300  # with key and header; the cluster keeps 5 MiB a partition
ALL = ["topic", "partition", "offset", "timestamp", "timestamp_type", "key", "value", "headers"]
SETS = {"all columns": ALL, "offset and value": ["offset", "value"]}

# ---- the cluster ----


async def fill(bootstrap: str, records: int, partitions: int) -> None:
    """Clicks with keys, and a header on every fourth."""
    async with Producer(bootstrap, linger_ms=50) as producer:
        for start in range(0, records, SLICE):
            numbers = range(start, min(start + SLICE, records))
            result = await producer.send_many(
                TOPIC,
                [event(number) for number in numbers],
                keys=[f"user-{number % 1000}" for number in numbers],
                headers=[[("trace", f"{number}")] if number % 4 == 0 else None for number in numbers],
                partitions=[number % partitions for number in numbers],
            )
            if result.failed:
                raise SystemExit(f"mock cluster: {result.failed[0]}")


def serve(records: int) -> None:
    """Fill a cluster, say where it is, wait for the end of stdin."""
    partitions = 1 + records * EVENT_BYTES // (4 << 20)
    with MockCluster() as cluster:
        cluster.create_topic(TOPIC, partitions)
        asyncio.run(fill(cluster.bootstrap, records, partitions))
        print(json.dumps({"bootstrap": cluster.bootstrap, "partitions": partitions}), flush=True)
        sys.stdin.read()


# ---- the contenders ----


def kafkapipe(bootstrap: str, partitions: int, records: int, columns: list[str]) -> pa.Table:
    """Through kafkapipe."""
    return pa.table(read(TOPIC, columns=columns, bootstrap=bootstrap))


TYPES = {
    "topic": pa.dictionary(pa.int8(), pa.string()),
    "partition": pa.int32(),
    "offset": pa.int64(),
    "timestamp": pa.timestamp("ms", "UTC"),
    "timestamp_type": pa.dictionary(pa.int8(), pa.string()),
    "key": pa.binary(),
    "value": pa.binary(),
    "headers": pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())])),
}
TIMES = {1: "CreateTime", 2: "LogAppendTime"}
GETTERS: dict[str, Callable[[confluent_kafka.Message], Any]] = {
    "topic": lambda message: message.topic(),
    "partition": lambda message: message.partition(),
    "offset": lambda message: message.offset(),
    "timestamp": lambda message: message.timestamp()[1],
    "timestamp_type": lambda message: TIMES[message.timestamp()[0]],
    "key": lambda message: message.key(),
    "value": lambda message: message.value(),
    "headers": lambda message: message.headers() or [],
}


def confluent(bootstrap: str, partitions: int, records: int, columns: list[str]) -> pa.Table:
    """Through confluent-kafka: a list for each column of a thousand messages, an Arrow batch of them."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False}
    consumer = confluent_kafka.Consumer(settings)
    consumer.assign([confluent_kafka.TopicPartition(TOPIC, number, 0) for number in range(partitions)])
    schema = pa.schema([(name, TYPES[name]) for name in columns])
    getters = [GETTERS[name] for name in columns]
    batches, rows = [], 0
    while rows < records:
        messages = [each for each in consumer.consume(1000, 1.0) if not each.error()]
        arrays = [
            pa.array([get(each) for each in messages], kind)
            for get, kind in zip(getters, schema.types, strict=True)
        ]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
        rows += len(messages)
    table = pa.Table.from_batches(batches)
    consumer.close()
    return table


CONTENDERS = {"kafkapipe": kafkapipe, "confluent": confluent}


def proof(table: pa.Table) -> int:
    """A checksum of all rows, whatever order they are in."""
    total = 0
    for batch in table.to_batches(max_chunksize=SLICE):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            total += zlib.crc32(repr(row).encode())
    return total


def plain(table: pa.Table) -> pa.Table:
    """With dictionaries as text, so that both tables have the same values."""
    types = [
        each.type.value_type if pa.types.is_dictionary(each.type) else each.type for each in table.schema
    ]
    return table.cast(pa.schema(list(zip(table.column_names, types, strict=True))))


def run(contender: str, cluster: dict[str, Any], records: int, columns: str) -> dict[str, Any]:
    """One contender, timed."""
    start, cpu = time.monotonic(), cpu_seconds()
    table = CONTENDERS[contender](cluster["bootstrap"], cluster["partitions"], records, SETS[columns])
    took = {"seconds": time.monotonic() - start, "cpu": cpu_seconds() - cpu}
    return {**took, "peak_mib": memory_mib(peak=True), "rows": table.num_rows, "proof": proof(plain(table))}


def compare(cluster: dict[str, Any], records: int, pairs: int, columns: str) -> None:
    """Pairs of runs, and a line about them."""
    found: list[dict[str, dict[str, Any]]] = []
    for _ in range(pairs):
        job = [json.dumps(cluster), str(records), columns]
        found.append({name: run_child("bench.read", "run", name, *job) for name in CONTENDERS})
    for pair in found:
        if pair["kafkapipe"]["proof"] != pair["confluent"]["proof"] or pair["kafkapipe"]["rows"] != records:
            raise SystemExit(f"the tables differ: {pair}")
    ratios = {
        key: [pair["confluent"][key] / pair["kafkapipe"][key] for pair in found]
        for key in ("seconds", "cpu", "peak_mib")
    }
    rate = median(records / pair["kafkapipe"]["seconds"] for pair in found)
    cpu = median(pair["kafkapipe"]["cpu"] / records * 1e6 for pair in found)
    print(
        f"C2 {columns}: {spread(ratios['seconds'])} times as fast, 1/{spread(ratios['cpu'])} of the CPU, "
        f"1/{spread(ratios['peak_mib'])} of the memory; kafkapipe {rate:,.0f} records/s, {cpu:.2f} CPU s a "
        f"million; {records} records, {cluster['partitions']} partitions, {pairs} pairs; librdkafka "
        f"{_core.versions()['librdkafka']} and {confluent_kafka.libversion()[0]}, pyarrow {pa.__version__}, "
        f"{load_average()}"
    )


def main() -> None:
    """Compare, or play one of the parts."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["serve"]:
        serve(int(arguments[1]))
    elif arguments[:1] == ["run"]:
        contender, cluster, records, columns = arguments[1:]
        print(json.dumps(run(contender, json.loads(cluster), int(records), columns)))
    else:
        records = int(arguments[0]) if arguments else RECORDS
        pairs = int(arguments[1]) if len(arguments) > 1 else PAIRS
        with Helper(*python("bench.read", "serve", str(records))) as helper:
            for columns in SETS:
                compare(json.loads(helper.line), records, pairs, columns)


if __name__ == "__main__":
    main()
