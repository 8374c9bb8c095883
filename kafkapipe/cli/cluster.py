"""What the commands that manage a cluster share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from .context import settings

if TYPE_CHECKING:
    from ..admin import Admin

json_option = click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")


def admin_client() -> "Admin":
    """A client for the cluster that the command line names."""
    from ..admin import Admin  # noqa: PLC0415 - the help needs no extension

    return Admin(settings().cluster)


def read_settings(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    """The callback of an option that may be given again, each time as NAME=VALUE."""
    found = {}
    for text in value:
        name, equals, setting = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"must be NAME=VALUE, like retention.ms=86400000, not {text!r}")
        found[name] = setting
    return found


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], numbers: Sequence[str] = ()) -> None:
    """Print a table; ``numbers`` are columns that stand to the right, and None is a dash."""
    table = Table()
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*("-" if cell is None else _literal(cell) for cell in row))
    Console(highlight=False).print(table)


def _literal(cell: object) -> str:
    """Text as it is, not as markup."""
    return str(cell).replace("[", "\\[")
