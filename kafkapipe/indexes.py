"""The indexes that a pipeline writes to: whether they are there, and making them with a mapping."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

import httpx

from . import _mapping, _search
from ._mapping import MappedField
from ._template import as_pattern, literals, placeholders
from .config import Config, Elasticsearch, PipelineConfig
from .errors import ConfigError, KafkaPipeError, RejectedError
from .reader import read

TIMEOUT_SECONDS = 30.0
_PRIORITY = 500  # over what servers bring along for logs-*-* and their like


@dataclass(frozen=True)
class Target:
    """What is to be made: an index, or an index template for names that only the records tell."""

    name: str
    """Of the index, or of the template."""
    pattern: str = ""
    """The index names of a template; empty: this is an index."""

    @property
    def path(self) -> str:
        """Where the server has it."""
        return f"/_index_template/{quote(self.name)}" if self.pattern else f"/{quote(self.name)}"

    def __str__(self) -> str:
        return f"index template {self.name} for {self.pattern}" if self.pattern else f"index {self.name}"


@dataclass(frozen=True)
class Made:
    """What became of a target: made, there already, or, of a dry run, nothing."""

    target: Target
    state: str
    """``created``, ``exists`` or ``planned``."""
    body: Mapping[str, Any]
    """What was sent, or would be."""
    differs: tuple[str, ...] = ()
    """Of one that exists: fields with another type there, as ``path: theirs, not ours``."""


@dataclass(frozen=True)
class IndexPlan:
    """The mapping that was found for a pipeline's events."""

    targets: tuple[Target, ...]
    fields: tuple[MappedField, ...]
    sampled: int
    """How many records of the topics it was found by, apart from the routes of the collector."""


def search_pipeline(config: Config, name: str) -> tuple[PipelineConfig, Elasticsearch]:
    """The pipeline of that name and its sink; ConfigError when it is no pipeline into a search server."""
    known = [each for each, pipeline in config.pipelines.items() if isinstance(pipeline.sink, Elasticsearch)]
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "there is none in this file"
        raise ConfigError(f"{name} is no pipeline into Elasticsearch: {there}", op="index create")
    pipeline = config.pipelines[name]
    assert isinstance(pipeline.sink, Elasticsearch)
    return pipeline, pipeline.sink


def targets_of(name: str, pipeline: PipelineConfig, sink: Elasticsearch) -> tuple[Target, ...]:
    """An index for each name that is known before there is a record; else a template for all names."""
    names = set(placeholders(sink.index))
    fixed = not any(topic.startswith("^") for topic in pipeline.topics)
    if not sink.data_stream and names <= {"topic"} and (fixed or not names):
        topics = pipeline.topics if names else pipeline.topics[:1]
        known = (sink.index.replace("{topic}", topic.lower()) for topic in topics)
        return tuple(Target(literals(each)) for each in dict.fromkeys(known))
    pattern = as_pattern(sink.index, pipeline.topics if fixed else [])
    if not pattern.strip("*-_.+"):
        raise ConfigError(
            f"the index {sink.index} may be of any name: give it a part that is the same for all",
            op="index create",
        )
    return (Target(name, pattern),)


async def plan(config: Config, name: str, *, records: int = 500) -> IndexPlan:
    """Find the mapping: by the routes of the collector, and by up to so many latest records of the topics."""
    pipeline, sink = search_pipeline(config, name)
    targets = targets_of(name, pipeline, sink)
    kafka = {**config.kafka, **pipeline.kafka}
    topics = [topic for topic in pipeline.topics if not topic.startswith("^")]
    values = [value for topic in topics for value in await asyncio.to_thread(_latest, topic, records, kafka)]
    seen, objects = _mapping.sample(values)
    routes = [each for each in (config.collector.routes if config.collector else []) if each.topic in topics]
    events = [
        (f"{each.method} {each.path}", each.event) for each in routes if isinstance(each.event, Mapping)
    ]
    fields = _mapping.fields_of(events, seen)
    if sink.data_stream and "@timestamp" not in {each.path for each in fields}:
        time = MappedField("@timestamp", _mapping.DATE, "data stream: the record's time where there is none")
        fields = [time, *fields]
    return IndexPlan(targets, tuple(fields), objects)


