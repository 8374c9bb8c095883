"""Tries every server and port that a configuration names, and changes nothing: what works, and what to do."""

import asyncio
import os
import re
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from . import _search
from ._files import File, Hdfs
from ._template import literals, placeholders
from .admin import Admin
from .config import Config, DeadLetterConfig, Elasticsearch
from .errors import ConfigError, KafkaPipeError
from .web.server import Server

TIMEOUT_SECONDS = 5.0
"""How long each server may take to answer."""


@dataclass(frozen=True)
class Item:
    """One thing that was tried."""

    name: str
    """What and where, in the words of the configuration."""
    ok: bool
    detail: str
    """What was found."""
    advice: str = ""
    """What to do, when it is not ok."""


_START = "start it (on this machine: kafkapipe stack up --only {}), or correct {}"

_RIGHTS = "set user and password (or api_key, or token), and give that user the rights to write"

Found = tuple[bool, str, str]
"""The rest of an Item."""


async def check(config: Config) -> list[Item]:
    """Try everything side by side; the results in the order of the file."""
    tries: list[Awaitable[list[Item]]] = [_cluster(cluster) for cluster in _clusters(config)]
    for name, pipeline in config.pipelines.items():
        where = f"pipelines.{name}.sink"
        if isinstance(pipeline.sink, Hdfs):
            tries.append(_hdfs(where, pipeline.sink))
        elif isinstance(pipeline.sink, Elasticsearch):
            tries.append(_elasticsearch(where, pipeline.sink))
        elif isinstance(pipeline.sink, File):
            tries.append(asyncio.to_thread(_folder, where, pipeline.sink))
    tries.append(ports(config))
    return [item for items in await asyncio.gather(*tries) for item in items]


# ---- Kafka


@dataclass
class _Cluster:
    """One set of librdkafka properties, and the topics that are used with it."""

    properties: Mapping[str, str]
    topics: dict[str, str] = field(default_factory=dict)
    """By name or pattern; who uses it."""


def _clusters(config: Config) -> Iterable[_Cluster]:
    found: dict[tuple[tuple[str, str], ...], _Cluster] = {}

    def use(kafka: Mapping[str, str], topic: str, where: str) -> None:
        key = tuple(sorted(kafka.items()))
        found.setdefault(key, _Cluster(kafka)).topics.setdefault(topic, where)

    if config.collector:
        for number, route in enumerate(config.collector.routes):
            for topic in sorted(route.topics):
                use(config.kafka, topic, f"collector.routes[{number}].topic")
    for name, pipeline in config.pipelines.items():
        kafka = {**config.kafka, **pipeline.kafka}
        for topic in pipeline.topics:
            use(kafka, topic, f"pipelines.{name}.topics")
        if isinstance(pipeline.dead_letter, DeadLetterConfig):
            use(kafka, pipeline.dead_letter.topic, f"pipelines.{name}.dead_letter.topic")
    return found.values() or [_Cluster(config.kafka)]


async def _cluster(cluster: _Cluster) -> list[Item]:
    servers = cluster.properties["bootstrap.servers"]
    name = f"kafka {servers}"
    try:
        async with Admin(config=cluster.properties) as admin:
            topics = await admin.list_topics(timeout=TIMEOUT_SECONDS)
    except ConfigError:
        raise
    except KafkaPipeError as error:
        return [Item(name, False, error.message, _START.format("kafka", "bootstrap.servers"))]
    there = {topic.name: topic.partitions for topic in topics}
    items = [_topic(topic, where, there) for topic, where in cluster.topics.items()]
    return [Item(name, True, f"answers; {len(there)} topics"), *items]


def _topic(topic: str, where: str, there: Mapping[str, int]) -> Item:
    name = f"{where} {topic}"
    if topic.startswith("^"):
        matching = [each for each in there if re.match(topic, each)]
        return Item(name, True, f"matches {', '.join(matching) or 'no topic yet'}")
    if topic not in there:
        return Item(
            name,
            False,
            "there is no such topic",
            f"create it: kafkapipe topics create {topic} --partitions 3",
        )
    return Item(name, True, f"{there[topic]} partitions")


