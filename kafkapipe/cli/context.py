"""What all commands share: which cluster, and whether to show tracebacks."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import click

P = ParamSpec("P")


@dataclass
class Settings:
    """The root context's object."""

    bootstrap: str | None = None
    """The cluster that --bootstrap or KAFKAPIPE_BOOTSTRAP names."""
    debug: bool = False

    @property
    def cluster(self) -> str:
        """The cluster to talk to when no configuration file says."""
        from .._properties import DEFAULT_BOOTSTRAP  # noqa: PLC0415 - the help needs no extension

        return self.bootstrap or DEFAULT_BOOTSTRAP


def settings() -> Settings:
    """The settings of the command that runs now."""
    return click.get_current_context().find_root().ensure_object(Settings)


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value:
        setattr(ctx.find_root().ensure_object(Settings), str(param.name), value)


def bootstrap_option(envvar: str | None = None) -> click.Option:
    """``--bootstrap``; only the root's looks at the environment, or it would overrule the root's option."""
    text = "Kafka's servers, HOST:PORT[,...]; also KAFKAPIPE_BOOTSTRAP."
    return click.Option(
        ["--bootstrap"], metavar="SERVERS", help=text, envvar=envvar, expose_value=False, callback=_keep
    )


def debug_option() -> click.Option:
    """``--debug``."""
    text = "Show tracebacks of errors."
    return click.Option(["--debug"], is_flag=True, help=text, expose_value=False, callback=_keep)


def in_loop(function: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, int | None]:
    """Make a coroutine function the callback of a command; what it returns is the exit code."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> int | None:
        return asyncio.run(function(*args, **kwargs))

    return run
