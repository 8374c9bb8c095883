"""Pipelines on the local stack's real servers: E3 (Elasticsearch), F2 (HDFS), S1 (start to first record).

    python -m bench.real [RECORDS] [PAIRS]

Apache Kafka, HDFS and Elasticsearch run on the same machine, so the records a second are mostly theirs: the
CPU of the client's process is the honest figure. The peers are what Python programs use today:
confluent-kafka with elasticsearch-py's streaming_bulk, and with the client `hdfs`. Every run is a new group
into a new index or folder and proves its work: all documents are there, or count, bytes and checksum of all
lines.
"""

import asyncio
import itertools
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import Any

import httpx

from kafkapipe import Admin, KafkaPipeError, _core
from kafkapipe.stack import Stack

from .cluster import INDEX, TOPIC, fill
from .idle import free_port
from .measure import ROOT, STANDIN, Helper, build, load_average, python, spread
from .pipeline import ROTATE, Run, against, drive, prove, told

RECORDS = 300_000
PAIRS = 7
PARTITIONS = 3
STARTS = 5
_PATIENCE = 60.0
_FIRST = re.compile(r'^kafkapipe_pipeline_records_out_total\{pipeline="first"\} (.*)$', re.MULTILINE)
_NUMBERS = itertools.count()


async def serve(records: int) -> None:
    """The servers with the topic filled, until the input ends; tells where they are as one line of JSON."""
    with tempfile.TemporaryDirectory() as folder:
        ports = {"kafka_port": 0, "hdfs_port": 0, "search_port": 0}
        async with Stack(data_dir=folder, **ports) as stack:
            async with Admin(stack.bootstrap) as admin:
                await admin.create_topic(
                    TOPIC, partitions=PARTITIONS, replication_factor=1, config={"retention.ms": "-1"}
                )
            proofs = await fill(stack.bootstrap, records, PARTITIONS, "lz4")
            told = {"bootstrap": stack.bootstrap, "hdfs": stack.webhdfs_url, "search": stack.search_url}
            print(json.dumps({**told, **proofs}), flush=True)
            await asyncio.to_thread(sys.stdin.read)


# ---- the runs ----


def proven_documents(place: dict[str, Any], index: str) -> None:
    """All documents are there; then the index goes."""
    url = f"{place['search']}/{index}"
    httpx.post(f"{url}/_refresh", trust_env=False, timeout=_PATIENCE).raise_for_status()
    count = httpx.get(f"{url}/_count", trust_env=False, timeout=_PATIENCE).json()["count"]
    httpx.delete(url, trust_env=False, timeout=_PATIENCE)
    if count != place["lines"]["records"]:
        raise SystemExit(f"void: {count} documents instead of {place['lines']['records']}")


def proven_files(place: dict[str, Any], folder: str) -> None:
    """Every line is there once; then the folder goes."""
    base = f"{place['hdfs']}/webhdfs/v1{folder}"
    with httpx.Client(trust_env=False, timeout=_PATIENCE, follow_redirects=True) as client:
        listed = client.get(base, params={"op": "LISTSTATUS"}).json()["FileStatuses"]["FileStatus"]
        names = [each["pathSuffix"] for each in listed if each["type"] == "FILE"]
        with tempfile.TemporaryFile() as file:
            for name in names:
                file.write(client.get(f"{base}/{name}", params={"op": "OPEN"}).content)
            file.seek(0)
            summed = subprocess.run(
                [STANDIN, "--sum", "lines"], stdin=file, stdout=subprocess.PIPE, check=True
            )
        client.delete(base, params={"op": "DELETE", "recursive": "true", "user.name": "hadoop"})
    prove(place["lines"], json.loads(summed.stdout))


def into_search(place: dict[str, Any]) -> Run:
    """Ours into Elasticsearch."""
    index = f"{INDEX}-{next(_NUMBERS)}"
    run = drive("pipeline", place, sink={"type": "elasticsearch", "url": place["search"], "index": index})
    proven_documents(place, index)
    return run


def peer_into_search(place: dict[str, Any]) -> Run:
    """Theirs."""
    index = f"{INDEX}-{next(_NUMBERS)}"
    run = drive("peer", place, url=place["search"], index=index)
    proven_documents(place, index)
    return run


