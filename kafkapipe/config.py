"""The configuration: every option's name, type, default, range and description stand here, and only here.

The messages of ``kafkapipe check``, the JSON Schema for editors, ``docs/options.md`` and the document
that the C core reads are made from these models. Sizes are bytes and durations milliseconds once loaded;
in a file they are text like ``128MiB`` and ``30s``. In any value, ``${NAME}`` is an environment variable
and ``${file:PATH}`` a file's content.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    field_validator,
    model_validator,
)

from . import _fields, _yaml
from ._collecting import CollectorConfig
from ._files import File, Hdfs
from ._problems import validate
from ._properties import DEFAULT_BOOTSTRAP
from ._section import Section
from ._template import (
    COORDINATES,
    check_id,
    check_index,
    check_routing,
    key_template,
    lacks_default,
)
from ._tls import TlsConfig, secret
from ._units import SECOND, Bytes, Duration, Listen, MiB, Urls

__all__ = ["File", "Hdfs", "TlsConfig"]  # from here as well; what is defined below needs no list


class ManagementConfig(Section):
    """The HTTP server for operators: health, metrics, REST."""

    listen: Listen = "127.0.0.1:8083"
    """Address and port of /healthz, /readyz, /metrics and the REST API."""


class FlushConfig(Section):
    """When a bulk request is sent: at the first of these."""

    records: int = Field(default=5000, ge=1, le=1_000_000)
    """When so many records wait."""
    bytes: Bytes = Field(default=5 * MiB, ge=1, le=90 * MiB)
    """When they have this size together."""
    age: Duration = Field(default=1 * SECOND, ge=1)
    """When the oldest has waited this long."""

    def core(self) -> dict[str, Any]:
        """The keys that the C core reads."""
        return {"flush_records": self.records, "flush_bytes": self.bytes, "flush_age_ms": self.age}


class Elasticsearch(Section):
    """Documents in Elasticsearch or OpenSearch."""

    type: Literal["elasticsearch"] = "elasticsearch"
    url: Urls = Field(default=["http://127.0.0.1:9200"], min_length=1)
    """A node, or a list of them: they take turns, and one that fails is left out for a while."""
    index: Annotated[str, AfterValidator(check_index)] = "{topic}"
    """Template of the index's name."""
    operation: Literal["create", "index", "update", "upsert"] = "create"
    """create keeps what is there, index replaces it, update and upsert (also creates) merge the fields."""
    id: Annotated[str, AfterValidator(check_id)] = "topic+partition+offset"
    """Id of the document: that, key, a template like {field:user.id}, or auto (then only at least once)."""
    tombstone: Literal["reject", "ignore", "delete"] = "reject"
    """What a record without a value is: a dead letter, nothing, or the end of the document with its id."""
    version: Literal["offset"] | None = None
    """offset, with operation index: what an older record wrote never replaces what a newer one did."""
    routing: Annotated[str, AfterValidator(check_routing)] | None = None
    """What the shard is chosen by: key, or a template like {field:user.id}; the id by default."""
    pipeline: str | None = Field(default=None, min_length=1)
    """Ingest pipeline of the server that each document goes through."""
    data_stream: bool = False
    """The index is a data stream: documents without @timestamp get the record's time."""
    flush: FlushConfig = FlushConfig()
    """When a bulk request is sent."""
    in_flight: int = Field(default=2, ge=1, le=64)
    """Most bulk requests under way at once, per worker; 1 where documents are changed without version."""
    in_flight_bytes: Bytes = Field(default=32 * MiB, ge=1)
    """Most bytes of records in those requests, per worker; a larger request goes alone."""
    gzip: bool = False
    """Compress requests; costs a core for each 100 MB/s."""
    user: str | None = Field(default=None, min_length=1)
    """User for basic authentication."""
    password: SecretStr | None = None
    """Password of that user; write ${NAME} or ${file:PATH} here, not the password itself."""
    api_key: SecretStr | None = None
    """API key in its encoded form (Elasticsearch), in place of user and password."""
    token: SecretStr | None = None
    """Bearer token, in place of user and password."""
    tls: TlsConfig = TlsConfig()
    """Certificates, for https."""
    timeout: Duration = Field(default=30 * SECOND, ge=100)
    """How long a server may take to answer."""

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together: give both or none")
        given = [name for name in ("password", "api_key", "token") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: give one")
        return self

    @model_validator(mode="after")
    def _operation_can_be_done(self) -> Self:
        if self.data_stream and (self.operation != "create" or self.tombstone == "delete"):
            raise ValueError("a data stream takes operation create only, and deletes nothing")
        if self.version and (self.operation != "index" or self.id == "auto"):
            raise ValueError("version is for operation index, with ids that are not auto")
        if self.operation in ("update", "upsert") and self.id == "auto":
            raise ValueError(
                f"operation {self.operation} needs an id: key, or a template like {{field:user.id}}"
            )
        return self

    @model_validator(mode="after")
    def _tombstone_names_a_document(self) -> Self:
        if self.tombstone == "delete":
            if self.id in ("auto", COORDINATES):
                raise ValueError(
                    "tombstone: delete needs ids that a tombstone has, too: id: key, for example"
                )
            for name in ("id", "index", "routing"):
                if lacks_default(getattr(self, name) or "", "field"):
                    raise ValueError(
                        f"{name} names a field, which a tombstone does not have: use {{key}}, "
                        "or give a default like {field:user.id|none}"
                    )
        return self

    @property
    def _order_decides(self) -> bool:
        """Whether an older request that arrives later would change what is in the index in the end."""
        if self.version or self.id == "auto":
            return False
        replaces = self.operation == "index" and self.id != COORDINATES
        return replaces or self.operation in ("update", "upsert") or self.tombstone == "delete"

    @field_validator("api_key", "token")
    @classmethod
    def _fits_into_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value else "x"
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("has characters that fit into no HTTP header, or none at all")
        return value

    def authorization(self) -> str | None:
        """The Authorization header for an API key or a token. A secret."""
        if self.api_key:
            return f"ApiKey {self.api_key.get_secret_value()}"
        return f"Bearer {self.token.get_secret_value()}" if self.token else None

    def core(self) -> dict[str, Any]:
        """The sink part of the document that the C core reads."""
        return {
            "type": "elasticsearch", "urls": self.url, "index": self.index,
            "operation": self.operation, "tombstone": self.tombstone,
            "id": {COORDINATES: "coordinates", "auto": "auto"}.get(self.id, "template"),
            "id_template": None if self.id in (COORDINATES, "auto") else key_template(self.id),
            "routing": key_template(self.routing) if self.routing else None,
            "version_offset": self.version == "offset", "data_stream": self.data_stream,
            "pipeline": self.pipeline, **self.flush.core(),
            "in_flight": 1 if self._order_decides else self.in_flight,
            "in_flight_bytes": self.in_flight_bytes, "gzip": self.gzip, "user": self.user,
            "password": secret(self.password), "authorization": self.authorization(), **self.tls.core(),
            "timeout_ms": self.timeout,
        }  # fmt: skip


class Null(Section):
    """Takes every record and keeps none; for measurements."""

    type: Literal["null"] = "null"

    def core(self) -> dict[str, Any]:
        """The sink part of the document that the C core reads."""
        return {"type": "null"}


Sink = Annotated[
    Annotated[Hdfs | File | Elasticsearch | Null, Field(discriminator="type")],
    BeforeValidator(_fields.null_type),
]


class RetryConfig(Section):
    """How long a pipeline waits before it tries again: doubling from min to max, with full jitter."""

    min: Duration = Field(default=100, ge=1)
    """First wait."""
    max: Duration = Field(default=30 * SECOND, ge=1)
    """Longest wait."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError("min is longer than max")
        return self


class DeadLetterConfig(Section):
    """Where records go that can never be delivered."""

    topic: _fields.Topic
    """Topic that takes them, with headers that say why."""


DeadLetter = Annotated[
    Annotated[DeadLetterConfig, Tag("topic")]
    | Annotated[str, AfterValidator(_fields.only_drop), Tag("drop")],
    Discriminator(lambda value: "drop" if isinstance(value, str) else "topic"),
]


class PipelineConfig(Section):
    """From topics to a sink."""

    topics: list[_fields.TopicOrPattern] = Field(min_length=1)
    """Names of topics, or regular expressions that start with ^."""
    group: str | None = Field(default=None, min_length=1, max_length=255)
    """Consumer group; the pipeline's name by default."""
    workers: int = Field(default=1, ge=1, le=256)
    """Threads, each with a consumer of its own; more than the topics have partitions do nothing."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a group begins that has no committed offset."""
    transforms: _fields.Transforms = Field(default=[])
    """What happens to a record on the way; none are known in this version."""
    sink: Sink
    """Where the records go."""
    dead_letter: DeadLetter | None = None
    """{topic: NAME}, or drop; without it the pipeline stops at a record that can never be delivered."""
    in_flight: Bytes = Field(default=64 * MiB, ge=65536)
    """Most memory for records that are read but not settled, per worker; partitions are paused there."""
    retry: RetryConfig = RetryConfig()
    """Waits before a failed write is tried again."""
    kafka: _fields.Properties = Field(default={}, repr=False)
    """librdkafka properties of this pipeline alone, over those of the whole file."""

    @model_validator(mode="after")
    def _no_loop(self) -> Self:
        if isinstance(self.dead_letter, DeadLetterConfig) and _fields.subscribes(
            self.topics, self.dead_letter.topic
        ):
            raise ValueError(
                f"dead_letter.topic {self.dead_letter.topic} is among the topics of this pipeline: a loop"
            )
        return self

    @model_validator(mode="after")
    def _files_differ(self) -> Self:
        several = len(self.topics) > 1 or self.topics[0].startswith("^")
        if several and isinstance(self.sink, Hdfs | File) and (path := self.sink.collision()):
            where = "sink.path" if path == self.sink.path else f"the path {path}"
            raise ValueError(
                f"{where} must contain {{topic}} when several topics are read, or files would collide"
            )
        return self


class Config(Section):
    """A whole file."""

    kafka: _fields.Properties = Field(default={}, repr=False)
    """librdkafka properties of every client; bootstrap.servers is 127.0.0.1:9092 by default."""
    collector: CollectorConfig | None = None
    """The HTTP server that turns requests into records; without it none is started."""
    pipelines: dict[_fields.Name, PipelineConfig] = Field(default={})
    """From topics to sinks, each under a name of its own."""
    management: ManagementConfig = ManagementConfig()
    """The HTTP server for operators."""

    @property
    def bootstrap(self) -> str:
        """The cluster's servers."""
        return (
            self.kafka.get("bootstrap.servers") or self.kafka.get("metadata.broker.list") or DEFAULT_BOOTSTRAP
        )

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.collector is None and not self.pipelines:
            raise ValueError("there is neither a collector nor a pipeline: nothing to do")
        return self

    @model_validator(mode="after")
    def _groups_differ(self) -> Self:
        owners: dict[str, str] = {}
        for name, pipeline in self.pipelines.items():
            group = pipeline.group or name
            if group in owners:
                raise ValueError(
                    f"pipelines {owners[group]} and {name} share the group {group}: each would miss records"
                )
            owners[group] = name
        return self


def load(path: str | os.PathLike[str], *, bootstrap: str | None = None) -> Config:
    """The configuration in this YAML file; ``bootstrap`` overrides its ``bootstrap.servers``.

    Raises ConfigError, whose message has one line per problem: file, line, path to the key, what is
    wrong, and the nearest right word. Nothing is contacted.
    """
    return _load(_yaml.read(path), bootstrap)


def loads(text: str, source: str = "configuration", *, bootstrap: str | None = None) -> Config:
    """The configuration in this YAML text; ``source`` is its name in messages. Else as ``load``."""
    return _load(_yaml.parse(text, source), bootstrap)


def _load(document: _yaml.Document, bootstrap: str | None) -> Config:
    config = validate(document, Config)
    return config.model_copy(
        update={"kafka": {**config.kafka, "bootstrap.servers": bootstrap or config.bootstrap}}
    )


class SinkFile(Section):
    """A file that holds a sink and nothing else."""

    sink: Sink
    """Where the records go."""


def load_sink(path: str | os.PathLike[str]) -> Hdfs | File | Elasticsearch | Null:
    """The sink in this YAML file, whose one key is ``sink``. Raises ConfigError as ``load`` does."""
    return validate(_yaml.read(path, "sink"), SinkFile).sink


def to_core_json(
    name: str,
    pipeline: PipelineConfig,
    kafka: Mapping[str, str],
    ranges: Sequence[Mapping[str, Any]] | None = None,
    redrive: bool = False,
) -> str:
    """The document that the C core reads for a pipeline: every key present, bytes and milliseconds.

    ``name`` is the pipeline's, ``kafka`` the properties of the whole file, ``ranges`` what alone is read of
    the topics, ``redrive`` that they hold dead letters. Holds secrets: never show it.
    """
    topic = pipeline.dead_letter.topic if isinstance(pipeline.dead_letter, DeadLetterConfig) else None
    mode = "topic" if topic else pipeline.dead_letter or "stop"
    properties = {"bootstrap.servers": DEFAULT_BOOTSTRAP, **kafka, **pipeline.kafka}
    return json.dumps(
        {
            "name": name,
            "group": pipeline.group or name,
            "topics": pipeline.topics,
            "ranges": ranges,
            "redrive": redrive,
            "workers": pipeline.workers,
            "kafka": {**properties, "auto.offset.reset": pipeline.start},
            "in_flight_bytes": pipeline.in_flight,
            "backoff_min_ms": pipeline.retry.min,
            "backoff_max_ms": pipeline.retry.max,
            "dead_letter": {"mode": mode, "topic": topic},
            "sink": pipeline.sink.core(),
        }
    )
