"""The configuration of the sinks that write files: ``hdfs`` and ``file``."""

import os
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from . import _fields
from ._section import Section
from ._template import check_absolute, check_file_path, placeholders, with_mark
from ._tls import TlsConfig, secret
from ._units import MINUTE, SECOND, Bytes, Duration, MiB, Urls

FilePath = Annotated[str, AfterValidator(check_file_path)]
HdfsPath = Annotated[str, AfterValidator(check_absolute), AfterValidator(check_file_path)]


class RotateConfig(Section):
    """When a file is closed and published: at the first of these, whichever comes first."""

    records: int | None = Field(default=None, ge=1)
    """After so many records; off by default."""
    bytes: Bytes = Field(default=128 * MiB, ge=1)
    """When it has this size, compressed if it is."""
    age: Duration = Field(default=5 * MINUTE, ge=10)
    """When its first record was written this long ago, even if none follows."""

    def core(self) -> dict[str, Any]:
        """The keys that the C core reads."""
        return {"rotate_records": self.records or 0, "rotate_bytes": self.bytes, "rotate_age_ms": self.age}


class RotateOverride(Section):
    """What differs for one topic; the rest is as for all."""

    records: int | None = Field(default=None, ge=1)
    """After so many records."""
    bytes: Bytes | None = Field(default=None, ge=1)
    """When it has this size, compressed if it is."""
    age: Duration | None = Field(default=None, ge=10)
    """When its first record was written this long ago, even if none follows."""

    def over(self, rotate: RotateConfig) -> RotateConfig:
        """The rules of that topic."""
        given = {name: getattr(self, name) for name in RotateConfig.model_fields}
        return rotate.model_copy(update={name: value for name, value in given.items() if value is not None})


class FilesOverride(Section):
    """What differs for the files of one topic."""

    path: FilePath | None = None
    """Template of a file's path."""
    rotate: RotateOverride = RotateOverride()
    """When a file is closed and published; what is not given is as for all topics."""


class FilesConfig(Section):
    """What all sinks that write files have."""

    path: FilePath
    rotate: RotateConfig = RotateConfig()
    """When a file is closed and published."""
    overrides: dict[_fields.Topic, FilesOverride] = Field(default={})
    """Topics that have a path or rotation of their own, by name."""
    format: Literal["raw", "json"] = "raw"
    """raw: a value is a line, whatever it holds; json: one that is no JSON is a dead letter."""
    envelope: bool = False
    """Each line is an object of topic, partition, offset, timestamp, key, headers and the untouched value."""
    compression: Literal["none", "gzip", "zstd"] = "none"
    """Each file is one whole gzip or zstd file; its name is path's: write .gz or .zst there."""
    buffer: Bytes = Field(default=64 * MiB, ge=4096)
    """Most memory for data that the store does not have yet, per worker."""
    stream: Bytes = Field(default=8 * MiB, ge=0)
    """A larger file goes up in pieces of this size while records arrive (a block each on HDFS); 0: never."""
    open_files: int = Field(default=256, ge=1, le=100_000)
    """Most open files per worker; one more closes the oldest. zstd takes 2 MiB for each, gzip 300 KiB."""

    @model_validator(mode="after")
    def _envelope_holds_json(self) -> Self:
        if self.envelope and self.format == "raw":
            raise ValueError("an envelope is JSON around JSON: it needs format: json")
        return self

    def paths(self) -> dict[str | None, str]:
        """The path templates by topic; None: all others."""
        own = {topic: override.path for topic, override in self.overrides.items()}
        return {None: self.path, **{topic: path for topic, path in own.items() if path}}

    def marked(self, mark: str) -> Self:
        """The same, with ``.MARK`` before the ending of every file's name."""
        overrides = {
            topic: one.model_copy(update={"path": one.path and with_mark(one.path, mark)})
            for topic, one in self.overrides.items()
        }
        return self.model_copy(update={"path": with_mark(self.path, mark), "overrides": overrides})

    def as_for(self, topic: str) -> Self:
        """The same, with what this topic has of its own for all topics."""
        own = self.overrides.get(topic, FilesOverride())
        changes = {"path": own.path or self.path, "rotate": own.rotate.over(self.rotate), "overrides": {}}
        return self.model_copy(update=changes)

    def collision(self) -> str | None:
        """The path that files of several topics would share, when several are read."""
        paths = self.paths()
        shared = [path for path in paths.values() if "topic" not in placeholders(path)]
        doubled = [path for path in shared if path == self.path or shared.count(path) > 1]
        return doubled[0] if doubled else None

    def files_core(self, real: Callable[[str], str] = str) -> dict[str, Any]:
        """The keys that the C core reads; ``real`` makes a path absolute."""
        return {
            "path": real(self.path), **self.rotate.core(), "format": self.format, "envelope": self.envelope,
            "compression": self.compression, "buffer_bytes": self.buffer, "stream_bytes": self.stream,
            "open_files": self.open_files,
            "overrides": {
                topic: {"path": real(one.path or self.path), **one.rotate.over(self.rotate).core()}
                for topic, one in self.overrides.items()
            },
        }  # fmt: skip


class Hdfs(FilesConfig):
    """Files on HDFS by WebHDFS, each record one line, exactly once per partition."""

    type: Literal["hdfs"] = "hdfs"
    url: Urls = Field(default=["http://127.0.0.1:9870"], min_length=1)
    """NameNode, or a list of them, or HttpFS."""
    user: str = Field(default="hadoop", min_length=1)
    """HDFS user that owns the files."""
    delegation: SecretStr | None = None
    """Delegation token, in place of user; write ${NAME} or ${file:PATH} here, not the token itself."""
    tls: TlsConfig = TlsConfig()
    """Certificates, for https."""
    redirect_hosts: list[Annotated[str, Field(min_length=1)]] = Field(default=[])
    """Hosts of DataNodes that uploads may be redirected to; any that the NameNode names by default."""
    timeout: Duration = Field(default=30 * SECOND, ge=100)
    """How long a server may take to answer."""
    path: HdfsPath = "/data/{topic}/{partition}-{offset}.log"
    """Template of a file's path; {offset} is its first record's, {end} the offset after its last."""

    @model_validator(mode="after")
    def _paths_fit_hdfs(self) -> Self:
        for path in self.paths().values():
            check_absolute(path)
            if self.stream and "," in path.partition("{")[0].rpartition("/")[0]:
                raise ValueError(
                    f"path {path} has a comma among its folders, which HDFS cannot join pieces in: "
                    "choose another folder, or stream: 0"
                )
        return self

    def core(self) -> dict[str, Any]:
        """The sink part of the document that the C core reads."""
        return {
            "type": "hdfs", "urls": self.url, "user": self.user, "delegation": secret(self.delegation),
            "redirect_hosts": self.redirect_hosts, "timeout_ms": self.timeout, **self.tls.core(),
            **self.files_core(),
        }  # fmt: skip


class File(FilesConfig):
    """Files on a local disk, each record one line, exactly once per partition."""

    type: Literal["file"] = "file"
    path: FilePath = "data/{topic}/{partition}-{offset}.log"
    """Template of a file's path; a relative one starts at the working directory."""

    def core(self) -> dict[str, Any]:
        """The sink part of the document that the C core reads."""
        return {"type": "file", **self.files_core(os.path.abspath)}
