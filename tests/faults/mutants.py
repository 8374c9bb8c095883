"""Deliberate bugs, one after the other in a copy of the tree: is each of them found by the test that should?

`make mutants` builds the C core of the copy, sees the named tests pass, then for each mutant replaces a text,
builds again and sees its test fail. It prints a table and ends with 1 when a mutant lives, or its text is
no longer in the sources: then either the mutant or the code it spoils has moved, and someone must look.

    python tests/faults/mutants.py [NAME]...
"""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPY = ROOT / "build" / "mutants"
LIMIT_S = 100


@dataclass(frozen=True)
class Mutant:
    """``old`` becomes ``new`` in ``file``; ``test`` of the program ``program`` must notice."""

    name: str
    file: str
    old: str
    new: str
    program: str
    test: str


MUTANTS = (
    Mutant(
        "commit before publish",
        "csrc/flow/worker_commit.c",
        "offset = part->committed >= 0 ? part->committed : part->intent.start;",
        "offset = part->intent.end;",
        "pipeline_recover",
        "test_nothing_is_committed_before_it_is_published",
    ),
    Mutant(
        "length unchecked",
        "csrc/stores/webhdfs_put.c",
        "(uint64_t)result.length != op->body.length",
        "(uint64_t)result.length > (uint64_t)INT64_MAX",
        "webhdfs",
        "test_put_that_arrived_in_part_is_not_done",
    ),
    Mutant(
        "rename unchecked",
        "csrc/stores/webhdfs.c",
        "    if (verdict->meaning == WEBHDFS_DONE) {\n        webhdfs_finish_as(op, KP_STORE_DONE);\n"
        "    } else if (verdict->meaning == WEBHDFS_EXISTS) {",
        "    if (verdict->meaning == WEBHDFS_DONE || verdict->meaning == WEBHDFS_FALSE) {\n"
        "        webhdfs_finish_as(op, KP_STORE_DONE);\n    } else if (verdict->meaning == WEBHDFS_EXISTS) {",
        "webhdfs",
        "test_rename_reads_the_boolean_of_httpfs",
    ),
    Mutant(
        "409 an error",
        "csrc/sinks/elasticsearch_reply.c",
        "if (status == 409) {",
        "if (status == 599) {",
        "elasticsearch_reply",
        "test_items",
    ),
    Mutant(
        "epoch ignored",
        "csrc/flow/worker_commit.c",
        "    part->gone = true;\n    if (self->sink->ops->end) {",
        "    if (self->sink->ops->end) {",
        "pipeline_rebalance",
        "test_a_member_that_lost_its_partitions",
    ),
    Mutant(
        "offset stored on receipt",
        "csrc/flow/worker_commit.c",
        "    } else if (plain_too && plain_commit_due(self, part)) {\n"
        "        offset = kp_checkpoint_position(&part->cp);",
        "    } else if (plain_too && kp_checkpoint_delivered(&part->cp) > part->committed && self) {\n"
        "        offset = kp_checkpoint_delivered(&part->cp);",
        "pipeline_faults",
        "test_a_sink_that_is_down_pauses_and_a_stop_ends_in_time",
    ),
    Mutant(
        "retry list dropped",
        "csrc/flow/worker_settle.c",
        "    push(&self->again_end, batch);\n    self->counters.retries",
        "    kp_batch_free(batch);\n    self->counters.retries",
        "pipeline_dead",
        "test_what_elasticsearch_refuses",
    ),
    Mutant(
        "intent not read at assignment",
        "csrc/flow/worker_commit.c",
        "    if (metadata.length == 0) {",
        "    if (metadata.length < 100000) {",
        "pipeline_recover",
        "test_an_intent_is_published_and_reading_goes_on_behind_it",
    ),
    Mutant(
        "dead letter settled before its ack",
        "csrc/flow/worker_settle.c",
        "        rec->handle = NULL; /* moved;",
        "        settle(self, rec->slot, rec->offset, rec->offset);\n        rec->handle = NULL; /* moved;",
        "pipeline_dead",
        "test_a_dead_letter_is_settled_by_its_ack",
    ),
    Mutant(
        "position counted",
        "csrc/core/checkpoint.c",
        "cp->position = cp->runs[0].last + 1;",
        "cp->position += cp->runs[0].last + 1 - cp->runs[0].first;",
        "checkpoint",
        "test_gaps_belong_to_the_run",
    ),
    Mutant(
        "intent beyond what is settled",
        "csrc/sinks/files_manifest.c",
        "!segment->unfinished && segment->end <= end_max &&",
        "!segment->unfinished && end_max >= 0 &&",
        "files",
        "test_nothing_beyond_what_is_settled_is_intended",
    ),
    Mutant(
        "taken name replaced",
        "csrc/sinks/files_publish.c",
        "KP_STORE_EXISTS) {\n        file->number++;\n        item_try(file);",
        "KP_STORE_EXISTS) {\n        item_done(file, NULL);",
        "files_publish",
        "test_a_taken_name_is_never_replaced",
    ),
    Mutant(
        "others' temporary files removed",
        "csrc/sinks/files_publish.c",
        "return strncmp(name, part->temp_prefix.data, prefix) == 0 &&",
        "return",
        "files_publish",
        "test_only_stale_files_of_this_partition_are_removed",
    ),
    Mutant(
        "answers not counted",
        "csrc/sinks/elasticsearch_reply.c",
        "kp_json_count(items) == pending",
        "kp_json_count(items) <= pending",
        "elasticsearch_reply",
        "test_answers_that_tell_nothing",
    ),
    Mutant(
        "lost answer taken for delivered",
        "csrc/sinks/elasticsearch.c",
        "kp_batch_judge_all(batch, KP_AGAIN, &reply->err);",
        "kp_batch_judge_all(batch, KP_DELIVERED, NULL);",
        "elasticsearch",
        "test_a_lost_answer_sends_all_again",
    ),
    Mutant(
        "configuration blamed on records",
        "csrc/sinks/elasticsearch_reply.c",
        "status == 404 || blames_all(item) ? BULK_STOP",
        "status == 404 || (blames_all(item) && status == 599) ? BULK_STOP",
        "elasticsearch_reply",
        "test_what_is_wrong_with_the_configuration_stops",
    ),
    Mutant(
        "closed index dead-lettered",
        "csrc/sinks/elasticsearch_reply.c",
        "status < 400 || heals(item)) {",
        "status < 400 || (heals(item) && status == 599)) {",
        "elasticsearch_reply",
        "test_what_an_operator_can_heal_is_tried_again",
    ),
    Mutant(
        "version left out",
        "csrc/sinks/elasticsearch_document.c",
        "if (self->offset_version) {",
        "if (self->offset_version && !self->id) {",
        "elasticsearch_document",
        "test_ids_routing_and_versions",
    ),
    Mutant(
        "dead node asked on",
        "csrc/sinks/elasticsearch_nodes.c",
        "failed->rest_until_ms = now_ms + rest_ms(failed->failures);",
        "failed->rest_until_ms = now_ms;",
        "elasticsearch_document",
        "test_a_failed_node_rests_longer_each_time",
    ),
    Mutant(
        "bytes in flight unbounded",
        "csrc/sinks/elasticsearch.c",
        "self->in_flight_bytes + batch->bytes > self->in_flight_bytes_max",
        "self->in_flight_bytes + batch->bytes == 0",
        "elasticsearch",
        "test_bytes_under_way_are_bounded",
    ),
    Mutant(
        "culprit not looked for",
        "csrc/sinks/elasticsearch.c",
        "        send_fewer(self, batch);",
        "        if (batch->count == 0) {\n            send_fewer(self, batch);\n        }",
        "elasticsearch",
        "test_a_record_that_fails_its_request_is_found",
    ),
)


