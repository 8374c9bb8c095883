"""Which port each server listens on: fixed by its first one, or free ones."""

import errno
import random
import socket

from ..errors import ConfigError, KafkaPipeError

# Under the range that systems take the local ends of outgoing connections from, so that a port found free
# still is when a JVM comes round to binding it.
_FREE = range(20_000, 32_000)

Ports = dict[str, int]


def kafka_ports(first: int, brokers: int, *, secure: bool = False) -> Ports:
    """Broker and controller: FIRST and FIRST+1 for the first, each further pair 10 above; 0: free ones.

    When ``secure``, each has a listener for users at FIRST+2.
    """
    ports = {}
    for index in range(brokers):
        name = f"kafka-{index + 1}"
        ports[name] = first and first + 10 * index
        ports[f"{name} controller"] = first and first + 10 * index + 1
        if secure:
            ports[f"{name} sasl"] = first and first + 10 * index + 2
    return _settle("kafka_port", ports)


def hdfs_ports(first: int) -> Ports:
    """FIRST is WebHDFS; the others stand to it as Hadoop's defaults do to 9870; 0: free ones."""
    offsets = {"namenode": 0, "namenode rpc": -50, "datanode": -6, "datanode data": -4, "datanode ipc": -3}
    return _settle("hdfs_port", {name: first and first + offset for name, offset in offsets.items()})


def search_ports(first: int) -> Ports:
    """FIRST is HTTP, the node's transport is 100 above; 0: free ones."""
    return _settle("search_port", {"search": first, "search transport": first and first + 100})


def _settle(option: str, ports: Ports) -> Ports:
    if not any(ports.values()):
        return dict(zip(ports, _free_ports(len(ports)), strict=True))
    wrong = [port for port in ports.values() if not 0 < port < 65536]
    if wrong:
        raise ConfigError(f"{option}: a server of it would have to listen on port {wrong[0]}; choose another")
    return ports


def _free_ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        port = random.choice(_FREE)
        if _is_free(port):
            found.add(port)
    return sorted(found)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def check_free(ports: Ports, option: str) -> None:
    """Raise KafkaPipeError naming the port, who wanted it, and the option that moves it."""
    for name, port in ports.items():
        if not _is_free(port):
            flag = "--" + option.replace("_", "-")
            raise KafkaPipeError(
                f"port {port} is taken and {name} wants it: stop what listens there, or move the server with "
                f"{flag} (in Python: Stack({option}=...))",
                op="stack up",
                code="EADDRINUSE",
            )
