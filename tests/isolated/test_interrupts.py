"""Ctrl-C is answered at once in every call that waits, whether the broker refuses or is silent."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

WAIT_SECONDS = 2.0  # so long that calls which wait longer each time have begun to
ANSWER_SECONDS = 0.25
MACHINE_SECONDS = 0.35  # more, on a machine that does other things

CALLS = {
    "list topics": "async with kp.Admin(B) as a: await a.list_topics(timeout=60)",
    "describe topic": "async with kp.Admin(B) as a: await a.describe_topic('t', timeout=60)",
    "describe cluster": "async with kp.Admin(B) as a: await a.describe_cluster(timeout=60)",
    "list groups": "async with kp.Admin(B) as a: await a.list_groups(timeout=60)",
    "create topic": "async with kp.Admin(B) as a: await a.create_topic('t', timeout=60)",
    "reset": "async with kp.Admin(B) as a: await a.reset_offsets('g', to='earliest', timeout=60)",
    "next batch": "async with kp.Consumer(B, group='g', topics=['t']) as c: await anext(c)",
    "committed": "async with kp.Consumer(B, group='g') as c: await c.committed([('t', 0)], timeout=60)",
    "assign": "async with kp.Consumer(B, group='g') as c: await c.assign([('t', 0)], start='latest')",
    "watermarks": "async with kp.Consumer(B) as c: await c.watermarks([('t', 0)], timeout=60)",
    "drained": "async with kp.Pipeline(topics=['t'], sink=kp.Null(), kafka=K) as p: await p.drained()",
    "run": "async with kp.Pipeline(topics=['t'], sink=kp.Null(), kafka=K) as p: await p.run()",
    "flush": "p = kp.Producer(B); await p.start(); p.try_send('t', 'x').cancel(); await p.flush()",
    "send": "async with kp.Producer(B) as p: await p.send('t', 'x')",
    "send many": "async with kp.Producer(B) as p: await p.send_many('t', ['x'] * 1000)",
    "close": "p = kp.Producer(B); await p.start(); p.try_send('t', 'x').cancel(); await p.close(60)",
}

IN_A_LOOP = """
import asyncio, sys, time
import kafkapipe as kp

B = sys.argv[1]
K = {{"bootstrap.servers": B}}

async def main():
    print("waits", flush=True)
    {call}

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
"""

BLOCKING = """
import sys, time
import kafkapipe as kp

print("waits", flush=True)
try:
    kp.read("t", bootstrap=sys.argv[1])
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
"""

COMMANDS = {
    "topics list": ["topics", "list"],
    "topics describe": ["topics", "describe", "t"],
    "groups list": ["groups", "list"],
    "produce": ["produce", "t"],
}


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a broker that is not there."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{nobody.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a broker that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def started(commands: Mapping[str, Sequence[str]]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All of these at once, each after `python`; what is left of them at the end is killed."""
    pipe = subprocess.PIPE
    children = {
        name: subprocess.Popen(
            [sys.executable, "-W", "ignore", *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        for name, words in commands.items()
    }
    try:
        yield children
    finally:
        for child in children.values():
            child.kill()
            child.communicate()


def interrupt(child: subprocess.Popen[str]) -> tuple[float, str, str]:
    """When the signal was sent, and all that the child wrote."""
    sent = time.monotonic()
    child.send_signal(signal.SIGINT)
    return sent, *child.communicate(timeout=10)


def test_calls_of_the_clients(silent: str) -> None:
    scripts = {name: IN_A_LOOP.format(call=call) for name, call in CALLS.items()} | {"read": BLOCKING}
    took = {}
    with started({name: ["-c", code, silent] for name, code in scripts.items()}) as children:
        for child in children.values():
            assert child.stdout.readline() == "waits\n"
        time.sleep(WAIT_SECONDS)
        for name, child in children.items():
            sent, out, err = interrupt(child)
            assert out, f"{name} was not interrupted: {err}"
            assert not err, f"{name}: {err}"
            took[name] = float(out) - sent
    assert {name: each for name, each in took.items() if each > ANSWER_SECONDS + MACHINE_SECONDS} == {}


def test_commands(refusing: str) -> None:
    commands = {
        name: ["-m", "kafkapipe", "--bootstrap", refusing, *words] for name, words in COMMANDS.items()
    }
    took = {}
    with started(commands) as children:
        children["produce"].stdin.write("한 줄\n")
        children["produce"].stdin.flush()  # and more could come
        time.sleep(WAIT_SECONDS)
        for name, child in children.items():
            assert child.poll() is None, f"{name} ended by itself: {child.communicate()}"
            sent, _, err = interrupt(child)
            took[name] = time.monotonic() - sent
            assert child.returncode in (1, 130), (name, child.returncode, err)
            assert "Traceback" not in err, (name, err)
    # the interpreter's end is in these
    assert {name: each for name, each in took.items() if each > ANSWER_SECONDS + 2 * MACHINE_SECONDS} == {}
