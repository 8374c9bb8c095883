"""kafkapipe index create."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cluster import json_option, show_table
from .context import in_loop, settings

if TYPE_CHECKING:
    from ..indexes import IndexPlan, Made


@click.group()
def index() -> None:
    """The indexes of pipelines into Elasticsearch or OpenSearch."""


@index.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("pipeline")
@click.option("--dry-run", is_flag=True, help="Only show what would be made.")
@click.option(
    "--sample", type=click.IntRange(0, 100_000), default=500, show_default=True,
    help="How many of each topic's latest records to look at.",
)  # fmt: skip
@click.option("--shards", type=click.IntRange(1, 1024), default=1, show_default=True, help="Primary shards.")
@click.option(
    "--replicas", type=click.IntRange(0, 100), help="Copies of each shard (default: 1, of one node: 0)."
)
@json_option
@in_loop
async def create(
    *,
    config: Path,
    pipeline: str,
    dry_run: bool,
    sample: int,
    shards: int,
    replicas: int | None,
    as_json: bool,
) -> int:
    """Make the index of PIPELINE in CONFIG, with a mapping for its events.

    The types come from the event templates of the collector's routes and from a sample of the topics. An
    index whose name is a template gets an index template, and so does a data stream. What is there already
    stays as it is. Exit code 1: what is there has other types.
    """
    from ..config import load  # noqa: PLC0415 - the help needs no models

    loaded = load(config, bootstrap=settings().bootstrap)
    from .. import indexes  # noqa: PLC0415 - a wrong file needs no clients

    _, sink = indexes.search_pipeline(loaded, pipeline)
    plan = await indexes.plan(loaded, pipeline, records=sample)
    made = await indexes.create(sink, plan, shards=shards, replicas=replicas, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(_document(plan, made), indent=2, ensure_ascii=False))
    else:
        _show(plan, made)
    return int(any(each.differs for each in made))


def _document(plan: "IndexPlan", made: "list[Made]") -> dict[str, Any]:
    return {
        "sampled": plan.sampled,
        "fields": [{"path": one.path, "mapping": one.mapping, "why": one.why} for one in plan.fields],
        "made": [
            {"path": one.target.path, "state": one.state, "body": one.body, "differs": one.differs}
            for one in made
        ],
    }


def _show(plan: "IndexPlan", made: "list[Made]") -> None:
    if plan.fields:
        rows = [(one.path, one.mapping["type"], one.why) for one in plan.fields]
        show_table(("field", "type", "because"), rows)
    else:
        click.echo("nothing tells of fields: no event template, and no record in the topic that is an object")
    for one in made:
        if one.state == "planned":
            click.echo(f"PUT {one.target.path}")
            click.echo(json.dumps(one.body, indent=2, ensure_ascii=False))
        elif one.state == "created":
            click.echo(f"{one.target}: created")
        elif one.differs:
            click.echo(f"{one.target}: is there already, with other types: {'; '.join(one.differs)}")
        else:
            click.echo(f"{one.target}: is there already, with these types")
