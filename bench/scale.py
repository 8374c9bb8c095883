"""What must not change the cost: the number of partitions, and Python at work in the same process (C3).

    python -m bench.scale [RECORDS] [RUNS]

Into null and into _bulk over 3, 30 and 300 partitions, one worker: records a second, CPU and memory. C3: the
pipeline into null at full rate while Python code spins, in a thread of the same process and, as the control,
in another process. Where cores are short both lose the same; what the thread loses more is the interpreter's
lock.
"""

import asyncio
import json
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from kafkapipe import _core

from .drive import run_pipeline
from .measure import Helper, load_average, python, run_child, spread
from .pipeline import Run, into_bulk, into_null, told

RECORDS = 600_000
RUNS = 5
PARTITIONS = (3, 30, 300)
_STEPS = 1000


def spin(count: "Synchronized[int]", stop: Callable[[], bool]) -> None:
    """Python code that never waits; counts what it gets done."""
    while not stop():
        total = 0
        for number in range(_STEPS):
            total += number
        count.value += 1


async def beside(job: dict[str, Any], where: str) -> Run:
    """The pipeline's run, and the thousands of steps a second that the spinning code got done meanwhile."""
    kind: type[threading.Thread] | type[multiprocessing.Process] = threading.Thread
    ended: Any = threading.Event()
    if where == "process":
        kind, ended = multiprocessing.Process, multiprocessing.Event()
    count = multiprocessing.Value("q", 0, lock=False)
    spinner = kind(target=spin, args=(count, ended.is_set))
    spinner.start()
    before, began = count.value, time.monotonic()
    try:
        run = await run_pipeline(job)
        steps = (count.value - before) / (time.monotonic() - began)
    finally:
        ended.set()
        spinner.join()
    return {**run, "steps": steps}


def compare(cluster: dict[str, Any], runs: int) -> None:
    """The line of C3."""
    sink = {"type": "null"}
    found = []
    for number in range(runs):
        job = {"bootstrap": cluster["bootstrap"], "records": cluster["lines"]["records"], "sink": sink}
        found.append(
            [
                run_child("bench.scale", "beside", where, json.dumps({**job, "group": f"{where}-{number}"}))
                for where in ("thread", "process")
            ]
        )
    rate, steps = ([thread[key] / process[key] for thread, process in found] for key in ("rate", "steps"))
    print(
        f"C3 beside a Python thread against beside a Python process: pipeline {spread(rate)} of its rate, "
        f"Python {spread(steps)} of its; {runs} pairs, {load_average()}",
        flush=True,
    )


def main(records: int = RECORDS, runs: int = RUNS) -> None:
    """All lines."""
    print(
        f"scale: {records:,} events, lz4, one worker; librdkafka {_core.versions()['librdkafka']}", flush=True
    )
    for partitions in PARTITIONS:
        with Helper(*python("bench.cluster", str(records), "lz4", str(partitions))) as helper:
            cluster = json.loads(helper.line)
            for name, into in (("null", into_null), ("_bulk", into_bulk)):
                lines = [into(cluster) for _ in range(runs)]
                print(told(f"{cluster['partitions']} partitions to {name}", lines), flush=True)
            if partitions == PARTITIONS[0]:
                compare(cluster, runs)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["beside", where, job]:
            print(json.dumps(asyncio.run(beside(json.loads(job), where))))
        case numbers:
            main(*map(int, numbers))