def into_hdfs(place: dict[str, Any]) -> Run:
    """Ours onto HDFS."""
    folder = f"/data/ours-{next(_NUMBERS)}"
    path = f"{folder}/{{partition}}-{{offset}}.log"
    sink = {"type": "hdfs", "url": place["hdfs"], "user": "hadoop", "path": path, "rotate": ROTATE}
    run = drive("pipeline", place, sink=sink)
    proven_files(place, folder)
    return run


def peer_into_hdfs(place: dict[str, Any]) -> Run:
    """Theirs."""
    folder = f"/data/theirs-{next(_NUMBERS)}"
    run = drive("hdfs-peer", place, url=place["hdfs"], folder=folder)
    proven_files(place, folder)
    return run


# ---- from the command to the first record ----


def start_once(place: dict[str, Any]) -> tuple[float, float]:
    """Seconds from `kafkapipe run` to the first record delivered, and those of them after the group stood."""
    group = f"start-{next(_NUMBERS)}"
    management = f"127.0.0.1:{free_port()}"
    sink = {"type": "elasticsearch", "url": place["search"], "index": f"{INDEX}-{group}"}
    config = {
        "kafka": {"bootstrap.servers": place["bootstrap"]},
        "pipelines": {"first": {"topics": [TOPIC], "group": group, "sink": sink}},
        "management": {"listen": management},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(config, file)
        file.flush()
        began = time.monotonic()
        process = subprocess.Popen(python("kafkapipe", "run", file.name), cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            joined, first = asyncio.run(watch_start(place["bootstrap"], group, management))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_PATIENCE)
    return first - began, first - joined


async def watch_start(bootstrap: str, group: str, management: str) -> tuple[float, float]:
    """When the group stood, and when the first record was delivered."""
    return await asyncio.gather(until_stable(bootstrap, group), until_first(management))


async def until_stable(bootstrap: str, group: str) -> float:
    """By its coordinator's word."""
    async with asyncio.timeout(_PATIENCE), Admin(bootstrap) as admin:
        while True:
            with suppress(KafkaPipeError):
                if (await admin.describe_group(group)).state == "Stable":
                    return time.monotonic()
            await asyncio.sleep(0.005)


async def until_first(management: str) -> float:
    """By the pipeline's own counter."""
    async with asyncio.timeout(_PATIENCE), httpx.AsyncClient(trust_env=False) as client:
        while True:
            with suppress(httpx.TransportError):
                found = _FIRST.search((await client.get(f"http://{management}/metrics")).text)
                if found and float(found[1]) > 0:
                    return time.monotonic()
            await asyncio.sleep(0.005)


# ---- the lines ----


def compare(place: dict[str, Any], pairs: int) -> None:
    """By turns."""
    for name, peer, ours, theirs in (
        ("E3 pipeline to Elasticsearch", "confluent-kafka and streaming_bulk", into_search, peer_into_search),
        ("F2 pipeline to HDFS", "confluent-kafka and hdfs", into_hdfs, peer_into_hdfs),
    ):
        runs = [(ours(place), theirs(place)) for _ in range(pairs)]
        mine, peers = ([pair[side] for pair in runs] for side in (0, 1))
        print(told(name, mine), flush=True)
        print(told(peer, peers), flush=True)
        print(against(f"{name} against them", mine, peers, ("rate", "cpu", "peak_mib")), flush=True)
    starts = [start_once(place) for _ in range(STARTS)]
    print(
        f"S1 kafkapipe run to the first record in Elasticsearch: {spread([all_ for all_, _ in starts])} s, "
        f"{spread([after for _, after in starts])} s of them after the group stood; {STARTS} starts",
        flush=True,
    )


def main(records: int = RECORDS, pairs: int = PAIRS) -> None:
    """Start the servers, then run."""
    build("standin")
    with Helper(*python("bench.real", "serve", str(records))) as helper:
        place = json.loads(helper.line)
        print(
            f"real servers: {records:,} events of {place['lines']['bytes'] / records:.0f} bytes, "
            f"{PARTITIONS} partitions, lz4, one worker; librdkafka {_core.versions()['librdkafka']}; "
            f"{load_average()}",
            flush=True,
        )
        compare(place, pairs)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", records]:
            asyncio.run(serve(int(records)))
        case numbers:
            main(*map(int, numbers))
