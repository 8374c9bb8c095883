"""Who may know whom: the folders of csrc/ and kafkapipe/ stand in the order of docs/architecture.md.

The check reads ``#include`` and ``import`` lines and gives a sentence for each arrow that runs the wrong way.
"""

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# ---- C ----

# folder: what its files may include besides its own; a name with ".h" is one header, others are folders
C_LAYERS = {
    "core": set(),
    "io": {"core"},
    "stores": {"core", "io/http.h", "io/json.h", "io/url.h"},
    "sinks": {"core", "io/http.h", "io/json.h", "io/url.h", "io/gzip.h", "io/zstd.h", "stores"},
    "transforms": {"core", "io/json.h"},
    "flow": {"core", "io", "stores", "sinks", "transforms"},
    "python": {"core", "io", "flow"},
}
# folders whose parts do not know each other (elasticsearch_reply.h is of elasticsearch), and what they share
C_SIBLINGS = {"io": "url", "stores": "store", "sinks": "sink"}
# foreign header: the folders where any file may include it; of io/, one file may
FOREIGN = {
    "librdkafka/rdkafka.h": {"flow"},
    "librdkafka/rdkafka_mock.h": {"flow"},
    "curl/curl.h": set(),
    "cJSON.h": set(),
    "zlib.h": set(),
    "zstd.h": set(),
    "Python.h": {"python"},
    "structmember.h": {"python"},
}
LIBC = re.compile(
    r"(assert|ctype|errno|float|inttypes|limits|locale|malloc|math|setjmp|signal|stdarg|stdatomic|stdbool|stddef|stdint|"
    r"stdio|stdlib|string|time|arpa/inet|dirent|fcntl|netdb|netinet/in|poll|pthread|strings|sys/\w+|unistd|"
    r"emmintrin)\.h"
)

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)


def family(name: str) -> str:
    return Path(name).stem.split("_")[0]


def quoted_problem(folder: str, file: Path, header: str) -> str | None:
    target, _, name = header.rpartition("/")
    if target not in C_LAYERS:
        return "its folder is no layer: write the path from csrc/"
    if target != folder:
        allowed = C_LAYERS[folder]
        return None if target in allowed or header in allowed else f"{folder}/ must not know it"
    if folder in C_SIBLINGS and family(name) not in (family(file.name), C_SIBLINGS[folder]):
        return f"the parts of {folder}/ must not know each other"
    return None


def foreign_problem(folder: str, header: str) -> str | None:
    if LIBC.fullmatch(header):
        return None
    if header not in FOREIGN:
        return "it is neither the C library's nor a known foreign header"
    homes = FOREIGN[header]
    if folder in homes or (folder == "io" and "python" not in homes):
        return None
    return f"{folder}/ must not include this library"


def c_problems(root: Path) -> Iterator[str]:
    users: dict[str, set[str]] = {}
    for file in sorted((root / "csrc").rglob("*.[ch]")):
        where = file.relative_to(root).as_posix()
        folder = file.parent.relative_to(root / "csrc").as_posix()
        if folder not in C_LAYERS:
            yield f"{where}: the folder is no layer"
            continue
        for kind, header in INCLUDE.findall(file.read_text()):
            quoted = kind == '"'
            problem = quoted_problem(folder, file, header) if quoted else foreign_problem(folder, header)
            if problem:
                yield f"{where} includes {header}: {problem}"
            if not quoted and folder == "io" and header in FOREIGN:
                users.setdefault(header, set()).add(where)
    for header, files in users.items():
        if len(files) > 1:
            yield f"{' and '.join(sorted(files))} include {header}: only one file of io/ may"


# ---- Python ----

# modules of kafkapipe/ itself that put the parts together; all others there are the library
APPLICATION = {"app", "check", "demo", "_evidence", "_trail"}
PYTHON_LAYERS = {
    "library": set(),
    "stack": {"library"},
    "web": {"library"},
    "console": {"library", "web"},
    "application": {"library", "stack", "web", "console"},
    "cli": {"library", "stack", "web", "console", "application"},
    "__main__": {"cli"},
    "__init__": {"library", "web"},  # shows the public names; each is imported when it is used
}


def python_layer(module: str) -> str:
    """The layer of a dotted name below the package, "" for the package itself."""
    first = module.partition(".")[0]
    if first in APPLICATION:
        return "application"
    return first if first in PYTHON_LAYERS else "library"


