"""The servers of the stack: for each its jars, its configuration, its command line and when it is ready.

A server is told its folder and the ports of the whole stack, and knows nothing of processes: the Runner
starts and ends them. Another server is one more class here.
"""

import asyncio
import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from xml.sax.saxutils import escape

import httpx

from .artifacts import ELASTICSEARCH, HDFS, KAFKA, OPENSEARCH, JarSet
from .launch import Launch
from .ports import Ports
from .sasl import HOST, Sasl

_OPENED = ("java.base/java.lang", "java.base/java.nio", "java.base/sun.nio.ch")
HADOOP_OPTIONS = (
    "--enable-native-access=ALL-UNNAMED",
    *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED),
)
_KAFKA_LOG = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
)


class Server(ABC):
    """One server process: its files live in ``home``, its ports are in ``ports`` under its name."""

    jars: ClassVar[JarSet]
    scheme: ClassVar[str] = ""

    def __init__(self, name: str, home: Path, ports: Ports) -> None:
        self.name = name
        self.home = home
        self.ports = ports

    @property
    def archive(self) -> str:
        """Name of the class archive: servers that run the same program share one."""
        return self.name

    @property
    def address(self) -> str:
        """Host and port where clients reach it."""
        return f"{HOST}:{self.ports[self.name]}"

    @property
    def url(self) -> str:
        """The address as users write it."""
        return self.scheme + self.address

    @property
    def dump(self) -> Path:
        """Where it writes its class archive when it ends."""
        return self.home / "classes.jsa"

    @property
    def log(self) -> Path:
        """Its output since its last start."""
        return self.home.parent / "logs" / f"{self.name}.log"

    @abstractmethod
    def configure(self) -> None:
        """Write the configuration files, anew at each start."""

    def format(self) -> Sequence[Launch]:
        """The programs that prepare new data folders, one after the other; none when they are prepared."""
        return ()

    @abstractmethod
    def launch(self, jars: Path) -> Launch:
        """The server itself; ``jars`` is the folder of its jar set."""

    @abstractmethod
    async def ready(self, http: httpx.AsyncClient) -> bool:
        """Ask once whether it serves clients now. May raise what a failing connection raises."""


