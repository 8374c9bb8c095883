"""Stack: Kafka, HDFS and Elasticsearch or OpenSearch on this machine: development, tests and the demo."""

import asyncio
import shutil
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import ConfigError, KafkaPipeError
from .artifacts import HDFS, KAFKA, Report, Step, home_folder, locked
from .launch import Launch
from .layout import COMPONENTS, Wish, component_of, make_servers, settle
from .process import Child, Watchdog
from .runner import END_S, PROBE_S, Runner, ToolResult, together
from .sasl import SCRAM, Sasl
from .servers import HADOOP_OPTIONS, SEARCH, KafkaBroker, Server
from .state import State
from .world import make_world

SIGNAL_S = 10.0
_SETS = {"kafka": KAFKA, "hdfs": HDFS, **{name: server.jars for name, server in SEARCH.items()}}


@dataclass(frozen=True)
class ProcessInfo:
    """One server as it stands: ``state`` is ready, not ready, paused or stopped; ``memory`` is in bytes."""

    name: str
    state: str
    pid: int | None
    address: str
    memory: int


def _silent(step: Step) -> None:
    """The default report: nobody is told."""


def _check_folders(home: Path, data_dir: Path) -> None:
    """Refuse names that the servers take for something else: lists, format strings, two entries of a path."""
    if set(",%") & set(str(data_dir)):
        raise ConfigError(f"data_dir: the servers cannot use a folder with , or % in its name: {data_dir}")
    if ":" in str(home):
        raise ConfigError(f"KAFKAPIPE_HOME: Java cannot use a folder with a colon in its name: {home}")


