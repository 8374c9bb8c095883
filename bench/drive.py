"""One run of one contender over the whole topic, in a process that does nothing else.

    python -m bench.drive pipeline|peer|hdfs-peer JOB

JOB is JSON: bootstrap, group, records; for the pipeline its sink, for a peer the url of its server. Prints
what it took as JSON. The clock starts when the first records are delivered, so that neither Python's start
nor the seconds until a group has its partitions count, and stops when all is delivered and committed.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from kafkapipe import Pipeline
from kafkapipe.config import PipelineConfig

from .cluster import INDEX, TOPIC
from .measure import cpu_seconds, memory_mib

_LOOK_SECONDS = 0.01
_STUCK_SECONDS = 20.0
_FILE_BYTES = 16 << 20
_PEER = {"auto.offset.reset": "earliest", "enable.auto.commit": False}
_FLUSH_RECORDS, _FLUSH_BYTES = 5000, 5 << 20  # of a _bulk request: the pipeline's defaults


class Clock:
    """Time and CPU time since the first records were delivered."""

    def __init__(self, records: int) -> None:
        self._before, self._time, self._cpu = records, time.monotonic(), cpu_seconds()

    def result(self, records: int) -> dict[str, float]:
        """Records a second from then to ``records``, CPU-seconds per million, MiB at most."""
        seconds = time.monotonic() - self._time
        count = max(records - self._before, 1)  # the first look at a tiny topic may see all of it
        cpu = (cpu_seconds() - self._cpu) / count * 1e6
        return {"rate": count / seconds, "cpu": cpu, "peak_mib": memory_mib(peak=True)}


async def _until(pipeline: Pipeline, records: int, look_seconds: float) -> int:
    """Wait until so many records are out; how many are."""
    before, since = -1, time.monotonic()
    while True:
        seen = pipeline.snapshot()
        out: int = seen["records_out"]
        if out >= records:
            return out
        if out != before:
            before, since = out, time.monotonic()
        if seen["state"] == "failed" or time.monotonic() - since > _STUCK_SECONDS:
            raise SystemExit(f"the pipeline does not move: {seen}")
        await asyncio.sleep(look_seconds)


async def run_pipeline(job: dict[str, Any]) -> dict[str, float]:
    """Through kafkapipe."""
    config = PipelineConfig(topics=[TOPIC], group=job["group"], sink=job["sink"])
    async with Pipeline.from_config("bench", config, {"bootstrap.servers": job["bootstrap"]}) as pipeline:
        clock = Clock(await _until(pipeline, 1, _LOOK_SECONDS / 10))
        await _until(pipeline, job["records"], _LOOK_SECONDS)
    return clock.result(job["records"])


def run_peer(job: dict[str, Any]) -> dict[str, float]:
    """Through confluent-kafka and elasticsearch-py, in the cheapest way they have: values stay bytes."""
    from confluent_kafka import Consumer  # noqa: PLC0415 - kafkapipe's run shall not carry their memory
    from elasticsearch import Elasticsearch  # noqa: PLC0415
    from elasticsearch.helpers import streaming_bulk  # noqa: PLC0415

    consumer = Consumer({**_PEER, "bootstrap.servers": job["bootstrap"], "group.id": job["group"]})
    consumer.subscribe([TOPIC])

    index = job.get("index", INDEX)

    def actions() -> Iterator[dict[str, Any]]:
        read = 0
        while read < job["records"]:
            for message in consumer.consume(_FLUSH_RECORDS, 0.1):
                key = f"{message.topic()}+{message.partition()}+{message.offset()}"
                yield {"_op_type": "create", "_index": index, "_id": key, "_source": message.value()}
                read += 1

    clock, delivered = None, 0
    size = {"chunk_size": _FLUSH_RECORDS, "max_chunk_bytes": _FLUSH_BYTES}
    for _ in streaming_bulk(Elasticsearch(job["url"]), actions(), **size):
        delivered += 1
        clock = clock or Clock(delivered)
    consumer.commit(asynchronous=False)
    consumer.close()
    assert clock
    return clock.result(delivered)


def run_hdfs_peer(job: dict[str, Any]) -> dict[str, float]:
    """Through confluent-kafka and the PyPI client `hdfs`: files of as many bytes, collected in memory."""
    from confluent_kafka import Consumer  # noqa: PLC0415
    from hdfs import InsecureClient  # noqa: PLC0415

    client = InsecureClient(job["url"], user="hadoop")
    consumer = Consumer({**_PEER, "bootstrap.servers": job["bootstrap"], "group.id": job["group"]})
    consumer.subscribe([TOPIC])
    files: dict[int, list[bytes]] = {}
    sizes: dict[int, int] = {}
    clock, read, number = None, 0, 0

    def write(partition: int) -> None:
        nonlocal number
        number += 1
        data = b"\n".join(files.pop(partition)) + b"\n"
        client.write(f"{job['folder']}/{partition}-{number}.log", data=data)
        sizes.pop(partition)

    while read < job["records"]:
        for message in consumer.consume(_FLUSH_RECORDS, 0.1):
            clock = clock or Clock(0)
            partition, value = message.partition(), message.value()
            files.setdefault(partition, []).append(value)
            sizes[partition] = sizes.get(partition, 0) + len(value) + 1
            read += 1
            if sizes[partition] >= _FILE_BYTES:
                write(partition)
    for partition in list(files):
        write(partition)
    consumer.commit(asynchronous=False)
    consumer.close()
    assert clock
    return clock.result(read)


_CONTENDERS = {"peer": run_peer, "hdfs-peer": run_hdfs_peer}


def main() -> None:
    """Run what was asked for."""
    contender, job = sys.argv[1], json.loads(sys.argv[2])
    work = _CONTENDERS.get(contender)
    print(json.dumps(work(job) if work else asyncio.run(run_pipeline(job))))


if __name__ == "__main__":
    main()
