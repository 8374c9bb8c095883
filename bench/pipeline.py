"""A topic through a pipeline into null, files, _bulk (E1, E2) and WebHDFS (F1).

    python -m bench.pipeline [RECORDS] [RUNS]

Mock brokers and a stand-in server, each in a process of its own; one worker. Each run is a new group in a new
process, which does nothing else. Every run proves its work: count, bytes and checksum of what arrived; into
null, count and bytes. E1 runs by turns with elasticsearch-py's streaming_bulk fed by confluent-kafka, F1 with
curl that sends the same bytes. Prints a line for each.
"""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kafkapipe import _core

from .cluster import INDEX, event
from .measure import STANDIN, Helper, Standin, load_average, python, run_child, spread

RECORDS = 1_000_000
RUNS = 7
COMPRESSION = "lz4"
ROTATE = {"bytes": "16MiB"}
_GROUPS = itertools.count()

Run = dict[str, float]


def drive(contender: str, cluster: dict[str, Any], **job: Any) -> Run:
    """One run in a group of its own."""
    job |= {"bootstrap": cluster["bootstrap"], "records": cluster["lines"]["records"]}
    job |= {"group": f"{contender}-{next(_GROUPS)}"}
    return run_child("bench.drive", contender, json.dumps(job))


def prove(wanted: dict[str, Any], arrived: dict[str, Any]) -> None:
    """A run that brought something else is void."""
    if {key: arrived[key] for key in wanted} != wanted:
        raise SystemExit(f"void: {arrived} arrived instead of {wanted}")


# ---- the runs ----


def into_null(cluster: dict[str, Any]) -> Run:
    """The pipeline alone; the sink has counted."""
    return drive("pipeline", cluster, sink={"type": "null"})


def into_files(cluster: dict[str, Any]) -> Run:
    """Into local files."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/{{partition}}-{{offset}}.log"
        run = drive("pipeline", cluster, sink={"type": "file", "path": path, "rotate": ROTATE})
        written = sorted(Path(folder).glob("*.log"))
        summed = subprocess.run(
            f"cat {folder}/*.log | {STANDIN} --sum lines", shell=True, check=True, stdout=subprocess.PIPE
        )
        prove(cluster["lines"], json.loads(summed.stdout))
        return {**run, "files": len(written)}


def into_bulk(cluster: dict[str, Any]) -> Run:
    """Into _bulk requests."""
    with Standin() as server:
        sink = {"type": "elasticsearch", "url": server.url, "index": INDEX}
        run = drive("pipeline", cluster, sink=sink)
        prove(cluster["bulk"], server.stats()["bulk"])
    return run


def peer_into_bulk(cluster: dict[str, Any]) -> Run:
    """The same with what Python programs use today."""
    with Standin() as server:
        run = drive("peer", cluster, url=server.url)
        prove(cluster["bulk"], server.stats()["bulk"])
    return run


def into_hdfs(cluster: dict[str, Any]) -> Run:
    """Into files by WebHDFS."""
    with Standin() as server:
        sink = {"type": "hdfs", "url": server.url, "path": "/data/{partition}-{offset}.log", "rotate": ROTATE}
        run = drive("pipeline", cluster, sink=sink)
        stats = server.stats()["hdfs"]
        prove(cluster["lines"], stats)
    return {**run, "files": stats["files"]}


def curl_into_hdfs(cluster: dict[str, Any]) -> Run:
    """One file with the same lines, sent by curl."""
    records = cluster["lines"]["records"]
    with Standin() as server, tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.writelines(f"{event(number)}\n" for number in range(records))
        file.flush()
        start = time.monotonic()
        subprocess.run(
            ["curl", "-sfL", "-T", file.name, f"{server.url}/webhdfs/v1/data/all.log?op=CREATE"], check=True
        )
        seconds = time.monotonic() - start
        prove(cluster["lines"], server.stats()["hdfs"])
    return {"rate": records / seconds}


# ---- the lines ----


def told(name: str, runs: list[Run]) -> str:
    """What one contender reached."""
    rates, cpu, peak = ([run[key] for run in runs] for key in ("rate", "cpu", "peak_mib"))
    files = f", {runs[-1]['files']:.0f} files" if "files" in runs[-1] else ""
    return (
        f"{name}: {spread(rates, 0)} records/s, {spread(cpu)} CPU-s per million, "
        f"peak {max(peak):.0f} MiB{files}; {len(runs)} runs, {load_average()}"
    )


def against(name: str, ours: list[Run], theirs: list[Run], keys: tuple[str, ...]) -> str:
    """Ratios of the pairs."""
    ratios = {
        key: spread([our[key] / their[key] for our, their in zip(ours, theirs, strict=True)]) for key in keys
    }
    return f"{name}: " + ", ".join(f"{key} {ratio} times" for key, ratio in ratios.items())


def compare(cluster: dict[str, Any], runs: int) -> None:
    """All of them, by turns where there is a peer."""
    print(told("pipeline to null", [into_null(cluster) for _ in range(runs)]), flush=True)
    print(told("pipeline to files", [into_files(cluster) for _ in range(runs)]), flush=True)
    pairs = [(into_bulk(cluster), peer_into_bulk(cluster)) for _ in range(runs)]
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    print(told("E2 pipeline to _bulk", ours), flush=True)
    print(told("confluent-kafka and streaming_bulk", theirs), flush=True)
    print(against("E1 pipeline against them", ours, theirs, ("rate", "cpu", "peak_mib")), flush=True)
    pairs = [(into_hdfs(cluster), curl_into_hdfs(cluster)) for _ in range(runs)]
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    print(told("pipeline to WebHDFS", ours), flush=True)
    print(against("F1 pipeline against curl -T", ours, theirs, ("rate",)), flush=True)


def main(records: int = RECORDS, runs: int = RUNS) -> None:
    """Fill a cluster, then run."""
    with Helper(*python("bench.cluster", str(records), COMPRESSION)) as helper:
        cluster = json.loads(helper.line)
        size = cluster["lines"]["bytes"] / records
        print(
            f"pipeline: {records:,} events of {size:.0f} bytes, {cluster['partitions']} partitions, "
            f"{COMPRESSION}, one worker; librdkafka {_core.versions()['librdkafka']}; {load_average()}",
            flush=True,
        )
        compare(cluster, runs)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
