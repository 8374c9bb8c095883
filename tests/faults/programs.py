"""Programs under test: `kafkapipe run` on the debug build, started quickly, killed, stopped and continued.

``Zygote`` is the process that forks them, ``Program`` one life of one of them.
"""

import asyncio
import itertools
import json
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

_ZYGOTE = Path(__file__).with_name("zygote.py")


class Program:
    """One life of `kafkapipe run`."""

    def __init__(self, pid: int, management: str, log: Path) -> None:
        self.pid = pid
        self.url = f"http://{management}"
        self.log = log
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return not self.ended.done()

    @property
    def paused(self) -> bool:
        """Whether it is stopped by SIGSTOP."""
        status = Path(f"/proc/{self.pid}/stat")
        return self.alive and status.read_text().rpartition(")")[2].split()[0] == "T"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.alive:
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL, and its end."""
        self.signal(signal.SIGKILL)
        await self.ended

    async def end(self, seconds: float = 10) -> int:
        """SIGTERM; the exit code, which must come within ``seconds``."""
        self.signal(signal.SIGTERM)
        return await self.wait(seconds)

    async def wait(self, seconds: float, what: str = "ended") -> int:
        """Its exit code, negative for a signal; how it stands when it has not ended in time."""
        done, _ = await asyncio.wait([self.ended], timeout=seconds)
        assert done, f"not {what} within {seconds} s: {await self.state()}"
        return self.ended.result()

    async def state(self) -> str:
        """What it says of itself, for a message."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
            try:
                lines = (await http.get(f"{self.url}/metrics")).text.splitlines()
            except httpx.HTTPError as error:
                lines = [repr(error)]
            numbers = "\n".join(line for line in lines if line.startswith("kafkapipe_pipeline"))
            return f"{await self.problems(http)}\n{numbers}\n{self.tail()}"

    async def lag(self, http: httpx.AsyncClient) -> float:
        """The greatest lag of its pipelines; infinite while one is not known."""
        try:
            text = (await http.get(f"{self.url}/metrics")).text
        except httpx.TransportError:
            return float("inf")
        lines = [line for line in text.splitlines() if line.startswith("kafkapipe_pipeline_lag_records{")]
        running = sum(line.startswith("kafkapipe_pipeline_records_in_total{") for line in text.splitlines())
        known = [float(line.split()[-1]) for line in lines]
        return max(known) if known and len(known) >= running else float("inf")

    async def problems(self, http: httpx.AsyncClient) -> dict[str, str] | None:
        """What `/readyz` says does not work; None when it does not answer."""
        try:
            return dict((await http.get(f"{self.url}/readyz")).json()["problems"])
        except httpx.TransportError:
            return None

    async def caught_up(self, http: httpx.AsyncClient, seconds: float = 300, lag: int = 0) -> None:
        """Wait until no more than ``lag`` records of a pipeline's topics are left to be done."""
        deadline = asyncio.get_running_loop().time() + seconds
        while await self.lag(http) > lag:
            assert self.alive, f"it ended by itself with {self.ended.result()}:\n{self.tail()}"
            late = asyncio.get_running_loop().time() > deadline
            assert not late, f"it did not catch up: {await self.state()}"
            await asyncio.sleep(0.1)

    def tail(self) -> str:
        """The last of what it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:]) if self.log.exists() else ""


class Zygote:
    """The process that starts programs; an async context manager. ``core`` is the debug build's extension."""

    def __init__(self, core: Path, folder: Path) -> None:
        self._core = core
        self._folder = folder
        self._numbers = itertools.count()
        self._process: asyncio.subprocess.Process | None = None
        self._pids: dict[int, asyncio.Future[int]] = {}
        self._programs: dict[int, Program] = {}

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(_ZYGOTE), str(self._core),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process
        assert self._process.stdin
        self._process.stdin.close()
        await self._reading
        await self._process.wait()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        while line := await process.stdout.readline():
            news = json.loads(line)
            if "pid" in news:
                self._pids.pop(news["id"]).set_result(news["pid"])
            else:
                ended = self._programs[news["id"]].ended
                ended.set_result(news["status"])

    async def start(self, config: dict[str, Any], *, fail_point: str = "") -> Program:
        """`kafkapipe run` with this configuration; ``fail_point`` is NAME:N or NAME:N:stop."""
        assert self._process
        assert self._process.stdin
        number = next(self._numbers)
        file = self._folder / f"{number}.yaml"
        log = self._folder / f"{number}.log"
        file.write_text(yaml.safe_dump(config, allow_unicode=True))
        request = {
            "id": number,
            "config": str(file),
            "environment": {"KAFKAPIPE_FAIL_POINT": fail_point},
            "log": str(log),
        }
        waiting = self._pids[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        program = self._programs[number] = Program(0, config["management"]["listen"], log)
        program.pid = await waiting
        return program
