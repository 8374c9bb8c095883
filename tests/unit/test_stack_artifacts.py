"""Fetching jars: what is left behind when it fails, and what is said. Maven itself runs in the live tests."""

import dataclasses
import os
from pathlib import Path

import pytest

from kafkapipe.errors import KafkaPipeError
from kafkapipe.stack.artifacts import ELASTICSEARCH, KAFKA, Jars, JarSet, classpath, home_folder
from kafkapipe.stack.java import Java

TINY = JarSet("tiny", "Tiny", "1.0", ("org.example:tiny:1.0",))
FETCHES = """#!/bin/sh
echo '[INFO] Downloaded from somewhere: scheme://host/org/example/tiny.pom (1.5 kB at 9 kB/s)'
echo '[INFO] Downloaded from somewhere: scheme://host/org/example/tiny.jar (2.5 MB at 9 MB/s)'
for module in */; do echo bytes >"$module/jars/tiny.jar"; done
"""
FAILS = """#!/bin/sh
for module in */; do echo half >"$module/jars/tiny.jar"; done
echo '[ERROR] Could not transfer artifact org.example:tiny:jar:1.0: unknown host -> [Help 1]'
echo '[ERROR] [Help 1] a page'
exit 1
"""


@pytest.fixture
def maven(monkeypatch, tmp_path):
    """Puts a stand-in for Maven on PATH."""

    def install(script):
        exe = tmp_path / "bin" / "mvn"
        exe.parent.mkdir(exist_ok=True)
        exe.write_text(script)
        exe.chmod(0o755)
        monkeypatch.setenv("PATH", f"{exe.parent}:{os.environ['PATH']}")

    return install


@pytest.fixture
def java(tmp_path):
    return Java(tmp_path / "java", "25")


async def test_a_set_is_fetched_once(maven, java, tmp_path):
    maven(FETCHES)
    steps = []
    jars = Jars(tmp_path, steps.append)
    await jars.resolve([TINY, TINY], java)
    assert classpath(jars.folder(TINY)) == str(jars.folder(TINY) / "tiny.jar")
    assert "1 jars, 2.5 MB" in steps[-2].text
    assert steps[-1].done
    steps.clear()
    await jars.resolve([TINY], java)
    assert steps == []


async def test_a_new_version_is_fetched_beside_the_old_one(maven, java, tmp_path):
    maven(FETCHES)
    jars = Jars(tmp_path, lambda step: None)
    newer = dataclasses.replace(TINY, version="1.1", coordinates=("org.example:tiny:1.1",))
    await jars.resolve([TINY], java)
    await jars.resolve([newer], java)
    assert jars.folder(TINY) != jars.folder(newer)
    assert jars.folder(newer).is_dir()


async def test_a_failure_is_one_line_and_leaves_nothing_that_looks_finished(maven, java, tmp_path):
    maven(FAILS)
    jars = Jars(tmp_path, lambda step: None)
    with pytest.raises(KafkaPipeError) as caught:
        await jars.resolve([TINY], java)
    log = tmp_path / "jars" / "maven.log"
    assert caught.value.message == (
        "Maven could not fetch the jars of tiny: Could not transfer artifact org.example:tiny:jar:1.0: "
        f"unknown host (all of it: {log})"
    )
    assert "[Help 1] a page" in log.read_text()
    assert not jars.folder(TINY).exists()
    maven(FETCHES)
    await jars.resolve([TINY], java)
    assert (jars.folder(TINY) / "tiny.jar").read_text() == "bytes\n"


async def test_without_maven_the_message_says_what_to_install(monkeypatch, java, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KafkaPipeError, match="apt install maven; Fedora: dnf install maven; macOS: brew"):
        await Jars(tmp_path, lambda step: None).resolve([TINY], java)


def test_the_folder_changes_with_all_that_goes_into_it(monkeypatch, tmp_path):
    other = dataclasses.replace(KAFKA, coordinates=(*KAFKA.coordinates, "org.example:tiny:1.0"))
    assert other.key != KAFKA.key
    before = ELASTICSEARCH.key
    launcher = tmp_path / "EsNode.java"
    launcher.write_bytes(ELASTICSEARCH.source.read_bytes() + b"\n")
    monkeypatch.setattr(JarSet, "source", launcher)
    assert ELASTICSEARCH.key != before


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KAFKAPIPE_HOME", str(tmp_path / "here"))
    assert home_folder() == tmp_path / "here"
    monkeypatch.delenv("KAFKAPIPE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert home_folder() == tmp_path / "cache" / "kafkapipe"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert home_folder() == Path.home() / ".cache" / "kafkapipe"
