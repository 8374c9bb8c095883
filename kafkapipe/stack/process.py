"""Server processes: started detached, known again by pid *and* start time, ended exactly.

A server outlives the command that starts it, so it is neither an asyncio child (whose transport kills it when
collected) nor waited for. A pid alone may be recycled; with the start time it names one process for ever.

Run as a script, this file is the watchdog: it reads ``PID BORN`` lines and ends those processes when its
standard input closes, which is when the Python program that owns them is gone, however it went.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.05
WATCHDOG_GRACE_S = 20.0


@dataclass(frozen=True)
class Child:
    """One process: its pid and when it was born."""

    pid: int
    born: str

    @property
    def alive(self) -> bool:
        """True while this very process runs; a zombie does not."""
        state, born = _look(self.pid)
        if not state or born != self.born:
            return False
        if state == "Z":
            _reap(self.pid)
        return state != "Z"

    @property
    def paused(self) -> bool:
        """True while the process is stopped by SIGSTOP."""
        return self.alive and _look(self.pid)[0] == "T"

    @property
    def memory(self) -> int:
        """Resident bytes; 0 when it does not run."""
        return _memory(self.pid) if self.alive else 0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process is gone."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    async def end(self, grace_s: float = 60.0) -> bool:
        """Ask the process to stop; kill it after ``grace_s`` seconds. True when it stopped by itself."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        if await self.gone(grace_s):
            return True
        await self.kill()
        return False

    async def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self.signal(signal.SIGKILL)
        await self.gone(60.0)

    async def gone(self, timeout_s: float) -> bool:
        """Wait up to ``timeout_s`` seconds for the end of the process."""
        return await self.until(lambda: not self.alive, timeout_s)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait up to ``timeout_s`` seconds until something is true of the process."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True


def spawn(argv: Sequence[str], env: Mapping[str, str], log: Path) -> Child:
    """Start a process in a session of its own, its output in ``log`` (the former log is kept as ``.1``)."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(log.name + ".1"))
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawn(
        argv[0], list(argv), env, file_actions=actions, setsid=True, setsigdef=[signal.SIGPIPE, signal.SIGINT]
    )
    return Child(pid, _look(pid)[1])


def _reap(pid: int) -> None:
    """Take the exit status of an ended child of ours, so that no zombie stays."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _look(pid: int) -> tuple[str, str]:
    """State letter and birth of a process; two empty strings when there is none."""
    if sys.platform == "linux":
        return _look_proc(pid)
    return _look_ps(pid)


def _look_proc(pid: int) -> tuple[str, str]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], f"{_boot_id()}/{fields[19]}"


def _boot_id() -> str:
    """Start times count from the boot: the same number after the next boot is another process."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _look_ps(pid: int) -> tuple[str, str]:
    line = _ps(pid, "stat=,lstart=").split(maxsplit=1)
    return (line[0][0], line[1].strip()) if len(line) == 2 else ("", "")


def _memory(pid: int) -> int:
    if sys.platform != "linux":
        return int(_ps(pid, "rss=").strip() or 0) * 1024
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return resident * os.sysconf("SC_PAGE_SIZE")


def _ps(pid: int, columns: str) -> str:
    command = [shutil.which("ps") or "ps", "-o", columns, "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C"}).stdout


class Watchdog:
    """A small process that ends the given ones when this program dies, even by SIGKILL."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, child: Child) -> None:
        """From now on ``child`` ends with this program."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{child.pid} {child.born}\n".encode())
        self._process.stdin.flush()

    async def close(self) -> None:
        """Ends what is still running and then the watchdog itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.to_thread(self._process.wait)


async def _end_all(children: list[Child]) -> None:
    await asyncio.gather(*(child.end(WATCHDOG_GRACE_S) for child in children))


def _watch() -> None:
    pairs = (line.rstrip("\n").partition(" ") for line in sys.stdin)
    children = [Child(int(pid), born) for pid, _, born in pairs]
    asyncio.run(_end_all(children))


if __name__ == "__main__":
    _watch()