class KafkaBroker(Server):
    """A KRaft node that is broker and controller at once.

    With a port for SASL it has a second listener, and an authorizer: see Sasl.
    """

    jars = KAFKA

    def __init__(self, node: int, folder: Path, ports: Ports, brokers: int, cluster_id: str) -> None:
        super().__init__(f"kafka-{node}", folder / f"kafka-{node}", ports)
        self._node = node
        self._brokers = brokers
        self._cluster_id = cluster_id
        sasl_port = ports.get(f"{self.name} sasl")
        self.sasl = Sasl(self.home / "tls", sasl_port) if sasl_port else None

    @property
    def archive(self) -> str:
        return self.jars.name

    @property
    def _file(self) -> Path:
        return self.home / "server.properties"

    def configure(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        lines = (f"{name}={_escape(str(value))}\n" for name, value in self._properties().items())
        self._file.write_text("".join(lines))

    def _properties(self) -> dict[str, object]:
        controller = self.ports[f"{self.name} controller"]
        voters = (f"{n}@{HOST}:{self.ports[f'kafka-{n} controller']}" for n in range(1, self._brokers + 1))
        secure = self.sasl.properties() if self.sasl else {}
        more = f",SASL_SSL://{self.sasl.address}" if self.sasl else ""
        return {
            "process.roles": "broker,controller",
            "node.id": self._node,
            "controller.quorum.voters": ",".join(voters),
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{HOST}:{controller}{more}",
            "advertised.listeners": f"PLAINTEXT://{self.address}{more}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
            "log.dirs": self.home / "data",
            **self._replication(),
            **_SMALL_MACHINE,
            **secure,
        }

    def _replication(self) -> dict[str, object]:
        copies, in_sync = (3, 2) if self._brokers >= 3 else (1, 1)
        return {
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": in_sync,
        }

    def format(self) -> Sequence[Launch]:
        if (self.home / "data" / "meta.properties").exists():
            return ()
        args = ["format", "-t", self._cluster_id, "-c", str(self._file)]
        if not self.sasl:
            return (Launch("kafka.tools.StorageTool", args, _KAFKA_LOG),)
        tool = Launch("kafka.tools.StorageTool", [*args, *self.sasl.scram()], _KAFKA_LOG)
        return (*self.sasl.make_certificate(), tool)

    def launch(self, jars: Path) -> Launch:
        return Launch("kafka.Kafka", (str(self._file),), _KAFKA_LOG, heap_mb=192)

    async def ready(self, http: httpx.AsyncClient) -> bool:
        """Kafka binds its port long before it serves: the log must say so, and a request be answered."""
        if "Kafka Server started" not in self.log.read_text(errors="replace"):
            return False
        return await _answers_api_versions(self.ports[self.name])


def _escape(value: str) -> str:
    r"""As a Java properties file wants it: backslashes doubled, all beyond ASCII as \uXXXX (UTF-16)."""
    units = (unit for (unit,) in struct.iter_unpack(">H", value.replace("\\", "\\\\").encode("utf-16-be")))
    return "".join(chr(unit) if 32 <= unit < 127 else f"\\u{unit:04x}" for unit in units)


# Kafka's defaults are for a server of its own.
_SMALL_MACHINE: dict[str, object] = {
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.num.partitions": 4,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "initial.broker.registration.timeout.ms": 300_000,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "log.cleaner.dedupe.buffer.size": 8 << 20,
}


async def _answers_api_versions(port: int) -> bool:
    """Send Kafka's ApiVersions request (key 18, version 0) and read the error code of the answer."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        body = struct.pack(">hhih", 18, 0, 1, -1)
        writer.write(struct.pack(">i", len(body)) + body)
        _, correlation, error = struct.unpack(">iih", await reader.readexactly(10))
    except asyncio.IncompleteReadError:
        return False
    finally:
        writer.close()
    return bool(correlation == 1 and error == 0)


class _Hadoop(Server):
    """What NameNode and DataNode share: one configuration file, given to both."""

    jars = HDFS
    scheme = "http://"
    main: ClassVar[str]

    def __init__(self, name: str, folder: Path, ports: Ports) -> None:
        super().__init__(name, folder / name, ports)

    @property
    def file(self) -> Path:
        return self.home / "hdfs.xml"

    def configure(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        rows = (
            f"  <property><name>{name}</name><value>{escape(str(value))}</value></property>\n"
            for name, value in self._properties().items()
        )
        self.file.write_text(f"<configuration>\n{''.join(rows)}</configuration>\n")

    def _properties(self) -> dict[str, object]:
        at = {name: f"{HOST}:{port}" for name, port in self.ports.items()}
        folder = self.home.parent
        return {
            "fs.defaultFS": f"hdfs://{at['namenode rpc']}",
            "hadoop.tmp.dir": self.home / "tmp",
            "hadoop.http.staticuser.user": "hdfs",
            "dfs.replication": 1,
            "dfs.namenode.name.dir": folder / "namenode" / "data",
            "dfs.namenode.rpc-address": at["namenode rpc"],
            "dfs.namenode.http-address": at["namenode"],
            "dfs.namenode.safemode.extension": 0,
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            "dfs.datanode.data.dir": folder / "datanode" / "data",
            "dfs.datanode.hostname": HOST,
            "dfs.datanode.address": at["datanode data"],
            "dfs.datanode.http.address": at["datanode"],
            "dfs.datanode.ipc.address": at["datanode ipc"],
            "dfs.heartbeat.interval": 1,
        }

    def launch(self, jars: Path) -> Launch:
        return self._program()

    def _program(self, *args: str) -> Launch:
        options = (*HADOOP_OPTIONS, f"-Dhadoop.log.dir={self.home}")
        return Launch(self.main, ("-conf", str(self.file), *args), options, env={"HADOOP_USER_NAME": "hdfs"})


class NameNode(_Hadoop):
    """HDFS's directory of files. Its address is that of WebHDFS."""

    main = "org.apache.hadoop.hdfs.server.namenode.NameNode"

    def format(self) -> Sequence[Launch]:
        if (self.home / "data" / "current" / "VERSION").exists():
            return ()
        return (self._program("-format", "-nonInteractive", "-force", "-clusterId", "kafkapipe"),)

    async def ready(self, http: httpx.AsyncClient) -> bool:
        """It answers. Whether files can be written is known once a DataNode is there too: see DataNode."""
        return await _name_node_state(http, self.ports) is not None


class DataNode(_Hadoop):
    """HDFS's keeper of blocks."""

    main = "org.apache.hadoop.hdfs.server.datanode.DataNode"

    async def ready(self, http: httpx.AsyncClient) -> bool:
        """Registered by its own word, and by the NameNode's HDFS is out of safe mode and has storage."""
        query = {"qry": "Hadoop:service=DataNode,name=DataNodeInfo"}
        answer = await http.get(f"{self.url}/jmx", params=query)
        beans = answer.raise_for_status().json()["beans"]
        if not beans or '"ActorState":"RUNNING"' not in beans[0]["BPServiceActorInfo"]:
            return False
        state = await _name_node_state(http, self.ports)
        return bool(
            state
            and state["FSState"] == "Operational"
            and state["NumLiveDataNodes"]
            and state["CapacityTotal"]
        )


async def _name_node_state(http: httpx.AsyncClient, ports: Ports) -> dict[str, Any] | None:
    """The NameNode's own account of the file system; None while it has none yet."""
    query = {"qry": "Hadoop:service=NameNode,name=FSNamesystemState"}
    answer = await http.get(f"http://{HOST}:{ports['namenode']}/jmx", params=query)
    beans: list[dict[str, Any]] = answer.raise_for_status().json()["beans"]
    return beans[0] if beans else None


class _SearchNode(Server):
    """What Elasticsearch and OpenSearch share: one node, without security."""

    scheme = "http://"
    main: ClassVar[str]
    options: ClassVar[Sequence[str]] = ("-Xms128m",)

    def __init__(self, folder: Path, ports: Ports) -> None:
        super().__init__("search", folder / "search", ports)

    def configure(self) -> None:
        (self.home / "config").mkdir(parents=True, exist_ok=True)

    def root(self, jars: Path) -> Path:
        """The folder that has ``config`` and, where there are any, ``modules``."""
        return self.home

    def launch(self, jars: Path) -> Launch:
        settings = {
            "path.home": self.root(jars),
            "path.data": self.home / "data",
            "path.logs": self.home / "logs",
            "node.name": "search",
            "node.processors": 2,
            "cluster.name": "kafkapipe",
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            "discovery.type": "single-node",
            "network.host": HOST,
            "http.port": self.ports["search"],
            "transport.port": self.ports["search transport"],
            "logger.level": "info",
        }
        args = [f"{name}={value}" for name, value in settings.items()]
        return Launch(self.main, args, self.options, heap_mb=512)

    async def ready(self, http: httpx.AsyncClient) -> bool:
        query = {"wait_for_status": "yellow", "timeout": "1s"}
        answer = await http.get(f"{self.url}/_cluster/health", params=query)
        return answer.is_success and not answer.json()["timed_out"]


class Elasticsearch(_SearchNode):
    """One node of Elasticsearch."""

    jars = ELASTICSEARCH
    main = "EsNode"
    options = ("-Xms128m", "--enable-native-access=ALL-UNNAMED")

    def root(self, jars: Path) -> Path:
        """Its transport is a module, which it looks for in its home."""
        return jars


class OpenSearch(_SearchNode):
    """One node of OpenSearch."""

    jars = OPENSEARCH
    main = "OsNode"


SEARCH: dict[str, type[Elasticsearch | OpenSearch]] = {
    "elasticsearch": Elasticsearch,
    "opensearch": OpenSearch,
}
