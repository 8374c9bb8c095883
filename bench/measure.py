"""What the benchmarks share: the stand-in server, child processes, and how figures are read and written."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

import httpx

ROOT = Path(__file__).resolve().parent.parent
STANDIN = ROOT / "build" / "bench" / "standin"
_LEAVE_SECONDS = 20


class Helper:
    """A child process that prints a line when it is ready and ends when its input ends; a context manager."""

    def __init__(self, *command: str | Path) -> None:
        self._command = command

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.line = self.process.stdout.readline()
        if not self.line:
            raise SystemExit(f"{self._command} ended before it was ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.communicate(timeout=_LEAVE_SECONDS)


class Standin(Helper):
    """The server that stands in for Elasticsearch and HDFS, empty."""

    def __init__(self) -> None:
        build()
        super().__init__(STANDIN)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.line.strip()}"

    def stats(self) -> dict[str, dict[str, Any]]:
        """What arrived: ``bulk`` and ``hdfs``, each with records, bytes and checksum."""
        answer: dict[str, dict[str, Any]] = httpx.get(f"{self.url}/stats", trust_env=False).json()
        return answer


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of the benchmarks with this interpreter, from the project's folder."""
    return (sys.executable, "-m", module, *arguments)


def run_child(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module to its end; what it printed, one JSON object."""
    done = subprocess.run(
        python(module, *arguments), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{module} failed")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def build(*programs: str) -> None:
    """Compile C programs of the benchmarks."""
    subprocess.run(
        ["make", "-s", "-C", "bench", *(str(ROOT / "build/bench" / p) for p in programs)],
        cwd=ROOT,
        check=True,
    )


def cpu_seconds() -> float:
    """CPU time of this process so far, all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory_mib(process: int | str = "self", *, peak: bool = False) -> float:
    """Resident memory of a process in MiB, now or at most. (ru_maxrss counts the parent's, too.)"""
    wanted = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(wanted):
            return int(line.split()[1]) / 1024
    raise LookupError(wanted)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and the range that all runs lie in."""
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def load_average() -> str:
    """How busy the machine is with everything, over the last minute."""
    return f"load {os.getloadavg()[0]:.1f}"
