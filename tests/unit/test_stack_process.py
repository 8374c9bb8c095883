"""Servers are ended exactly: never a process that only got the same number."""

import asyncio
import os
import signal
import sys
import textwrap
import time

import pytest

from kafkapipe.stack import Stack, process
from kafkapipe.stack.process import Child, spawn
from kafkapipe.stack.state import Record, State

SLEEP = ["/bin/sleep", "600"]
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]


@pytest.fixture
def sleeper(tmp_path):
    child = spawn(SLEEP, {}, tmp_path / "logs" / "sleep.log")
    yield child
    child.signal(signal.SIGKILL)


def until(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_a_process_is_ended_and_leaves_no_zombie(sleeper):
    assert sleeper.alive
    assert sleeper.memory > 0
    assert await sleeper.end() is True
    assert not sleeper.alive
    assert sleeper.memory == 0
    with pytest.raises(ProcessLookupError):
        os.kill(sleeper.pid, 0)


async def test_one_that_ignores_the_request_is_killed(tmp_path):
    log = tmp_path / "log"
    child = spawn(STUBBORN, dict(os.environ), log)
    until(lambda: log.read_text() == "ready\n")
    assert await child.end(grace_s=0.3) is False
    assert not child.alive


async def test_a_paused_process_can_be_ended(sleeper):
    sleeper.signal(signal.SIGSTOP)
    until(lambda: sleeper.paused)
    assert await sleeper.end(grace_s=20) is True


async def test_another_process_with_the_same_pid_is_left_alone(sleeper):
    recycled = Child(sleeper.pid, "born at another time")
    assert not recycled.alive
    await recycled.end()
    await recycled.kill()
    assert sleeper.alive


def test_a_program_that_is_missing_is_an_error_and_no_process(tmp_path):
    with pytest.raises(FileNotFoundError):
        spawn(["/no/such/program"], {}, tmp_path / "log")


async def test_the_former_log_is_kept(tmp_path):
    log = tmp_path / "log"
    for word in ("first", "second"):
        child = spawn(["/bin/echo", word], {}, log)
        assert await child.gone(30)
    assert log.read_text() == "second\n"
    assert (tmp_path / "log.1").read_text() == "first\n"


def test_ps_tells_the_same_story_as_proc(sleeper):
    state, born = process._look_ps(sleeper.pid)
    assert state == "S"
    assert born == process._look_ps(sleeper.pid)[1] != ""
    assert process._look_ps(2**22 + 1) == ("", "")


async def test_down_ends_what_the_state_names_and_not_a_recycled_pid(tmp_path, sleeper):
    ours = spawn(SLEEP, {}, tmp_path / "ours.log")
    state = State.load(tmp_path)
    state.servers["search"] = Record(ours.pid, ours.born)
    state.servers["namenode"] = Record(sleeper.pid, "born at another time")
    state.save()
    assert await Stack(data_dir=tmp_path).down() == ["search"]
    assert not ours.alive
    assert sleeper.alive
    assert State.load(tmp_path).servers == {}


OWNER = """
    import sys, time
    from pathlib import Path
    from kafkapipe.stack.process import Watchdog, spawn
    watchdog = Watchdog()
    child = spawn(["/bin/sleep", "600"], {}, Path(sys.argv[1]))
    watchdog.watch(child)
    print(child.pid, child.born, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_servers_die_with_the_program_that_owns_them(tmp_path, how):
    script = [sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path / "log")]
    owner = await asyncio.create_subprocess_exec(*script, stdout=asyncio.subprocess.PIPE)
    pid, _, born = (await owner.stdout.readline()).decode().strip().partition(" ")
    child = Child(int(pid), born)
    try:
        assert child.alive
        owner.send_signal(how)
        assert await child.gone(30)
    finally:
        child.signal(signal.SIGKILL)
        await owner.communicate()
