"""The servers' jars: pinned coordinates, resolved once by Maven into the cache folder.

One Maven run resolves every set that is missing (its reactor does the sets side by side). A set's folder
carries a key of all that went into it, and gets its name only when it is complete: a version bump or another
launcher makes another folder, and a run that was cut off leaves nothing that looks finished.
"""

import asyncio
import fcntl
import hashlib
import os
import re
import shutil
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import KafkaPipeError
from .java import Java, environment

KAFKA_VERSION = "4.3.1"
HADOOP_VERSION = "3.4.3"
ELASTICSEARCH_VERSION = "9.5.3"
OPENSEARCH_VERSION = "3.8.0"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_TRANSFER = re.compile(r"Downloaded from .*/([^/ ]+) \(([\d.]+) (B|kB|MB)")
_UNITS = {"B": 1, "kB": 1000, "MB": 1_000_000}


@dataclass(frozen=True)
class Step:
    """Something that happened on the way up or down, for whoever shows progress."""

    name: str
    """What it is about: ``jars``, or a server."""
    text: str
    done: bool = False


Report = Callable[[Step], None]


@dataclass(frozen=True)
class JarSet:
    """The jars of one server, by Maven coordinates ``group:artifact:version``."""

    name: str
    title: str
    version: str
    coordinates: tuple[str, ...]
    launcher: str = ""
    """A Java source file of this folder that is compiled against the set."""
    resources: tuple[tuple[str, str], ...] = ()
    """Names and contents of a further jar: what a release has beside its jars."""

    @property
    def source(self) -> Path:
        return Path(__file__).with_name(f"{self.launcher}.java")

    @property
    def key(self) -> str:
        """Name of the set's folder: changes with all that goes into it."""
        parts = repr((self.coordinates, self.resources)).encode()
        parts += self.source.read_bytes() if self.launcher else b""
        return f"{self.name}-{self.version}-{hashlib.sha256(parts).hexdigest()[:8]}"


KAFKA = JarSet(
    "kafka",
    "Apache Kafka",
    KAFKA_VERSION,
    (
        f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
        f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}",
        "org.slf4j:slf4j-simple:1.7.36",
    ),
)
_LOG4J = """log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
"""
HDFS = JarSet(
    "hdfs",
    "HDFS",
    HADOOP_VERSION,
    (
        f"org.apache.hadoop:hadoop-common:{HADOOP_VERSION}",
        f"org.apache.hadoop:hadoop-hdfs:{HADOOP_VERSION}",
        f"org.apache.hadoop:hadoop-hdfs-client:{HADOOP_VERSION}",
    ),
    resources=(
        # Looked up by these names; that they are empty is no matter.
        ("webapps/hdfs/", ""),
        ("webapps/hdfs/WEB-INF/", ""),
        ("webapps/datanode/", ""),
        ("webapps/datanode/WEB-INF/", ""),
        ("core-site.xml", "<configuration/>"),
        ("log4j.properties", _LOG4J),
    ),
)
ELASTICSEARCH = JarSet(
    "elasticsearch",
    "Elasticsearch",
    ELASTICSEARCH_VERSION,
    (
        f"org.elasticsearch:elasticsearch:{ELASTICSEARCH_VERSION}",
        f"org.elasticsearch.plugin:transport-netty4:{ELASTICSEARCH_VERSION}",
    ),
    launcher="EsNode",
)
OPENSEARCH = JarSet(
    "opensearch",
    "OpenSearch",
    OPENSEARCH_VERSION,
    (
        f"org.opensearch:opensearch:{OPENSEARCH_VERSION}",
        f"org.opensearch.plugin:transport-netty4-client:{OPENSEARCH_VERSION}",
        f"org.opensearch.plugin:ingest-common:{OPENSEARCH_VERSION}",
        "org.apache.logging.log4j:log4j-core:2.25.4",  # which its own pom leaves out
    ),
    launcher="OsNode",
)
COMPILER = JarSet("ecj", "Java compiler", "3.46.0", ("org.eclipse.jdt:ecj:3.46.0",))