def _latest(topic: str, records: int, kafka: Mapping[str, str]) -> list[bytes | None]:
    """The values of a topic's last records, from every partition; none when the topic is not there yet."""
    if not records:
        return []
    try:
        ranges = read(topic, columns=["value"], config=kafka).estimate().partitions
    except RejectedError:
        return []
    share = -(-records // max(1, len(ranges)))
    starts = {each.partition: max(each.start, each.end - share) for each in ranges}
    table = read(topic, columns=["value"], start=starts, config=kafka)
    return [row["value"] for row in table.head(records)]


async def create(
    sink: Elasticsearch,
    plan: IndexPlan,
    *,
    shards: int = 1,
    replicas: int | None = None,
    dry_run: bool = False,
) -> list[Made]:
    """Make what is not there. ``replicas`` by default: one, and none in a cluster of one node.

    Changes nothing that is there. Raises ConfigError, KafkaPipeError.
    """
    async with _search.client(sink, timeout=TIMEOUT_SECONDS) as http:
        ask = _Asker(http, sink.url)
        copies = replicas if replicas is not None else int(await ask.nodes() > 1)
        body = {
            "settings": {"number_of_shards": shards, "number_of_replicas": copies},
            "mappings": _mapping.body_of(plan.fields),
        }
        return [await _make(ask, each, body, sink, dry_run=dry_run) for each in plan.targets]


async def _make(
    ask: "_Asker", target: Target, body: Mapping[str, Any], sink: Elasticsearch, *, dry_run: bool
) -> Made:
    if target.pattern:
        stream: dict[str, Any] = {"data_stream": {}} if sink.data_stream else {}
        body = {"index_patterns": [target.pattern], "priority": _PRIORITY, **stream, "template": body}
    there = await ask.get(target.path)
    if there is not None:
        ours = body.get("template", body)["mappings"]["properties"]
        return Made(target, "exists", body, tuple(_differences(_mappings_in(there), ours)))
    if dry_run:
        return Made(target, "planned", body)
    await ask.put(target.path, body)
    return Made(target, "created", body)


def _mappings_in(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of an index, or of an index template, in the server's answer."""
    if "index_templates" in answer:
        template = answer["index_templates"][0]["index_template"].get("template", {})
        return dict(template.get("mappings", {}).get("properties", {}))
    first: Mapping[str, Any] = next(iter(answer.values()), {})
    return dict(first.get("mappings", {}).get("properties", {}))


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for name, wanted in ours.items():
        has = theirs.get(name, {})
        if "properties" in wanted:
            yield from _differences(has.get("properties", {}), wanted["properties"], f"{prefix}{name}.")
        elif (kind := has.get("type", "object" if "properties" in has else None)) != wanted["type"]:
            yield f"{prefix}{name}: {kind or 'not mapped'}, not {wanted['type']}"


async def by_guess(name: str, pipeline: PipelineConfig, sink: Elasticsearch) -> str:
    """What to tell when the server would make an index by guess; empty when it would not, or does not say."""
    try:
        targets = targets_of(name, pipeline, sink)
        async with _search.client(sink, timeout=5.0) as http:
            ask = _Asker(http, sink.url)
            templates = _templates(await ask.get("/_index_template") or {})
            found = [await _guess(ask, each, templates, sink) for each in targets]
    except KafkaPipeError:
        return ""
    return "; ".join(each for each in found if each)


async def _guess(ask: "_Asker", target: Target, templates: list[dict[str, Any]], sink: Elasticsearch) -> str:
    probe = target.pattern.replace("*", "x") or target.name
    fitting = [each for each in templates if any(fnmatchcase(probe, one) for one in each["index_patterns"])]
    best = max(fitting, key=lambda each: each.get("priority", 0), default={})
    if sink.data_stream and "data_stream" not in best:
        return f"no index template makes {target.pattern} a data stream: it would be a plain index"
    if best.get("composed_of") or best.get("template", {}).get("mappings"):
        return ""
    if not target.pattern and await ask.get(target.path) is not None:
        return ""
    what = f"indexes {target.pattern} have no template" if target.pattern else f"{target} is not there"
    return f"{what}: the server would guess each field's type from the first document that has it"


def _templates(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each["index_template"] for each in answer.get("index_templates", [])]


class _Asker:
    """Asks the first node that answers."""

    def __init__(self, http: httpx.AsyncClient, urls: list[str]) -> None:
        self._http = http
        self._urls = urls

    async def nodes(self) -> int:
        """How many nodes hold data."""
        health = await self.get("/_cluster/health") or {}
        return int(health.get("number_of_data_nodes", 1))

    async def get(self, path: str) -> dict[str, Any] | None:
        """The document there; None when there is none."""
        answer = await self._ask("GET", path)
        return None if answer.status_code == 404 else self._document(answer, path)

    async def put(self, path: str, body: Mapping[str, Any]) -> None:
        """Put a document there."""
        self._document(await self._ask("PUT", path, body), path)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        why = ""
        for url in self._urls:
            try:
                return await self._http.request(method, f"{url}{path}", json=body)
            except httpx.HTTPError as error:
                why = f"{url}: {str(error) or type(error).__name__}"
        raise KafkaPipeError(f"no answer from {why}: start it, or correct url", op="index")

    @staticmethod
    def _document(answer: httpx.Response, path: str) -> dict[str, Any]:
        try:
            document = answer.json()
        except json.JSONDecodeError:
            document = {}
        if answer.is_success and isinstance(document, dict):
            return document
        error = document.get("error", {}) if isinstance(document, dict) else {}
        reason = error.get("reason") if isinstance(error, dict) else error
        code = f"HTTP {answer.status_code}"
        raise KafkaPipeError(f"{path}: {code}: {reason or answer.reason_phrase}", op="index", code=code)