def imported(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """Dotted names, below kafkapipe, that a module of this package (below kafkapipe) imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = ["kafkapipe", *package]
            start = parts[: len(parts) - node.level + 1] if node.level else []
            base = start + (node.module.split(".") if node.module else [])
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        yield from (".".join(name[1:]) for name in names if name[0] == "kafkapipe")


def python_problems(root: Path) -> Iterator[str]:
    for file in sorted((root / "kafkapipe").rglob("*.py")):
        where = file.relative_to(root).as_posix()
        inside = file.relative_to(root / "kafkapipe")
        folders = list(inside.parts[:-1])
        if folders and folders[0] not in PYTHON_LAYERS:
            yield f"{where}: the folder is no layer"
            continue
        layer = python_layer(".".join([*folders, inside.stem]))
        for module in sorted(set(imported(ast.parse(file.read_text()), folders))):
            target = python_layer(module)
            if target != layer and target not in PYTHON_LAYERS[layer]:
                yield f"{where} imports kafkapipe.{module}: {layer} must not know {target}"


def problems(root: Path) -> list[str]:
    """A sentence for each arrow below root that runs the wrong way."""
    return [*c_problems(root), *python_problems(root)]


# ---- tests ----


def test_no_arrow_runs_the_wrong_way():
    assert problems(ROOT) == []


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    root = tmp_path_factory.mktemp("layers")
    for folder, pattern in (("csrc", "*.[ch]"), ("kafkapipe", "*.py")):
        for file in (ROOT / folder).rglob(pattern):
            copy = root / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return root


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("csrc/core/buf.c", '#include "io/json.h"', "core/ must not know it"),
        ("csrc/core/json_scan.h", "#include <cJSON.h>", "core/ must not include this library"),
        (
            "csrc/core/mem.c",
            "  #  include <jemalloc.h>",
            "neither the C library's nor a known foreign header",
        ),
        ("csrc/core/mem.c", '#include "error.h"', "write the path from csrc/"),
        ("csrc/core/mem.c", "#include <Python.h>", "core/ must not include this library"),
        ("csrc/io/http.c", "#include <cJSON.h>", "csrc/io/http.c and csrc/io/json.c include cJSON.h"),
        ("csrc/io/http.c", '#include "io/kafka.h"', "the parts of io/ must not know each other"),
        ("csrc/io/json.c", '#include "flow/producer.h"', "io/ must not know it"),
        ("csrc/io/json.c", "#include <Python.h>", "io/ must not include this library"),
        ("csrc/stores/local.c", '#include "io/kafka.h"', "stores/ must not know it"),
        (
            "csrc/stores/local.c",
            '#include "stores/webhdfs.h"',
            "the parts of stores/ must not know each other",
        ),
        ("csrc/sinks/elasticsearch.c", '#include "io/kafka.h"', "sinks/ must not know it"),
        (
            "csrc/sinks/elasticsearch.c",
            "#include <librdkafka/rdkafka.h>",
            "sinks/ must not include this library",
        ),
        (
            "csrc/sinks/elasticsearch.c",
            '#include "sinks/files.h"',
            "the parts of sinks/ must not know each other",
        ),
        ("csrc/sinks/files.c", '#include "flow/worker.h"', "sinks/ must not know it"),
        ("csrc/flow/worker.c", '#include "python/module.h"', "flow/ must not know it"),
        ("csrc/flow/worker.c", "#include <curl/curl.h>", "flow/ must not include this library"),
        (
            "csrc/python/pipeline.c",
            "#include <librdkafka/rdkafka.h>",
            "python/ must not include this library",
        ),
        ("csrc/python/pipeline.c", '#include "sinks/sink.h"', "python/ must not know it"),
        ("csrc/helpers/new.c", "", "the folder is no layer"),
        ("kafkapipe/errors.py", "from .web import server", "library must not know web"),
        ("kafkapipe/config.py", "import kafkapipe.cli.run", "library must not know cli"),
        ("kafkapipe/producer.py", "def late():\n    from . import app", "library must not know application"),
        ("kafkapipe/app.py", "from kafkapipe.cli import main", "application must not know cli"),
        ("kafkapipe/web/routes.py", "from ..stack import Stack", "web must not know stack"),
        ("kafkapipe/web/page.py", "from .. import demo", "web must not know application"),
        ("kafkapipe/stack/state.py", "from ..app import App", "stack must not know application"),
        ("kafkapipe/helpers/new.py", "", "the folder is no layer"),
    ],
)
def test_an_arrow_that_runs_the_wrong_way_is_told(copied, file, line, problem):
    path = copied / file
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{before or ''}\n{line}\n")
    found = problems(copied)
    if before is None:
        shutil.rmtree(path.parent)
    else:
        path.write_text(before)
    assert len(found) == 1
    assert file in found[0]
    assert problem in found[0]
