"""A consumer in a process of its own: interrupted, or left open."""

import asyncio
import signal
import subprocess
import sys
import time

import pytest

from kafkapipe import MockCluster, Producer

OPEN = """
import asyncio, sys
from kafkapipe import Consumer

async def main():
    consumer = Consumer(sys.argv[1], group="g")
    await consumer.start()
    await consumer.assign([("t", 0)])
    batch = await anext(consumer)
    print(len(batch), flush=True)
    {then}

asyncio.run(main())
"""


def process(cluster, then):
    command = [
        sys.executable,
        "-W",
        "ignore::ResourceWarning",
        "-c",
        OPEN.format(then=then),
        cluster.bootstrap,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def cluster():
    async def fill(bootstrap):
        async with Producer(bootstrap) as producer:
            await producer.send_many("t", ["빨강"] * 10)

    with MockCluster() as brokers:
        brokers.create_topic("t", 1)
        asyncio.run(fill(brokers.bootstrap))
        yield brokers


def test_interrupt_is_answered_at_once(cluster):
    with process(cluster, "await anext(consumer)") as child:
        assert int(child.stdout.readline()) == 10
        time.sleep(0.2)  # it waits by now, or is about to: both must do
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
        took = time.monotonic() - start
    assert "KeyboardInterrupt" in err
    assert took < 1.5  # 250 ms for the call, and the interpreter's end on a busy machine


@pytest.mark.parametrize(
    "then", ["pass", "sys.last_batch = batch", "sys.consumer, sys.batch = consumer, batch"]
)
def test_exit_with_everything_open_neither_hangs_nor_crashes(cluster, then):
    with process(cluster, then) as child:
        assert int(child.stdout.readline()) == 10
        _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, "")
