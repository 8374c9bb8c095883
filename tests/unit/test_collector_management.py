"""The management port: health, readiness with its reasons, and metrics that a Prometheus parser reads."""

from types import SimpleNamespace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kafkapipe.config import PipelineConfig
from kafkapipe.pipeline import Pipeline
from kafkapipe.web.management import management
from kafkapipe.web.metrics import PIPELINE_STATES
from kafkapipe.web.stats import CollectorStats


def snapshot(**changes):
    return {
        "name": "색-to-hdfs", "state": "running", "reason": None, "records_in": 30, "records_out": 20,
        "bytes_in": 3000, "bytes_out": 9007199254740993, "retries": 1, "rejected": 2, "dead_letters": 3,
        "errors": 4, "lag": 10, "in_flight_bytes": 2048, "workers": [], **changes,
    }  # fmt: skip


class State:
    def __init__(self):
        self.all = {"색-to-hdfs": snapshot(), 'quote"\n': snapshot(lag=None)}
        self.stats = CollectorStats()
        self.trouble = {}
        self.the_spool = None

    def pipelines(self):
        return self.all

    def collector_stats(self):
        return self.stats

    def spool(self):
        return self.the_spool

    async def problems(self):
        return self.trouble


@pytest.fixture
def state():
    return State()


@pytest.fixture
async def http(state):
    transport = httpx.ASGITransport(management(state))
    async with httpx.AsyncClient(transport=transport, base_url="http://m") as client:
        yield client


async def samples(http):
    text = (await http.get("/metrics")).text
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_healthz(http):
    answer = await http.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


async def test_ready_when_everything_works(http):
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "problems": {}})


async def test_not_ready_says_why(http, state):
    state.trouble = {"kafka": "no broker answers"}
    state.all["색-to-hdfs"] = snapshot(state="paused", reason="hdfs: HTTP 503 for /data: SafeModeException")
    state.all["es"] = snapshot(state="starting")
    answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "problems": {
            "kafka": "no broker answers",
            "pipeline 색-to-hdfs": "paused: hdfs: HTTP 503 for /data: SafeModeException",
            "pipeline es": "starting",
        },
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("records_in_total", 30),
        ("bytes_in_total", 3000),
        ("records_out_total", 20),
        ("bytes_out_total", 9007199254740993),
        ("retries_total", 1),
        ("rejected_total", 2),
        ("dead_letters_total", 3),
        ("errors_total", 4),
        ("lag_records", 10),
        ("in_flight_bytes", 2048),
    ],
)
async def test_each_number_of_a_pipeline(http, name, value):
    assert (await samples(http))[f"kafkapipe_pipeline_{name}", ("pipeline", "색-to-hdfs")] == pytest.approx(
        value
    )


async def test_state_is_one_among_all(http, state):
    state.all = {"p": snapshot(state="failed")}
    found = {
        key[2][1]: value
        for key, value in (await samples(http)).items()
        if key[0] == "kafkapipe_pipeline_state"
    }
    assert [state for state, value in found.items() if value] == ["failed"]
    assert len(found) == len(PIPELINE_STATES)


async def test_the_snapshot_of_a_real_pipeline(http, state):
    pipeline = Pipeline.from_config(
        "p", PipelineConfig.model_validate({"topics": ["t"], "sink": {"type": "null"}}), {}
    )
    state.all = {"p": pipeline.snapshot()}
    assert (await samples(http))["kafkapipe_pipeline_records_in_total", ("pipeline", "p")] == 0
    assert state.all["p"]["state"] in PIPELINE_STATES
    assert (await http.get("/readyz")).status_code == 503


async def test_unknown_lag_has_no_sample(http):
    assert ("kafkapipe_pipeline_lag_records", ("pipeline", 'quote"\n')) not in await samples(http)


async def test_collector_counts(http, state):
    for seconds in (0.0005, 0.001, 0.02, 60.0):
        state.stats.count("/api/select", 200, seconds)
    state.stats.count("", 404, 0.0001)
    state.stats.refuse("not found")
    state.stats.events_accepted = 4
    found = await samples(http)
    assert found["kafkapipe_collector_requests_total", ("path", "/api/select"), ("status", "200")] == 4
    assert found["kafkapipe_collector_requests_total", ("path", ""), ("status", "404")] == 1
    assert found["kafkapipe_collector_refusals_total", ("error", "not found")] == 1
    assert found[("kafkapipe_collector_events_accepted_total",)] == 4
    buckets = {
        bound: found["kafkapipe_collector_request_seconds_bucket", ("le", bound)]
        for bound in ("0.001", "0.025", "10.0", "+Inf")
    }
    assert buckets == {"0.001": 3, "0.025": 4, "10.0": 4, "+Inf": 5}
    assert found[("kafkapipe_collector_request_seconds_sum",)] == pytest.approx(60.0216)


async def test_without_a_collector(http, state):
    state.stats = None
    assert not [key for key in await samples(http) if key[0].startswith("kafkapipe_collector")]


async def test_the_spool_is_told_when_there_is_one(http, state):
    assert not [key for key in await samples(http) if key[0].startswith("kafkapipe_spool")]
    state.the_spool = SimpleNamespace(events=3, bytes=4096, age=2.5, written=7)
    found = await samples(http)
    names = ("events", "bytes", "oldest_seconds", "written_total")
    assert [found[(f"kafkapipe_spool_{name}",)] for name in names] == [3, 4096, 2.5, 7]


async def test_the_process_is_there(http):
    found = await samples(http)
    assert found[("process_resident_memory_bytes",)] > 1e6
    assert ("process_cpu_seconds_total",) in found


async def test_openmetrics_when_asked_for(http):
    answer = await http.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
