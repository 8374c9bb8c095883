"""Scripts in interpreters of their own: what they leak or crash is theirs alone."""

import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def script() -> Callable[..., Done]:
    """``script(code, *flags)``: runs Python code to its end; a hang or a crash fails the test."""

    def run(code: str, *flags: str, check: bool = True) -> Done:
        command = (sys.executable, *flags, "-c", textwrap.dedent(code))
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, done.stderr
        assert done.returncode >= 0, f"ended by signal {-done.returncode}: {done.stderr}"
        return done

    return run
