"""A large file costs no more memory than a small one: a topic into files of 16 MiB and of 192 MiB."""

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.measure import ROOT, Standin
from kafkapipe._core import MockCluster
from kafkapipe.producer import Producer

RECORD = 256 << 10
RECORDS = 768
SMALL = 64  # records of a small file
NOISE_MIB = 24  # what an allocator keeps, more or less, from run to run
RUN = """
import asyncio, json, sys
from bench.measure import memory_mib
from kafkapipe import Pipeline
from kafkapipe.config import PipelineConfig
job = json.loads(sys.argv[1])
async def main():
    config = PipelineConfig(topics=["large"], group=job["group"], sink=job["sink"])
    async with Pipeline.from_config("memory", config, job["kafka"]) as pipeline:
        await pipeline.drained()
asyncio.run(main())
print(memory_mib(peak=True))
"""


@pytest.fixture(scope="module")
def kafka():
    """A topic of 192 MiB in one partition, which compresses well: the mock cluster keeps 5 MiB."""
    with MockCluster() as mock:
        mock.create_topic("large")
        asyncio.run(fill(mock.bootstrap))
        yield {"bootstrap.servers": mock.bootstrap}


async def fill(bootstrap):
    async with Producer(bootstrap, compression_type="lz4") as producer:
        for number in range(RECORDS):
            value = f'{{"n":{number},"텍스트":"{"가" * (RECORD // 3)}"}}'
            await producer.send("large", value.encode())


def peak(kafka, group, sink, records):
    job = {"group": group, "kafka": kafka, "sink": {**sink, "rotate": {"records": records, "bytes": "1GiB"}}}
    command = [sys.executable, "-c", RUN, json.dumps(job)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def test_on_a_local_disk(kafka, tmp_path):
    def run(group, records):
        path = f"{tmp_path}/{group}/{{partition}}-{{offset}}.log"
        return peak(kafka, group, {"type": "file", "path": path}, records)

    with ThreadPoolExecutor() as pool:  # each waits for its group most of the time
        peaks = list(pool.map(run, ("disk-small", "disk-large"), (SMALL, RECORDS)))
    (large,) = Path(tmp_path, "disk-large").glob("*.log")
    assert large.stat().st_size > 190 << 20
    assert len(list(Path(tmp_path, "disk-small").glob("*.log"))) == RECORDS // SMALL
    assert peaks[1] < peaks[0] + NOISE_MIB, peaks


def test_by_webhdfs(kafka):
    def run(group, records):
        with Standin() as server:
            sink = {"type": "hdfs", "url": server.url, "path": "/data/{partition}-{offset}.log"}
            return peak(kafka, group, sink, records), server.stats()["hdfs"]

    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(run, ("hdfs-small", "hdfs-large"), (SMALL, RECORDS)))
    peaks, stats = zip(*runs, strict=True)
    assert [one.pop("files") for one in stats] == [RECORDS // SMALL, 1]
    assert stats[0] == stats[1]
    assert stats[1]["records"] == RECORDS
    assert peaks[1] < peaks[0] + NOISE_MIB, peaks