# ---- HDFS


async def _hdfs(where: str, sink: Hdfs) -> list[Item]:
    https = any(url.startswith("https:") for url in sink.url)
    try:
        verify = _search.certificates(sink.tls) if https else False
    except ConfigError as error:
        return [Item(f"{where}.tls", False, error.message, "correct the file's name, or its content")]
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False, verify=verify) as http:
        found = await asyncio.gather(*(_namenode(http, sink, url) for url in sink.url))
    return [Item(f"{where} {url}", *result) for url, result in zip(sink.url, found, strict=True)]


async def _namenode(http: httpx.AsyncClient, sink: Hdfs, url: str) -> Found:
    try:
        return await _may_write(http, sink, url)
    except httpx.HTTPError as error:
        return False, _unreachable(error), _START.format("hdfs", "url")


async def _may_write(http: httpx.AsyncClient, sink: Hdfs, url: str) -> Found:
    """Whether the user may make files in the folder of the path, or in the nearest one above it."""
    folder = _folder_of(sink.path)
    while True:
        answer = await _webhdfs(http, sink, url, folder, "GETFILESTATUS")
        if answer.status_code != 404 or folder == "/":
            break
        folder = os.path.dirname(folder)
    if answer.is_success and "FileStatus" not in _json(answer):
        return False, "the answer is not WebHDFS's", "is url a NameNode's WebHDFS, or HttpFS?"
    if answer.is_success:
        answer = await _webhdfs(http, sink, url, folder, "CHECKACCESS", fsaction="-wx")
    if answer.is_success:
        return await _datanodes(http, url, f"{sink.user} may write below {folder}")
    remote = _remote(answer)
    if remote.get("exception") == "StandbyException":
        return True, "a standby NameNode", ""
    text = str(remote.get("message", answer.reason_phrase)).partition("\n")[0]
    detail = f"HTTP {answer.status_code} for {folder}: {text}"
    if remote.get("exception") == "AccessControlException":
        return (
            False,
            detail,
            f"give {sink.user} the folder (hdfs dfs -chown {sink.user} {folder}), or choose another one",
        )
    return False, detail, "is url a NameNode's WebHDFS, or HttpFS?"


async def _datanodes(http: httpx.AsyncClient, url: str, found: str) -> Found:
    """A NameNode takes requests in safe mode and without DataNodes, too; writing then fails."""
    answer = await http.get(f"{url}/jmx", params={"qry": "Hadoop:service=NameNode,name=FSNamesystemState"})
    beans: list[dict[str, Any]] = _json(answer).get("beans", [])
    state = beans[0] if beans else {}  # HttpFS has no such page
    if state.get("FSState", "Operational") != "Operational":
        return (
            False,
            "the NameNode is in safe mode",
            "wait until it has left it, or: hdfs dfsadmin -safemode leave",
        )
    if state.get("NumLiveDataNodes", 1) == 0:
        return False, "no DataNode is alive", "start a DataNode; its log says why it does not register"
    return True, found, ""


async def _webhdfs(
    http: httpx.AsyncClient, sink: Hdfs, url: str, path: str, op: str, **more: str
) -> httpx.Response:
    token = sink.delegation
    who = {"delegation": token.get_secret_value()} if token else {"user.name": sink.user}
    return await http.get(f"{url}/webhdfs/v1{quote(path)}", params={"op": op, **who, **more})


def _remote(answer: httpx.Response) -> dict[str, Any]:
    remote = _json(answer).get("RemoteException")
    return remote if isinstance(remote, dict) else {}


def _json(answer: httpx.Response) -> dict[str, Any]:
    """The object in an answer; empty when there is none."""
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


# ---- Elasticsearch


