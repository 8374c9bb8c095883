"""The command line as a shell sees it: output, one-line errors, exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from kafkapipe.cli import main
from kafkapipe.cli.context import Settings, settings
from kafkapipe.cli.group import COMMANDS

EXAMPLE = Path(__file__).parents[2] / "examples" / "color.yaml"


def run(*arguments, env=None):
    return CliRunner().invoke(main, arguments, env=env)


def shell(*arguments):
    command = [sys.executable, "-m", "kafkapipe", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help_lists_every_command():
    result = shell("--help")
    assert result.returncode == 0
    assert all(f"  {name} " in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_debug(name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "--help" in result.output


def test_help_imports_no_server_and_no_client():
    code = "import sys; sys.argv = ['kafkapipe', '--help']\n"
    code += "from kafkapipe.cli import main\n"
    code += "try:\n    main()\nexcept SystemExit:\n    pass\n"
    code += "print(sorted({'uvicorn', 'httpx', 'pydantic', 'rich', 'yaml'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rum"], 'kafkapipe: there is no command "rum"; did you mean "run"? (see `kafkapipe --help`)'),
        (["run"], "kafkapipe: Missing argument 'CONFIG' (see `kafkapipe run --help`)"),
        (["check", "--jsn", "x"], "(see `kafkapipe check --help`)"),
        (["run", "/no/such.yaml"], "kafkapipe: /no/such.yaml: cannot be read: No such file or directory"),
        (["check", "/no/such.yaml"], "kafkapipe: /no/such.yaml: cannot be read: No such file or directory"),
        (["demo", "--json"], "kafkapipe: --json is the report of --once (see `kafkapipe demo --help`)"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, expected):
    result = run(*arguments)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert expected in result.stderr
    assert result.stdout == ""


def test_every_problem_of_a_file_is_a_line(tmp_path):
    file = tmp_path / "색.yaml"
    file.write_text("pipelines:\n  a: {topics: [t], sink: {type: hdfs, usr: x}, wokers: 3}\n")
    result = run("check", str(file))
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f'kafkapipe: {file}:2: pipelines.a.sink.usr: unknown option; did you mean "user"?',
        f'kafkapipe: {file}:2: pipelines.a.wokers: unknown option; did you mean "workers"?',
    ]


def test_no_command_shows_the_help():
    result = run()
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: kafkapipe")


@pytest.mark.parametrize("where", [["--debug", "run", "/no/such"], ["run", "/no/such", "--debug"]])
def test_a_traceback_only_with_debug(where):
    plain, debug = shell("run", "/no/such"), shell(*where)
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert "ConfigError" in debug.stderr


@pytest.fixture
def cluster(monkeypatch):
    """Runs a command line with `which`, a command that prints the cluster it would talk to."""
    import click  # noqa: PLC0415

    @click.command()
    def which():
        click.echo(settings().cluster)

    monkeypatch.setitem(COMMANDS, "which", (True, "The cluster."))
    monkeypatch.setitem(sys.modules, "kafkapipe.cli.which", type("M", (), {"which": which}))

    def ask(*arguments, env=None):
        result = run(*arguments, env={"KAFKAPIPE_BOOTSTRAP": None, **(env or {})})
        assert result.exit_code == 0, result.stderr
        return result.stdout.strip()

    return ask


def test_where_the_cluster_is(cluster):
    environment = {"KAFKAPIPE_BOOTSTRAP": "env:1"}
    assert cluster("which") == "127.0.0.1:9092"
    assert cluster("which", env=environment) == "env:1"
    assert cluster("--bootstrap", "root:2", "which", env=environment) == "root:2"
    assert cluster("which", "--bootstrap", "leaf:3", env=environment) == "leaf:3"
    assert cluster("--bootstrap", "root:2", "which", "--bootstrap", "leaf:3") == "leaf:3"


def test_settings_have_the_local_stack_as_default():
    assert Settings().cluster == "127.0.0.1:9092"
    assert Settings(bootstrap="a:1,b:2").cluster == "a:1,b:2"


def test_versions():
    text, document = run("versions"), json.loads(run("versions", "--json").stdout)
    assert {"kafkapipe", "librdkafka", "Python", "pydantic", "uvicorn"} <= document.keys()
    assert all(document.values())
    assert [line.split()[0] for line in text.stdout.splitlines()] == list(document)


def test_the_schema_knows_the_example():
    schema = json.loads(run("config", "schema").stdout)
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {"kafka", "collector", "pipelines", "management"}
    sinks = schema["$defs"]["PipelineConfig"]["properties"]["sink"]["discriminator"]["mapping"]
    assert set(sinks) == {"hdfs", "file", "elasticsearch", "null"}
    assert schema["$defs"]["FlushConfig"]["properties"]["age"]["default"] == "1s"
    assert schema["$defs"]["RotateConfig"]["properties"]["bytes"]["default"] == "128MiB"


def test_the_page_of_options_is_not_stale():
    script = Path(__file__).parents[2] / "docs" / "options.py"
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    result = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, env=environment, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m kafkapipe config schema | head -c 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("{", "")
