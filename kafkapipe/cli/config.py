"""kafkapipe config schema."""

import json

import click


@click.group()
def config() -> None:
    """The options of a configuration file."""


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from .._schema import json_schema  # noqa: PLC0415 - the help needs no models

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