async def _elasticsearch(where: str, sink: Elasticsearch) -> list[Item]:
    try:
        client = _search.client(sink, timeout=TIMEOUT_SECONDS)
    except ConfigError as error:
        return [Item(f"{where}.tls", False, error.message, "correct the file's name, or its content")]
    async with client as http:
        found = await asyncio.gather(*(_node(http, url, sink) for url in sink.url))
    return [Item(f"{where} {url}", *result) for url, result in zip(sink.url, found, strict=True)]


async def _node(http: httpx.AsyncClient, url: str, sink: Elasticsearch) -> Found:
    try:
        answer = await http.get(f"{url}/_cluster/health")
        if answer.status_code in (401, 403):
            return False, f"HTTP {answer.status_code}", _RIGHTS
        status = _json(answer).get("status") if answer.is_success else None
        if not isinstance(status, str):
            detail = f"the answer is not Elasticsearch's (HTTP {answer.status_code})"
            return False, detail, "is url an Elasticsearch or OpenSearch node?"
        if status == "red":
            return (
                False,
                "cluster health is red",
                "some shards have no copy that works: see the cluster's log",
            )
        return await _index(http, url, sink, f"cluster health is {status}")
    except httpx.HTTPError as error:
        return False, _unreachable(error), _START.format("search", "url")


async def _index(http: httpx.AsyncClient, url: str, sink: Elasticsearch, found: str) -> Found:
    if placeholders(sink.index):
        return True, found, ""
    name = literals(sink.index)
    answer = await http.get(
        f"{url}/{quote(name)}/_settings", params={"filter_path": "*.settings.index.blocks"}
    )
    if answer.status_code == 404:
        guessed = "its mapping guessed: `kafkapipe index create` makes it with one"
        return True, f"{found}; index {name} is made with the first document, {guessed}", ""
    if not answer.is_success:
        return False, f"HTTP {answer.status_code} for index {name}", _RIGHTS
    settings = [each["settings"]["index"]["blocks"] for each in _json(answer).values()]
    blocked = [block for blocks in settings for block, on in blocks.items() if on == "true"]
    if blocked:
        setting = f'{{"index.blocks.{blocked[0]}": null}}'
        advice = f"when there is disk space again, unblock it: PUT {name}/_settings {setting}"
        return False, f"index {name} is blocked: {', '.join(blocked)}", advice
    return True, f"{found}; index {name} is there", ""


# ---- this machine


def _folder(where: str, sink: File) -> list[Item]:
    wanted = Path(_folder_of(os.path.abspath(sink.path)))
    there = next(each for each in (wanted, *wanted.parents) if each.exists())
    name = f"{where} {wanted}"
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return [Item(name, True, f"{there} can be written")]
    return [
        Item(name, False, f"{there} cannot be written", "give this user the rights, or choose another path")
    ]


async def ports(config: Config) -> list[Item]:
    """Whether the ports can be had that the collector and the management port are to listen on."""
    listens = {"management.listen": config.management.listen}
    if config.collector:
        listens = {"collector.listen": config.collector.listen, **listens}
    return [await _port(option, listen) for option, listen in listens.items()]


async def _port(option: str, listen: str) -> Item:
    server = Server(_nothing, listen, option=option)
    name = f"{option} {listen}"
    try:
        await server.bind()
    except KafkaPipeError as error:
        reason, _, advice = error.message.removeprefix(f"{option}: ").partition(": ")
        return Item(name, False, reason.removeprefix(f"{listen} "), advice)
    server.stop_accepting()
    return Item(name, True, "is free")


async def _nothing(*_: Any) -> None:
    """An application that never serves."""


def _folder_of(template: str) -> str:
    """The folder of all files: the template up to the last / before its first placeholder."""
    return template.partition("{")[0].rpartition("/")[0] or "/"


def _unreachable(error: httpx.HTTPError) -> str:
    return "no answer: " + (str(error) or type(error).__name__)
