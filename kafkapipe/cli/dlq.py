"""kafkapipe dlq list|show|redrive."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from ..errors import ConfigError
from .cluster import json_option, show_table
from .context import in_loop, settings
from .replay import shown, until_interrupted

if TYPE_CHECKING:
    from ..dead_letters import Choice, DeadLetter, RedriveResult

_SHORT = 200  # characters of a value


def _places(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> tuple[tuple[int | None, int], ...]:
    """``17`` is that offset of any partition, ``0:17`` of this one."""
    found: list[tuple[int | None, int]] = []
    for text in value:
        partition, colon, offset = text.rpartition(":")
        if not offset.isdecimal() or (colon and not partition.isdecimal()):
            raise click.BadParameter(f"must be OFFSET or PARTITION:OFFSET of a letter, not {text!r}")
        found.append((int(partition) if colon else None, int(offset)))
    return tuple(found)


def _choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose letters."""
    for option in (
        click.option("--offset", "letters", multiple=True, callback=_places, metavar="[P:]N",
                     help="That letter; may be given again."),
        click.option("--to", "end", default="latest", metavar="X", help="The same; not this one any more."),
        click.option("--from", "start", default="earliest", metavar="X",
                     help="Letter's offset, record's time, earliest, latest, or -1h."),
        click.option("--reason", metavar="TEXT", help="Text in the error's class or message."),
    ):  # fmt: skip
        command = option(command)
    return command


@dataclass
class _Source:
    topics: list[str]
    kafka: Mapping[str, str]


def _source(text: str, pipeline: str | None) -> _Source:
    """The topics to look at: that of a name, or those of a configuration."""
    from ..config import DeadLetterConfig, load  # noqa: PLC0415 - the help needs no models

    if not Path(text).is_file():
        return _Source([text], {"bootstrap.servers": settings().cluster})
    config = load(text, bootstrap=settings().bootstrap)
    if pipeline is not None and pipeline not in config.pipelines:
        raise ConfigError(f'{text}: there is no pipeline "{pipeline}"', op="dlq")
    topics = {
        each.dead_letter.topic
        for name, each in config.pipelines.items()
        if isinstance(each.dead_letter, DeadLetterConfig) and pipeline in (None, name)
    }
    if not topics:
        raise ConfigError(f"{text}: no pipeline there has a dead_letter topic", op="dlq")
    return _Source(sorted(topics), config.kafka)


def _letters(source: _Source, choice: "Choice", *, content: bool) -> Iterator[tuple[str, "DeadLetter"]]:
    from ..dead_letters import scan  # noqa: PLC0415

    for topic in source.topics:
        for letter in scan(topic, choice, source.kafka, content=content):
            yield topic, letter


@click.group()
def dlq() -> None:
    """List, show and send again what could not be delivered."""


@dlq.command("list")
@click.argument("source", metavar="CONFIG|TOPIC")
@click.argument("pipeline", required=False)
@_choosing
@json_option
def list_(*, source: str, pipeline: str | None, as_json: bool, **chosen: Any) -> None:
    """Count the dead letters by reason and by where they come from."""
    from ..dead_letters import Choice  # noqa: PLC0415

    choice = Choice(**chosen, pipeline=pipeline)
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for topic, letter in _letters(_source(source, pipeline), choice, content=False):
        key = (topic, letter.pipeline, letter.error, *letter.origin[:2])
        group = groups.setdefault(key, {"count": 0, "first": None, "last": None, "example": letter.message})
        group["count"] += 1
        times = [each for each in (group["first"], group["last"], letter.timestamp) if each is not None]
        group["first"], group["last"] = min(times, default=None), max(times, default=None)
    names = ("dead_letters", "pipeline", "reason", "topic", "partition")
    rows = [dict(zip(names, key, strict=True)) | groups[key] for key in sorted(groups)]
    if as_json:
        click.echo(json.dumps(rows, default=_text, indent=2, ensure_ascii=False))
    elif not rows:
        click.echo("there are no dead letters")
    else:
        columns = ("pipeline", "reason", "topic", "partition", "count", "first", "last", "example")
        cells = [[_cell(row[name]) for name in columns] for row in rows]
        show_table(columns, cells, numbers=("partition", "count"))


def _text(value: object) -> str:
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else str(value)


def _cell(value: object) -> object:
    return _short(_text(value)) if isinstance(value, str | datetime) else value


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


