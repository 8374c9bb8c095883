"""kafkapipe run CONFIG."""

import logging
from pathlib import Path

import click

from .context import settings


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
def run(config: Path) -> int:
    """Run the collector and the pipelines of CONFIG in one process.

    SIGTERM and Ctrl-C drain: nothing more is taken, what is under way is finished, files are published and
    offsets committed. A second signal ends at once, with 1; the next start goes on where the commits end.
    """
    from ..config import load  # noqa: PLC0415 - the help needs no models

    loaded = load(config, bootstrap=settings().bootstrap)
    import uvloop  # noqa: PLC0415 - a wrong file needs no server

    from ..app import serve  # noqa: PLC0415

    level = logging.DEBUG if settings().debug else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return uvloop.run(serve(loaded))
