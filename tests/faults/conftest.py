"""What the fault tests share: the debug build, the programs on it, and their doses.

`make test` runs the small doses; `make faults` sets KAFKAPIPE_FAULTS=1, which is the share of the full doses.
KAFKAPIPE_SEED=N replays a run with the same chances.
"""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from kafkapipe.stack import Stack
from tests.faults.lanes import World
from tests.faults.oracle import ReadTopic
from tests.faults.programs import Zygote

ROOT = Path(__file__).parents[2]
_FIGURES = pytest.StashKey[list[str]]()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def debug_core() -> Path:
    """The extension with fail points, in a folder of its own: the normal build stays as it is."""
    folder = ROOT / "build" / "faults"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "setup.py", "-q", "build_ext",
        "--build-lib", str(folder), "--build-temp", str(folder / "objects"),
        cwd=ROOT, env={**os.environ, "KAFKAPIPE_DEBUG": "1"}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    (core,) = (folder / "kafkapipe").glob("_core.*.so")
    return core


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def zygote(debug_core: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Zygote]:
    """Starts programs on the debug build."""
    async with Zygote(debug_core, tmp_path_factory.mktemp("programs")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def world(
    request: pytest.FixtureRequest,
    stack: Stack,
    zygote: Zygote,
    read_topic: ReadTopic,
    unused_tcp_port_factory: Callable[[], int],
) -> AsyncIterator[World]:
    """Real servers, programs, chances and the dose; the figures are printed at the end of the run."""
    seed = int(os.environ.get("KAFKAPIPE_SEED") or random.randrange(2**32))
    print(f"KAFKAPIPE_SEED={seed}")
    share = float(os.environ.get("KAFKAPIPE_FAULTS") or 0)
    async with httpx.AsyncClient(timeout=120, trust_env=False) as http:
        made = World(stack, zygote, http, read_topic, unused_tcp_port_factory, seed, share)
        yield made
    lines = [f"{request.node.name}: {line}" for line in made.figures]
    request.config.stash.setdefault(_FIGURES, []).extend(lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the figures."""
    for line in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(line)
