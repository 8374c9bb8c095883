"""The command ``kafkapipe`` itself: which commands there are, and what becomes of their errors.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration. An error is one line on stderr; a traceback
needs --debug.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from .._template import nearest
from ..errors import ConfigError, KafkaPipeError
from .context import Settings, bootstrap_option, debug_option

# name: (whether it talks to a cluster of the user's choice, help); its module and function have the same name
COMMANDS = {
    "demo": (False, "Start everything locally; with --once send events, check them, stop."),
    "run": (True, "Run the collector and the pipelines of a configuration; SIGTERM drains."),
    "check": (True, "Validate a configuration, then try every server it names."),
    "stack": (False, "Real Kafka, HDFS and Elasticsearch on this machine."),
    "topics": (True, "Create, list, describe, change and delete topics."),
    "index": (True, "Make a pipeline's index, with a mapping for its events."),
    "groups": (True, "List, describe, reset and delete consumer groups."),
    "produce": (True, "Send the lines of a file or of stdin to a topic."),
    "replay": (True, "Send a range of a pipeline's topics through it once more."),
    "dlq": (True, "List, show and send again what could not be delivered."),
    "config": (False, "The options of a configuration file."),
    "versions": (False, "kafkapipe and every library it runs on."),
}


class Root(click.Group):
    """Knows its commands by name, and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{cmd_name}", __package__)
        command: click.Command = getattr(module, cmd_name)
        _add_common(command, clustered=COMMANDS[cmd_name][0])
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest name in the message."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f'there is no command "{args[0]}"{nearest(args[0], COMMANDS)}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run the command line and exit with its code."""
        settings = extra.setdefault("obj", None) or Settings()
        extra.update(obj=settings, standalone_mode=False, prog_name="kafkapipe")
        try:
            result = super().main(args, *rest, **extra)
            sys.stdout.flush()
            code = result if isinstance(result, int) else 0
        except BrokenPipeError:  # the reader of the output has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        except Exception as error:
            if settings.debug:
                raise
            code = report(error)
        sys.exit(code)


def _add_common(command: click.Command, *, clustered: bool) -> None:
    """--debug and --bootstrap may stand after the command's name, too."""
    if isinstance(command, click.Group):
        for child in command.commands.values():
            _add_common(child, clustered=clustered)
    have = {option for param in command.params for option in param.opts}
    wanted = [bootstrap_option(), debug_option()] if clustered else [debug_option()]
    command.params += [option for option in wanted if not have & set(option.opts)]


def report(error: Exception) -> int:
    """Print an error as lines that begin with the program's name; the exit code it asks for."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return 2
    for line in _lines(error):
        click.echo(f"kafkapipe: {line}", err=True)
    return 2 if isinstance(error, ConfigError | click.UsageError) else 1


def _lines(error: Exception) -> list[str]:
    if isinstance(error, KafkaPipeError):
        return error.message.splitlines()
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "kafkapipe"
        return [f"{error.format_message().rstrip('.')} (see `{command} --help`)"]
    if isinstance(error, click.ClickException):
        return [error.format_message()]
    if isinstance(error, click.Abort):
        return ["interrupted"]
    if isinstance(error, OSError):
        return [str(error)]
    return [f"internal error: {type(error).__name__}: {error} (--debug shows where)"]


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Web events to Apache Kafka, HDFS and Elasticsearch."""


main.params += [bootstrap_option("KAFKAPIPE_BOOTSTRAP"), debug_option()]