def home_folder() -> Path:
    """KAFKAPIPE_HOME, else ``kafkapipe`` in the user's cache directory."""
    if home := os.environ.get("KAFKAPIPE_HOME"):
        return Path(home).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "kafkapipe"


@asynccontextmanager
async def locked(path: Path, report: Report) -> AsyncIterator[None]:
    """Hold a file lock against other programs that work on the same folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        if not _try_lock(file):
            report(Step("stack", f"waiting for another kafkapipe that works on {path.parent}"))
            while not _try_lock(file):  # noqa: ASYNC110 - another program holds it
                await asyncio.sleep(0.1)
        yield


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def classpath(folder: Path) -> str:
    """All jars of a set's folder, in an order that is the same everywhere."""
    return ":".join(str(jar) for jar in sorted(folder.glob("*.jar")))


class Jars:
    """The cache of jar sets under ``home``."""

    def __init__(self, home: Path, report: Report) -> None:
        self._folder = home / "jars"
        self._report = report

    def folder(self, jars: JarSet) -> Path:
        """Where the jars of a set are, or will be."""
        return self._folder / jars.key

    async def resolve(self, sets: Iterable[JarSet], java: Java) -> None:
        """Make sure the sets are there. Raises KafkaPipeError when Maven is missing or fails."""
        wanted = list(dict.fromkeys(sets))
        if all(self.folder(jars).exists() for jars in wanted):
            return
        async with locked(self._folder / "lock", self._report):
            missing = [jars for jars in wanted if not self.folder(jars).exists()]
            if any(jars.launcher for jars in missing) and not self.folder(COMPILER).exists():
                missing.append(COMPILER)
            if missing:
                await self._fetch(missing, java)

    async def _fetch(self, missing: list[JarSet], java: Java) -> None:
        new = self._folder / "new"
        shutil.rmtree(new, ignore_errors=True)
        start = time.monotonic()
        _write_poms(new, missing)
        fetched = await _run_maven(new, [jars.name for jars in missing], java, self._report)
        for jars in sorted(missing, key=lambda jars: jars is not COMPILER):
            await self._complete(jars, new / jars.name / "jars", java)
            (new / jars.name / "jars").replace(self.folder(jars))
        shutil.rmtree(new)
        count, size = _weigh(self.folder(jars) for jars in missing)
        text = f"{_names(missing)}: {count} jars, {size / 1e6:.0f} MB ready in {self._folder}"
        seconds = time.monotonic() - start
        self._report(
            Step("jars", f"{text} after {seconds:.0f} s ({fetched / 1e6:.0f} MB fetched)", done=True)
        )

    async def _complete(self, jars: JarSet, folder: Path, java: Java) -> None:
        """Add what the published jars lack."""
        if jars is ELASTICSEARCH:
            _split_transport(folder)
        if jars.resources:
            _write_resources(jars, folder)
        if jars.launcher:
            await self._compile(jars, folder, java)

    async def _compile(self, jars: JarSet, folder: Path, java: Java) -> None:
        """Compile the launcher into ``boot.jar``: a folder on the class path would forbid class archives."""
        classes = folder / "classes"
        command = [java.exe, "-jar", classpath(self.folder(COMPILER)), "-21", "-proc:none", "-nowarn"]
        command += ["-cp", classpath(folder), "-d", str(classes), str(jars.source)]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment()
        )
        output = (await process.communicate())[0].decode(errors="replace")
        if process.returncode:
            raise KafkaPipeError(f"{jars.source} does not compile: {output.strip()}", op="resolve jars")
        with zipfile.ZipFile(folder / "boot.jar", "w") as jar:
            for path in classes.iterdir():
                jar.write(path, path.name)
        shutil.rmtree(classes)


def _names(sets: Iterable[JarSet]) -> str:
    return ", ".join(jars.name for jars in sets)


def _weigh(folders: Iterable[Path]) -> tuple[int, int]:
    sizes = [jar.stat().st_size for folder in folders for jar in folder.rglob("*.jar")]
    return len(sizes), sum(sizes)


def _pom(name: str, body: str) -> str:
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>kafkapipe.stack</groupId><artifactId>{name}</artifactId><version>1</version>"
        f"<packaging>pom</packaging>{body}</project>\n"
    )