@dlq.command()
@click.argument("source", metavar="CONFIG|TOPIC")
@click.argument("pipeline", required=False)
@_choosing
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@json_option
def show(*, source: str, pipeline: str | None, limit: int, as_json: bool, **chosen: Any) -> None:
    """Show dead letters: where each comes from, why it is one, and what is in it."""
    from ..dead_letters import Choice  # noqa: PLC0415

    choice = Choice(**chosen, pipeline=pipeline)
    found: list[tuple[str, DeadLetter]] = []
    for topic, letter in _letters(_source(source, pipeline), choice, content=True):
        if len(found) == limit:
            click.echo(f"kafkapipe: there are more than {limit}: --limit shows more", err=True)
            break
        found.append((topic, letter))
    if as_json:
        click.echo(json.dumps([_document(*each) for each in found], indent=2, ensure_ascii=False))
    elif not found:
        click.echo("there are no such dead letters")
    for each in () if as_json else found:
        _show(*each)


def _document(topic: str, letter: "DeadLetter") -> dict[str, Any]:
    return {
        "dead_letters": topic, "partition": letter.partition, "offset": letter.offset,
        "timestamp": None if letter.timestamp is None else _text(letter.timestamp),
        "origin": dict(zip(("topic", "partition", "offset"), letter.origin, strict=True)),
        "pipeline": letter.pipeline, "stage": letter.stage, "reason": letter.error, "message": letter.message,
        "key": _content(letter.key), "value": _content(letter.value),
        "headers": [[name, _content(value)] for name, value in letter.headers],
    }  # fmt: skip


def _content(value: bytes | None) -> str | dict[str, str] | None:
    """Text where it is some; else, so that nothing is lost, base64."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value or b"").decode()}


def _show(topic: str, letter: "DeadLetter") -> None:
    console = Console(highlight=False, soft_wrap=True)
    source, partition, offset = letter.origin
    where = f"{topic} {letter.partition}:{letter.offset}  from {source} [{partition}] offset {offset}"
    lines = [
        f"{where}  {'' if letter.timestamp is None else _text(letter.timestamp)}",
        f"  {letter.pipeline} {letter.stage}: {letter.error}: {letter.message}",
        f"  key: {_line(letter.key)}",
        f"  value: {_line(letter.value)}",
        *(f"  {name}: {_line(value)}" for name, value in letter.headers),
    ]
    for line in lines:
        console.print(_printable(line), markup=False)


def _line(value: bytes | None) -> str:
    if value is None:
        return "(none)"
    size = f" ({len(value)} bytes)" if len(value) > _SHORT else ""
    return _short(value.decode(errors="backslashreplace")) + size


def _printable(text: str) -> str:
    """One line, whatever is in it."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


@dlq.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("pipeline")
@_choosing
@json_option
@in_loop
async def redrive(*, config: Path, pipeline: str, as_json: bool, **chosen: Any) -> int:
    """Send PIPELINE's dead letters, all or those chosen, through it again, and say what became of each.

    Each goes as the record that it was, so its document has the id of the first time; files are new ones,
    with .redrive-DATE-TIME in their names. One that is rejected again is a new dead letter. What was
    interrupted goes on with the same command; it sends no letter twice, but those that were rejected again.
    """
    from ..config import load  # noqa: PLC0415 - the help needs no models
    from ..dead_letters import Choice  # noqa: PLC0415
    from ..dead_letters import redrive as run  # noqa: PLC0415

    loaded = load(config, bootstrap=settings().bootstrap)
    with shown(pipeline) as show:
        result = await until_interrupted(run(loaded, pipeline, Choice(**chosen), on_progress=show))
    if as_json:
        click.echo(json.dumps(asdict(result), indent=2, ensure_ascii=False))
    else:
        _tell(result)
    return 0 if result.finished and not result.count("rejected") else 1


def _tell(result: "RedriveResult") -> None:
    for each in result.letters:
        topic, partition, offset = each.origin
        why = f": {each.error}: {_short(each.message or '')}" if each.outcome == "rejected" else ""
        where = f"{result.topic} {each.partition}:{each.offset}  from {topic} [{partition}] offset {offset}"
        click.echo(_printable(f"{where}  {each.outcome}{why}"))
    outcomes = ("delivered", "already there", "rejected", "undone")
    counts = [f"{result.count(each)} {each}" for each in outcomes if result.count(each)]
    before = f"; {result.before} were sent before by this command" if result.before else ""
    end = "" if result.finished else "; interrupted: the same command goes on"
    click.echo(f"{result.pipeline}: {', '.join(counts) or 'no letters to send'}{before}{end}")
