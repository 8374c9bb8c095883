"""Which servers a stack has and on which ports: what was asked for, joined with what a data folder holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, KafkaPipeError
from . import ports as numbers
from .servers import SEARCH, DataNode, KafkaBroker, NameNode, Server
from .state import State

COMPONENTS = ("kafka", "hdfs", "search")
_FIRST = {"kafka": "kafka-1", "hdfs": "namenode", "search": "search"}


def component_of(server: str) -> str:
    """``kafka-2`` and ``kafka-2 controller`` belong to kafka, ``datanode`` to hdfs, ``search`` to search."""
    if server.startswith("kafka-"):
        return "kafka"
    return "search" if server.startswith("search") else "hdfs"


@dataclass(frozen=True)
class Wish:
    """What was asked for: components, size of the Kafka cluster, first ports (0: free ones), search server.

    None is: what the data folder has.
    """

    only: Sequence[str]
    brokers: int | None
    ports: Mapping[str, int]
    secure: bool = False
    search: str | None = None

    def __post_init__(self) -> None:
        if unknown := [name for name in self.only if name not in COMPONENTS]:
            raise ConfigError(f"only: there is no {unknown[0]!r}; choose from {', '.join(COMPONENTS)}")
        if self.brokers not in (None, 1, 3):
            raise ConfigError(f"brokers: 1 or 3, not {self.brokers}")
        if self.secure and self.brokers == 3:
            raise ConfigError("secure: is for one broker, not 3")
        if self.search not in (None, *SEARCH):
            raise ConfigError(f"search: {' or '.join(SEARCH)}, not {self.search!r}")


def make_servers(folder: Path, state: State) -> dict[str, Server]:
    """The servers that the state has ports for, in the order in which they are shown."""
    ports, servers = state.ports, list[Server]()
    if "kafka-1" in ports:
        nodes = range(1, state.brokers + 1)
        servers += [KafkaBroker(node, folder, ports, state.brokers, state.cluster_id) for node in nodes]
    if "namenode" in ports:
        servers += [NameNode("namenode", folder, ports), DataNode("datanode", folder, ports)]
    if "search" in ports:
        servers.append(SEARCH[state.search or "elasticsearch"](folder, ports))
    return {server.name: server for server in servers}


def settle(wish: Wish, state: State) -> None:
    """Put cluster size and ports into ``state``, where only living servers are recorded.

    A component of which a server runs keeps its ports. Raises KafkaPipeError when the wish contradicts what
    is there or a port is taken; nothing was started or written then.
    """
    if "kafka" in wish.only:
        _settle_brokers(wish, state)
    if "search" in wish.only:
        _settle_search(wish, state)
    for component in wish.only:
        if any(component_of(name) == component for name in state.servers):
            _check_same_port(component, wish, state)
        else:
            state.ports.update(_choose(component, wish.ports[component], state))
        idle = {name: port for name, port in state.ports.items() if name.split()[0] not in state.servers}
        mine = {name: port for name, port in idle.items() if component_of(name) == component}
        numbers.check_free(mine, f"{component}_port")


def _settle_brokers(wish: Wish, state: State) -> None:
    if state.brokers and wish.brokers not in (None, state.brokers):
        raise KafkaPipeError(
            f"the Kafka data in {state.file.parent} belong to a cluster of {state.brokers} brokers, not "
            f"{wish.brokers}: remove them with `kafkapipe stack wipe`, or use another data folder",
            op="stack up",
        )
    if state.brokers and wish.secure and not state.secure:
        raise KafkaPipeError(
            f"the Kafka data in {state.file.parent} belong to a cluster without users: remove them with "
            "`kafkapipe stack wipe`, or use another data folder",
            op="stack up",
        )
    state.brokers = state.brokers or wish.brokers or 1
    state.secure = state.secure or wish.secure


def _settle_search(wish: Wish, state: State) -> None:
    has = state.search or ("elasticsearch" if "search" in state.ports else "")
    if has and wish.search not in (None, has):
        raise KafkaPipeError(
            f"the search data in {state.file.parent} are of {has}, not of {wish.search}: remove them with "
            "`kafkapipe stack wipe --only search`, or use another data folder",
            op="stack up",
        )
    state.search = has or wish.search or "elasticsearch"


def _check_same_port(component: str, wish: Wish, state: State) -> None:
    has, wanted = state.ports[_FIRST[component]], wish.ports[component]
    if wanted not in (0, has):
        raise KafkaPipeError(
            f"{component} of {state.file.parent} runs already, on port {has}, not {wanted}: "
            "run `kafkapipe stack down` first, or ask for that port",
            op="stack up",
        )


def _choose(component: str, first: int, state: State) -> numbers.Ports:
    if component == "kafka":
        return numbers.kafka_ports(first, state.brokers, secure=state.secure)
    return numbers.hdfs_ports(first) if component == "hdfs" else numbers.search_ports(first)