def lay_out() -> None:
    """Bring the copy up to date; files that are the same keep their times, so that little is built again."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "csrc", "tests/c"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    names = {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
    for old in [each for each in COPY.rglob("*.[ch]") if "build" not in each.relative_to(COPY).parts]:
        if str(old.relative_to(COPY)) not in names:
            old.unlink()
    for name in names:
        target = COPY / name
        if not target.exists() or target.read_bytes() != (ROOT / name).read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)


def run(program: str, test: str) -> tuple[bool, str]:
    """Build a C test program of the copy and run one test: whether it came to run, and its output."""
    file = COPY / "build" / f"test_{program}"
    make = ["make", "-s", "-j2", "-C", str(COPY / "tests" / "c"), f"OUT={file.parent}", str(file)]
    built = subprocess.run(make, capture_output=True, text=True, check=False)
    if built.returncode:
        return False, built.stderr
    ran = subprocess.run(
        ["timeout", "--kill-after=5", str(LIMIT_S), str(file)],
        cwd=COPY, env={**os.environ, "KP_TEST": test}, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    return True, ran.stdout


def passed(output: str, test: str) -> bool:
    """Whether the test ran and passed."""
    return re.search(rf"\[ +OK +\] {test}\b", output) is not None


def failed(output: str, test: str) -> bool:
    """Whether the test ran and did not pass: by an assertion, a sanitizer, or by taking its time."""
    return re.search(rf"\[ RUN +\] {test}\b", output) is not None and not passed(output, test)


def spoil(mutant: Mutant) -> str | None:
    """Put the bug in; the sound text, or None when there is nothing to replace, or more than one place."""
    file = COPY / mutant.file
    sound = file.read_text()
    if sound.count(mutant.old) != 1:
        return None
    file.write_text(sound.replace(mutant.old, mutant.new))
    return sound


def verdict(mutant: Mutant) -> str:
    """What became of one mutant: "killed", or why it counts as alive."""
    built, output = run(mutant.program, mutant.test)
    if not built or not passed(output, mutant.test):
        return f"its test does not pass on the sound tree: {output[-400:]}"
    sound = spoil(mutant)
    if sound is None:
        return "STALE: its text is not in the file exactly once"
    try:
        built, output = run(mutant.program, mutant.test)
    finally:
        (COPY / mutant.file).write_text(sound)
    if not built:
        return f"the mutant does not build: {output[-400:]}"
    return "killed" if failed(output, mutant.test) else "ALIVE"


def main(names: list[str]) -> int:
    """Run the mutants of these names, by default all of them."""
    chosen = [each for each in MUTANTS if not names or each.name in names]
    lay_out()
    alive = 0
    print(f"{'mutant':36} {'verdict':9} {'test':80} seconds")
    for mutant in chosen:
        start = time.monotonic()
        what = verdict(mutant)
        alive += what != "killed"
        test = f"test_{mutant.program}: {mutant.test}"
        print(f"{mutant.name:36} {what:9} {test:80} {time.monotonic() - start:.0f}", flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} mutants killed")
    return 1 if alive or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
