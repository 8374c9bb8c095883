"""Starts `kafkapipe run` in a hundredth of a second: everything is imported once, each program is a fork.

Run as a script, with the debug build of the extension as its argument. It reads one JSON request a line,
``{"id": 1, "config": FILE, "environment": {...}, "log": FILE}``, and answers ``{"id": 1, "pid": 2}`` at once
and ``{"id": 1, "status": -9}`` when that program has ended. At the end of its input it kills what still runs.

The zygote has no thread and no Kafka client of its own; each program makes its own after the fork.
"""

import importlib.util
import json
import logging
import os
import selectors
import signal
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any


class DebugCore:
    """Finds `kafkapipe._core` in the debug build, not beside the package."""

    def __init__(self, file: str) -> None:
        self._file = file

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """The import system's question."""
        return importlib.util.spec_from_file_location(name, self._file) if name == "kafkapipe._core" else None


def program(request: dict[str, Any]) -> int:
    """What `kafkapipe run CONFIG` does after its imports; the exit code."""
    import uvloop  # noqa: PLC0415 - after DebugCore, as all that imports kafkapipe

    from kafkapipe.app import serve  # noqa: PLC0415
    from kafkapipe.config import load  # noqa: PLC0415

    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(request["environment"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)-7s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return uvloop.run(serve(load(Path(request["config"]))))


def start(request: dict[str, Any]) -> int:
    """Fork a program; its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = program(request)
    except BaseException:
        logging.exception("the program")
    finally:
        os._exit(code)


def answer(**fields: int) -> None:
    """One line to whoever asked."""
    print(json.dumps(fields), flush=True)


def reap(running: dict[int, int]) -> None:
    """Report the programs that have ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        answer(id=running.pop(pid), status=os.waitstatus_to_exitcode(status))


def main() -> None:
    """Serve requests until the end of the input."""
    sys.meta_path.insert(0, DebugCore(sys.argv[1]))
    import uvloop  # noqa: F401, PLC0415

    import kafkapipe.app  # noqa: PLC0415

    assert kafkapipe.app
    wake, woken = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(wake, selectors.EVENT_READ)
    rest = b""
    while True:
        ready = [key.fd for key, _ in selector.select()]
        if wake in ready:
            os.read(wake, 4096)
            reap(running)
        if 0 in ready:
            got = os.read(0, 65536)
            if not got:
                break
            *lines, rest = (rest + got).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = start(request)
                running[pid] = request["id"]
                answer(id=request["id"], pid=pid)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