class Stack:
    """Real servers as child processes on loopback, from jars that are fetched once.

    As a context manager it starts servers and ends them at exit, also when this program is killed; servers
    that it found running are used and left running. `up` by itself leaves them running until `down`.

    ``only``: which of kafka, hdfs and search. ``brokers``: 1 or 3; by default what the data folder was made
    with, else 1. With 3, topics get 3 replicas of which 2 must be in sync. A port of 0 takes free ones.
    ``search`` is elasticsearch or opensearch; by default what the data folder has, else Elasticsearch.
    ``secure`` gives Kafka a second listener with TLS and users, for whom access rules hold: `sasl_config`.
    ``data_dir`` keeps the data over `down`; by default ``stack`` in KAFKAPIPE_HOME. ``start_timeout`` is in
    seconds, for each server. ``report`` is told each Step.

    Raises ConfigError for wrong arguments, KafkaPipeError when a port is taken, jars cannot be fetched or a
    server does not start.

        async with Stack(only=["kafka"], kafka_port=0) as stack:
            print(stack.bootstrap)
    """

    def __init__(
        self,
        *,
        only: Iterable[str] = COMPONENTS,
        brokers: int | None = None,
        secure: bool = False,
        search: str | None = None,
        kafka_port: int = 9092,
        hdfs_port: int = 9870,
        search_port: int = 9200,
        data_dir: Path | str | None = None,
        start_timeout: float = 300.0,
        report: Report = _silent,
    ) -> None:
        ports = {"kafka": kafka_port, "hdfs": hdfs_port, "search": search_port}
        self._wish = Wish(tuple(dict.fromkeys(only)), brokers, ports, secure, search)
        self.home = home_folder()
        self.data_dir = Path(data_dir).expanduser().absolute() if data_dir else self.home / "stack"
        _check_folders(self.home, self.data_dir)
        self._report = report
        self._runner = Runner(self.home, self.data_dir, report, start_timeout)
        self._servers = make_servers(self.data_dir, self._state)
        self._watchdog: Watchdog | None = None
        self._started: dict[str, Child] = {}

    def _locked(self) -> AbstractAsyncContextManager[None]:
        return locked(self.data_dir / "lock", self._report)

    @property
    def _state(self) -> State:
        return self._runner.state

    async def __aenter__(self) -> Self:
        self._watchdog = Watchdog()
        try:
            await self.up()
        except BaseException:
            await self._watchdog.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._watchdog is not None
        async with self._locked():
            self._runner.reload()
            await self._end_started()
        await self._watchdog.close()

    async def _end_started(self, grace_s: float = END_S) -> None:
        """End what this object started, unless another program has put a server of its own in the place."""
        records = self._state.servers
        mine = [
            name for name, child in self._started.items() if name in records and records[name].child == child
        ]
        await self._runner.end(mine, grace_s)

    @property
    def bootstrap(self) -> str:
        """``bootstrap.servers`` of the Kafka cluster."""
        self._server("kafka-1")
        return ",".join(server.address for server in self._servers.values() if server.jars is KAFKA)

    @property
    def sasl_bootstrap(self) -> str:
        """``bootstrap.servers`` of the listener for users."""
        return self._sasl.address

    def sasl_config(self, user: str, mechanism: str = SCRAM) -> dict[str, str]:
        """librdkafka's properties for a client that is ``user``: admin, who may do everything, or alice.

        ``mechanism`` may be PLAIN, too: librdkafka before 2.6.1 cannot log in to Kafka 4 with SCRAM.
        """
        return self._sasl.client(user, mechanism)

    @property
    def _sasl(self) -> Sasl:
        server = self._server("kafka-1")
        if not isinstance(server, KafkaBroker) or not server.sasl:
            raise KafkaPipeError(
                "this stack's Kafka has no users: make it with Stack(secure=True)", op="stack"
            )
        return server.sasl

    @property
    def webhdfs_url(self) -> str:
        """Where WebHDFS answers: ``http://127.0.0.1:9870``."""
        return self._server("namenode").url

    @property
    def search_url(self) -> str:
        """Where Elasticsearch or OpenSearch answers: ``http://127.0.0.1:9200``."""
        return self._server("search").url

    def _server(self, name: str) -> Server:
        if name not in self._servers:
            have = ", ".join(self._servers) or "none: it is not up"
            raise KafkaPipeError(f"this stack has no server {name!r} (it has {have})", op="stack")
        return self._servers[name]

    def _mine(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if component_of(name) in self._wish.only]

    async def up(self) -> list[str]:
        """Start what does not run yet; return when each server really answers, the names of those started.

        When one fails, those started before it are ended again. Servers that a killed program left behind are
        used if they answer, and ended if not.
        """
        self._started = {}
        async with self._locked():
            self._runner.reload()
            self._servers = make_servers(self.data_dir, self._state)
            await self._end_unwell(self._mine(self._state.servers))
            settle(self._wish, self._state)
            self._servers = make_servers(self.data_dir, self._state)
            names = [name for name in self._mine(self._servers) if not self._runner.child(name)]
            if names:
                await self._start_all([self._servers[name] for name in names])
        return list(self._started)

    async def _end_unwell(self, names: Sequence[str]) -> None:
        well = await asyncio.gather(*(self._is_well(name) for name in names))
        await self._runner.end(name for name, is_well in zip(names, well, strict=True) if not is_well)

    async def _is_well(self, name: str) -> bool:
        if not self._runner.child(name):
            return False
        return await self._runner.serves(self._servers[name], within_s=PROBE_S)

    async def _start_all(self, servers: Sequence[Server]) -> None:
        await self._runner.prepare(server.jars for server in servers)
        self._state.save()
        groups = [[s for s in servers if component_of(s.name) == component] for component in self._wish.only]
        try:
            await together(self._start(group) for group in groups if group)
        except BaseException:
            await self._end_started(grace_s=PROBE_S)
            raise

    async def _start(self, servers: Sequence[Server]) -> None:
        """Start servers of one component together, and wait until they serve."""
        start = time.monotonic()
        await together(self._runner.format(server) for server in servers)
        for server in servers:
            self._launch(server)
        await together(self._runner.wait_ready(server) for server in servers)
        if component_of(servers[0].name) == "hdfs":
            await make_world(self.webhdfs_url)
        for server in servers:
            seconds = time.monotonic() - start
            self._report(Step(server.name, f"ready on {server.url} after {seconds:.1f} s", done=True))

    def _launch(self, server: Server) -> None:
        child = self._runner.launch(server)
        self._started[server.name] = child
        if self._watchdog:
            self._watchdog.watch(child)

    async def down(self) -> list[str]:
        """End the servers that run on this data folder, and nothing else: the names of those ended."""
        async with self._locked():
            self._runner.reload()
            names = self._mine(self._state.servers)
            running = [name for name in names if self._runner.child(name)]
            await self._runner.end(names)
        return running

    async def wipe(self, *, jars: bool = False) -> None:
        """`down`, then remove the data; with ``jars`` also what was fetched or made for all data folders."""
        await self.down()
        async with self._locked():
            self._forget(self._mine(self._state.ports))
        if jars:
            for folder in ("jars", "archives"):
                shutil.rmtree(self.home / folder, ignore_errors=True)

    def _forget(self, names: Iterable[str]) -> None:
        state = self._state
        for name in names:
            del state.ports[name]
            shutil.rmtree(self.data_dir / name, ignore_errors=True)
        if "kafka-1" not in state.ports:
            state.brokers, state.secure = 0, False
        if "search" not in state.ports:
            state.search = ""
        if state.ports:
            state.save()
        else:
            shutil.rmtree(self.data_dir / "logs", ignore_errors=True)
            state.file.unlink(missing_ok=True)
        self._servers = make_servers(self.data_dir, state)

    async def processes(self) -> list[ProcessInfo]:
        """The servers of this data folder as they are now."""
        self._runner.reload()
        self._servers = make_servers(self.data_dir, self._state)
        mine = [self._servers[name] for name in self._mine(self._servers)]
        return list(await asyncio.gather(*(self._info(server) for server in mine)))

    async def _info(self, server: Server) -> ProcessInfo:
        child = self._runner.child(server.name)
        if not child:
            return ProcessInfo(server.name, "stopped", None, server.url, 0)
        state = "paused" if child.paused else "ready" if await self._runner.serves(server) else "not ready"
        return ProcessInfo(server.name, state, child.pid, server.url, child.memory)

    async def kill(self, name: str) -> None:
        """SIGKILL a server and wait for its end."""
        self._server(name)
        if child := self._runner.child(name):
            await child.kill()

    async def start_server(self, name: str) -> None:
        """Start a server again after `kill`, on its ports and data; return when all its component serves."""
        server = self._server(name)
        async with self._locked():
            self._runner.reload()
            if self._runner.child(name):
                return
            await self._runner.prepare([server.jars])
            self._launch(server)
        mates = [mate for mate in self._servers.values() if component_of(mate.name) == component_of(name)]
        awake = [mate for mate in mates if (child := self._runner.child(mate.name)) and not child.paused]
        await together(self._runner.wait_ready(mate) for mate in awake)

    async def pause(self, name: str) -> None:
        """SIGSTOP: the server keeps its connections and answers nothing."""
        await self._signal(name, signal.SIGSTOP, paused=True)

    async def resume(self, name: str) -> None:
        """SIGCONT: the server goes on."""
        await self._signal(name, signal.SIGCONT, paused=False)

    async def _signal(self, name: str, number: signal.Signals, *, paused: bool) -> None:
        """Send it, and return when it has been obeyed: that takes a moment for all threads of a JVM."""
        self._server(name)
        if child := self._runner.child(name):
            child.signal(number)
            await child.until(lambda: child.paused is paused, SIGNAL_S)

    async def run_java_tool(
        self, component: str, main: str, *args: str, stdin: bytes | None = None, timeout_s: float = 180.0
    ) -> ToolResult:
        """Run a main class of a component's jars to its end: Kafka's console producer, Hadoop's DFSAdmin.

        ``component`` is kafka, hdfs, elasticsearch or opensearch.
        Hadoop's tools are pointed at this stack's HDFS, as its superuser. Raises TimeoutError.
        """
        quiet = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",)
        launch = Launch(main, args, quiet, heap_mb=128)
        if component == "hdfs":
            site = str(self._server("namenode").home / "hdfs.xml")
            launch = Launch(main, ("-conf", site, *args), HADOOP_OPTIONS, 128, {"HADOOP_USER_NAME": "hdfs"})
        return await self._runner.tool(_SETS[component], launch, stdin, timeout_s)
