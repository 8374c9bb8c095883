"""Starting and ending servers: from a Server's description to a process that answers, and back."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ..errors import KafkaPipeError
from .artifacts import Jars, JarSet, Report, Step, classpath
from .java import FLAGS, Archives, Java, adopt_archive, environment, find_java
from .launch import Launch
from .process import Child, spawn
from .servers import Server
from .state import Record, State

POLL_S = 0.1
PROBE_S = 5.0
END_S = 60.0
_BLAMED = re.compile(r"^Caused by: |\b\w*(Exception|Error)\b|\b(ERROR|FATAL)\b")


@dataclass(frozen=True)
class ToolResult:
    """What a Java program left. Kafka's console producer exits 0 even when it could not write."""

    returncode: int
    stdout: str
    stderr: str


class Runner:
    """Runs the servers of one data folder and keeps its state file true."""

    def __init__(self, home: Path, folder: Path, report: Report, start_timeout_s: float) -> None:
        self.state = State.load(folder)
        self._home = home
        self._folder = folder
        self._report = report
        self._timeout_s = start_timeout_s
        self._jars = Jars(home, report)
        self._java: Java | None = None

    def reload(self) -> None:
        """Read the state again: another program may have changed it."""
        self.state = State.load(self._folder)

    def child(self, name: str) -> Child | None:
        """The process of a server, when it runs."""
        record = self.state.servers.get(name)
        return record.child if record and record.child.alive else None

    async def prepare(self, sets: Iterable[JarSet]) -> None:
        """Java, jars and the JVM's base archive: all that comes before the first start."""
        self._java = await find_java()
        await self._jars.resolve(sets, self._java)
        await self._archives().prepare()

    async def format(self, server: Server) -> None:
        """Write a server's configuration and, when they are new, prepare its data folders."""
        server.configure()
        launches = server.format()
        if launches:
            self._report(Step(server.name, "preparing its data folder"))
        for launch in launches:
            await self._prepare_data(server, launch)

    async def _prepare_data(self, server: Server, launch: Launch) -> None:
        argv = self._command(launch, server, self._archives().options(self._archive(server)))
        try:
            result = await run(argv, environment(launch.env), None, self._timeout_s)
            why = cause(result.stdout + result.stderr) if result.returncode else ""
        except TimeoutError:
            why = f"not done after {self._timeout_s:.0f} s"
        if why:
            raise KafkaPipeError(f"{server.name}: its data folder cannot be prepared: {why}", op="stack up")

    def launch(self, server: Server) -> Child:
        """Start the process and remember it at once."""
        launch = server.launch(self._jars.folder(server.jars))
        archive = self._archive(server)
        options = self._archives().options(archive, self._dump(server, archive))
        child = spawn(self._command(launch, server, options), environment(launch.env), server.log)
        self.state.servers[server.name] = Record(child.pid, child.born, str(archive))
        self.state.save()
        self._report(Step(server.name, "starting"))
        return child

    def _dump(self, server: Server, archive: Path) -> Path | None:
        """Where this server writes its class archive, unless another one already makes the same."""
        server.dump.unlink(missing_ok=True)
        others = (record for name, record in self.state.servers.items() if name != server.name)
        claimed = any(record.archive == str(archive) for record in others)
        return None if claimed else server.dump

    def _command(self, launch: Launch, server: Server, options: Sequence[str]) -> list[str]:
        shared = [*options, f"-Xmx{launch.heap_mb}m", f"-XX:ErrorFile={server.home / 'hs_err.log'}"]
        return self._java_command(server.jars, [*shared, *launch.options], launch.main, launch.args)

    def _java_command(
        self, jars: JarSet, options: Sequence[str], main: str, args: Sequence[str]
    ) -> list[str]:
        assert self._java is not None
        return [self._java.exe, *FLAGS, *options, "-cp", classpath(self._jars.folder(jars)), main, *args]

    def _archives(self) -> Archives:
        assert self._java is not None
        return Archives(self._home / "archives", self._java)

    def _archive(self, server: Server) -> Path:
        return self._archives().path(self._jars.folder(server.jars), server.archive)

    async def tool(self, jars: JarSet, launch: Launch, stdin: bytes | None, timeout_s: float) -> ToolResult:
        """Run a program of a jar set to its end."""
        self._java = self._java or await find_java()
        archive = self._archives().path(self._jars.folder(jars), jars.name)
        options = [*self._archives().options(archive), f"-Xmx{launch.heap_mb}m", *launch.options]
        argv = self._java_command(jars, options, launch.main, launch.args)
        return await run(argv, environment(launch.env), stdin, timeout_s)

    async def wait_ready(self, server: Server) -> None:
        """Return when the server serves; raise with the likely cause when it ends or takes too long."""
        async with _client() as http:
            if await _within(self._timeout_s, lambda: self._check(server, http)):
                return
        raise self._failure(server, f"does not answer after {self._timeout_s:.0f} s")

    async def _check(self, server: Server, http: httpx.AsyncClient) -> bool:
        if not self.child(server.name):
            raise self._failure(server, "ended while starting")
        return await _probe(server, http)

    def _failure(self, server: Server, what: str) -> KafkaPipeError:
        why = cause(server.log.read_text(errors="replace"))
        return KafkaPipeError(f"{server.name} {what}: {why} (log: {server.log})", op="stack up")

    async def serves(self, server: Server, within_s: float = 0.0) -> bool:
        """Whether a server answers now, or does so within some seconds."""
        async with _client() as http:
            return await _within(within_s, lambda: _probe(server, http))

    async def end(self, names: Iterable[str], grace_s: float = END_S) -> None:
        """End servers together: asked first, killed after ``grace_s`` seconds; their records go."""
        await asyncio.gather(*(self._end(name, grace_s) for name in dict.fromkeys(names)))

    async def _end(self, name: str, grace_s: float) -> None:
        record = self.state.servers.get(name)
        if not record:
            return
        if record.child.alive:
            self._report(Step(name, "stopping"))
            if await record.child.end(grace_s):
                adopt_archive(self._folder / name / "classes.jsa", Path(record.archive))
            self._report(Step(name, "stopped", done=True))
        del self.state.servers[name]
        self.state.save()


async def together(tasks: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run them side by side. When one fails the others are cancelled, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _client() -> httpx.AsyncClient:
    # Loading certificates takes longer than an answer of a server; all of this is plain HTTP on loopback.
    return httpx.AsyncClient(trust_env=False, verify=False, timeout=PROBE_S)


async def _probe(server: Server, http: httpx.AsyncClient) -> bool:
    try:
        return await asyncio.wait_for(server.ready(http), PROBE_S)
    except (httpx.HTTPError, OSError, TimeoutError, ValueError, KeyError):
        return False


async def _within(timeout_s: float, check: Callable[[], Awaitable[bool]]) -> bool:
    """Ask again and again until the answer is yes or the time is up; at least once."""
    deadline = time.monotonic() + timeout_s
    while not await check():
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


async def run(argv: Sequence[str], env: dict[str, str], stdin: bytes | None, timeout_s: float) -> ToolResult:
    """Run a program to its end; after ``timeout_s`` seconds kill it and raise TimeoutError."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env)
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin or b""), timeout_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return ToolResult(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


def cause(log: str) -> str:
    """The line of a log that most likely says why, cut to fit a message."""
    told = [line.strip() for line in log.splitlines() if line.strip()]
    blamed = [line for line in told if _BLAMED.search(line) and not line.startswith("at ")]
    return (blamed or told or ["its log is empty"])[-1][:300]
