"""The benchmarks in a dose that takes seconds: each still runs, a run that brought something else is void."""

import copy
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from bench import cluster, idle, pipeline
from bench.measure import ROOT, STANDIN, Helper, Standin, build, python

RECORDS = 3000


@pytest.fixture(scope="module")
def filled():
    with Helper(*python("bench.cluster", str(RECORDS), "lz4", "2")) as helper:
        yield json.loads(helper.line)


def test_each_sink_gets_every_record(filled):
    sinks = [pipeline.into_null, pipeline.into_files, pipeline.into_bulk, pipeline.into_hdfs]
    with ThreadPoolExecutor() as pool:  # each waits for its group most of the time
        runs = list(pool.map(lambda sink: sink(filled), sinks))
    assert all(run["rate"] > 0 and run["cpu"] > 0 and run["peak_mib"] > 1 for run in runs)
    assert [run.get("files") for run in runs] == [None, 2, None, 2]
    assert pipeline.told("null", runs[:1]).startswith("null: ")


def test_the_peers_do_the_same_work(filled):
    pytest.importorskip("elasticsearch")
    assert pipeline.peer_into_bulk(filled)["rate"] > 0
    assert pipeline.curl_into_hdfs(filled)["rate"] > 0


def test_a_run_that_brought_something_else_is_void(filled):
    wrong = copy.deepcopy(filled)
    wrong["bulk"]["checksum"] = "0" * 16
    with pytest.raises(SystemExit, match="void"):
        pipeline.into_bulk(wrong)


def test_kafkapipe_run_at_rest(capfd):
    idle.main(1, RECORDS)
    said = capfd.readouterr().out
    assert said.startswith("M1 kafkapipe run, idle: ")
    assert f"after {RECORDS:,} events" in said


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}\n{}\n",
        '{"create":{}}\n',
        '{"create":{}}\n{}\n{"create":{}}\n',
        '{"create":{}}\n{}',
        '{"create":{}}\nno object\n',
        '{"delete":{"_id":"1"}}\n',
    ],
)
def test_the_standin_refuses_what_elasticsearch_refuses(body):
    with Standin() as server:
        answer = httpx.post(f"{server.url}/_bulk", content=body, trust_env=False)
        assert answer.status_code == 400
        assert server.stats()["bulk"]["records"] == 0


def test_the_standin_sees_a_changed_byte_a_lost_id_and_no_order():
    def proof(body):
        return subprocess.run(
            [STANDIN, "--sum", "bulk"], input=body.encode(), stdout=subprocess.PIPE, check=True
        ).stdout

    build()
    one, two = cluster.document(1, cluster.event(1), 3), cluster.document(2, cluster.event(2), 3)
    assert proof(one + two) == proof(two + one)
    seen = {
        proof(one + two),
        proof(one + two.replace("버튼", "버든")),
        proof(one.replace("clicks+1+0", "clicks+1+1") + two),
        proof(cluster.document(1, cluster.event(2), 3) + cluster.document(2, cluster.event(1), 3)),
        proof(one + one),
    }
    assert len(seen) == 5


def test_a_body_in_chunks_counts_like_one_with_a_length():
    body = "".join(cluster.document(number, cluster.event(number), 3) for number in range(200)).encode()
    with Standin() as server:
        pieces = (body[at : at + 977] for at in range(0, len(body), 977))
        for content in (body, pieces):
            answer = httpx.post(f"{server.url}/index/_bulk", content=content, trust_env=False).json()
            assert answer == {"errors": False, "items": [{"create": {"status": 201}}] * 200}
        assert server.stats()["bulk"]["records"] == 400


def test_an_unknown_name_is_told_from_those_that_are():
    done = subprocess.run(
        [sys.executable, "bench/run.py", "pipelines"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pipelines; there are" in done.stderr
    assert "pipeline" in done.stderr