def _dependency(coordinate: str) -> str:
    group, artifact, version = coordinate.split(":")
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>"
    )


def _write_poms(folder: Path, sets: list[JarSet]) -> None:
    modules = "".join(f"<module>{jars.name}</module>" for jars in sets)
    folder.mkdir(parents=True)
    (folder / "pom.xml").write_text(_pom("all", f"<modules>{modules}</modules>"))
    for jars in sets:
        wanted = "".join(_dependency(coordinate) for coordinate in jars.coordinates)
        (folder / jars.name / "jars").mkdir(parents=True)
        (folder / jars.name / "pom.xml").write_text(_pom(jars.name, f"<dependencies>{wanted}</dependencies>"))


async def _run_maven(folder: Path, names: list[str], java: Java, report: Report) -> int:
    """Run Maven over the generated poms; returns the bytes it fetched."""
    maven = shutil.which("mvn")
    if not maven:
        raise KafkaPipeError(
            "Maven is needed once, to fetch the servers' jars, and there is no `mvn` on PATH: install it "
            "(Debian: apt install maven; Fedora: dnf install maven; macOS: brew install maven)",
            op="resolve jars",
        )
    command = [maven, "-B", "-T4", _PLUGIN, "-DincludeScope=runtime"]
    command += ["-DoutputDirectory=${project.basedir}/jars", "-Dmaven.wagon.http.retryHandler.count=3"]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=_maven_environment(java),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        return await _follow(process, folder.with_name("maven.log"), names, report)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def _maven_environment(java: Java) -> dict[str, str]:
    """Maven runs on its own Java, whose certificates the machine may have set up; on ours if it has none."""
    own = os.environ.get("JAVA_HOME") or shutil.which("java")
    return {**os.environ, **({} if own else {"JAVA_HOME": str(java.home)})}


async def _follow(process: asyncio.subprocess.Process, log: Path, names: list[str], report: Report) -> int:
    """Turn Maven's output into progress; raise with its first error when it fails."""
    start, jars, size, error = time.monotonic(), 0, 0.0, ""
    assert process.stdout is not None
    report(Step("jars", f"{', '.join(names)}: asking Maven"))
    with log.open("w") as file:
        async for raw in process.stdout:
            line = raw.decode(errors="replace")
            file.write(line)
            if line.startswith("[ERROR]") and not error:
                error = line.removeprefix("[ERROR]").strip()
            if match := _TRANSFER.search(line):
                jars += match[1].endswith(".jar")
                size += float(match[2]) * _UNITS[match[3]]
                seconds = time.monotonic() - start
                text = f"{', '.join(names)}: {jars} jars, {size / 1e6:.1f} MB, {seconds:.0f} s"
                report(Step("jars", text))
    if await process.wait():
        why = error.partition(" -> [Help")[0] or f"exit status {process.returncode}"
        raise KafkaPipeError(
            f"Maven could not fetch the jars of {', '.join(names)}: {why} (all of it: {log})",
            op="resolve jars",
        )
    return int(size)


def _split_transport(folder: Path) -> None:
    """Lay out the HTTP transport as the module that an Elasticsearch node looks for in its home."""
    module = folder / "modules" / "transport-netty4"
    module.mkdir(parents=True)
    (folder / "config").mkdir()
    for jar in [*folder.glob("netty-*.jar"), *folder.glob("transport-netty4-*.jar")]:
        jar.replace(module / jar.name)
    (own,) = module.glob("transport-netty4-*.jar")
    name = "plugin-descriptor.properties"
    with zipfile.ZipFile(own) as jar_file:
        text = jar_file.read(f"META-INF/es-plugins/transport-netty4/{name}").decode()
    # With its module name it would be loaded as a Java module, which it is only inside a release.
    lines = [line for line in text.splitlines() if not line.startswith("modulename")]
    (module / name).write_text("\n".join(lines))


def _write_resources(jars: JarSet, folder: Path) -> None:
    # The name puts it first on the class path.
    with zipfile.ZipFile(folder / "a-resources.jar", "w") as jar:
        for name, text in jars.resources:
            jar.writestr(name, text)
