"""Progress of the local stack on stderr: one live line on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

from ..stack import Step

PLAIN_EVERY_S = 5.0


class Progress:
    """A context manager to be given to `Stack` as its ``report``.

    What is done becomes a line of its own. What is under way is shown in the live line; elsewhere than on a
    terminal, a line at most every five seconds.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, soft_wrap=True, highlight=False)
        self._busy: dict[str, str] = {}
        self._status = Status("starting", console=self._console)
        self._last = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def __call__(self, step: Step) -> None:
        """Show a step."""
        if step.done:
            self._busy.pop(step.name, None)
            self._line(step)
        else:
            self._busy[step.name] = step.text
            self._show(step)
        self._status.update("; ".join(f"{name} {text}" for name, text in self._busy.items()))

    def _show(self, step: Step) -> None:
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last >= PLAIN_EVERY_S:
            self._last = now
            self._line(step)

    def _line(self, step: Step) -> None:
        self._console.print(f"{step.name}: {step.text}", markup=False)
