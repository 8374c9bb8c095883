"""C1: a topic read in batches, its bytes counted, against confluent-kafka's consume(500) and value().

    python -m bench.consumer [PAIRS]

Both read the same mock cluster, one after the other, each in a process that does nothing else; the clock runs
from the first batch to the last. A run that did not get every record and every byte is void.
"""

import asyncio
import json
import sys
import time
from typing import Any

import confluent_kafka

from kafkapipe import _core
from kafkapipe.consumer import Consumer

from .cluster import TOPIC
from .measure import Helper, cpu_seconds, load_average, memory_mib, python, run_child, spread

_RECORDS = 300_000
_BATCH = 500


class Clock:
    """Time and CPU time since the first batch."""

    def __init__(self, records: int) -> None:
        self._before, self._time, self._cpu = records, time.monotonic(), cpu_seconds()

    def result(self, records: int, size: int) -> dict[str, Any]:
        """What it took from then to ``records``."""
        count, seconds = records - self._before, time.monotonic() - self._time
        return {
            "records": records,
            "bytes": size,
            "rate": count / seconds,
            "cpu": (cpu_seconds() - self._cpu) / count * 1e6,
            "peak_mib": memory_mib(peak=True),
        }


async def read_kafkapipe(job: dict[str, Any]) -> dict[str, Any]:
    """Batches, records made when touched."""
    clock, records, size = None, 0, 0
    async with Consumer(job["bootstrap"], max_records=_BATCH) as consumer:
        await consumer.assign([(TOPIC, number) for number in range(job["partitions"])])
        async for batch in consumer:
            for record in batch:
                size += len(record.value or b"")
            records += len(batch)
            clock = clock or Clock(records)
            if records >= job["records"]:
                break
        assert clock
        return clock.result(records, size)


def read_confluent(job: dict[str, Any]) -> dict[str, Any]:
    """The same through confluent-kafka."""
    settings = {"bootstrap.servers": job["bootstrap"], "group.id": "peer", "enable.auto.commit": False}
    consumer = confluent_kafka.Consumer({**settings, "enable.auto.offset.store": False})
    places = [confluent_kafka.TopicPartition(TOPIC, number, 0) for number in range(job["partitions"])]
    consumer.assign(places)
    clock, records, size = None, 0, 0
    while records < job["records"]:
        messages = consumer.consume(_BATCH, 0.1)
        for message in messages:
            size += len(message.value())
        records += len(messages)
        if messages:
            clock = clock or Clock(records)
    consumer.close()
    assert clock
    return clock.result(records, size)


def run(name: str, job: dict[str, Any]) -> dict[str, Any]:
    """One run in a process of its own, with its work proved."""
    result = run_child("bench.consumer", name, json.dumps(job))
    if (result["records"], result["bytes"]) != (job["records"], job["bytes"]):
        raise SystemExit(f"{name}: read {result['records']} records, {result['bytes']} bytes: void")
    return result


def compare(pairs: int) -> None:
    """Run A B A B and print the ratios."""
    with Helper(*python("bench.cluster", str(_RECORDS), "none")) as cluster:
        told = json.loads(cluster.line)
        job = {"bootstrap": told["bootstrap"], "partitions": told["partitions"], "records": _RECORDS}
        job["bytes"] = told["lines"]["bytes"]
        runs = [(run("kafkapipe", job), run("confluent", job)) for _ in range(pairs)]
    rate, cpu, memory = ([ours[k] / theirs[k] for ours, theirs in runs] for k in ("rate", "cpu", "peak_mib"))
    print(
        f"C1 records/s ratio {spread(rate)}, CPU ratio {spread(cpu)}, memory ratio {spread(memory)}; "
        f"{spread([ours['rate'] for ours, _ in runs], 0)} records/s; {pairs} pairs of {_RECORDS:,} events, "
        f"librdkafka {_core.versions()['librdkafka']} against confluent-kafka {confluent_kafka.version()} "
        f"(librdkafka {confluent_kafka.libversion()[0]}), {load_average()}"
    )


def main() -> None:
    """One run when asked for by name, else the comparison."""
    if sys.argv[1:2] == ["kafkapipe"]:
        print(json.dumps(asyncio.run(read_kafkapipe(json.loads(sys.argv[2])))))
    elif sys.argv[1:2] == ["confluent"]:
        print(json.dumps(read_confluent(json.loads(sys.argv[2]))))
    else:
        compare(int(sys.argv[1]) if len(sys.argv) > 1 else 7)


if __name__ == "__main__":
    main()
