"""All clients in one interpreter: a million operations leave nothing, it may end or fork at any moment."""

import time

import pytest

MILLION = """
    import asyncio, gc, sys, time
    import kafkapipe as kp
    from kafkapipe import _core

    EACH = 20_000
    HEADERS = [[("이름", "홍길동"), ("none", None)]] * EACH
    KEYS = [str(n) for n in range(EACH)]

    async def operations(producer, consumer, topic):
        '''Sends EACH records with key and headers, looks at each result, reads and looks at each record.'''
        done = 0
        result = await producer.send_many(topic, KEYS, keys=KEYS, headers=HEADERS)
        for outcome in result:
            done += outcome.offset >= 0
        while done < 2 * EACH:
            batch = await anext(consumer)
            for record in batch:
                done += record.key == record.value and len(record.headers) == 2
            await batch.commit()
        table = kp.read(topic, start={0: outcome.offset - 9}, columns=["key", "headers"], bootstrap=BOOTSTRAP)
        done += len(table.head(20))
        return done

    async def main():
        global BOOTSTRAP
        with kp.MockCluster() as cluster:
            BOOTSTRAP = cluster.bootstrap
            cluster.create_topic("t", 1)
            reader = kp.Consumer(BOOTSTRAP, group="g", max_records=5000)
            async with kp.Producer(BOOTSTRAP, linger_ms=0) as producer, reader as consumer:
                await consumer.assign([("t", 0)])
                total = 0
                while total < 100_000:
                    total += await operations(producer, consumer, "t")
                gc.collect()
                before = _core.memory_live(), sys.getallocatedblocks()
                total = 0
                while total < 1_000_000:
                    total += await operations(producer, consumer, "t")
                gc.collect()
                after = _core.memory_live(), sys.getallocatedblocks()
        print(total, before, after)
        assert after[0] <= before[0] + 2, (before, after)  # a commit may be under way
        assert after[1] - before[1] < 500, (before, after)

    asyncio.run(main())
    gc.collect()
    assert _core.memory_live() == 0, _core.memory_live()
"""


def test_a_million_operations_leave_nothing(script):
    script(MILLION)


RUNNING = """
    import asyncio, os, sys
    import kafkapipe as kp

    cluster = kp.MockCluster()
    cluster.create_topic("t", 2)
    table = kp.read("t", bootstrap=cluster.bootstrap)

    async def main():
        global pipeline, producer, consumer, admin, batch, futures, tasks
        K = {"bootstrap.servers": cluster.bootstrap}
        producer = kp.Producer(cluster.bootstrap)
        await producer.start()
        await producer.send_many("t", ["빨강"] * 1000)
        pipeline = kp.Pipeline(topics=["t"], sink=kp.Null(), kafka=K)
        await pipeline.start()
        consumer = kp.Consumer(cluster.bootstrap, group="g")
        await consumer.start()
        await consumer.assign([("t", 0), ("t", 1)])
        batch = await anext(consumer)
        lost = kp.Admin("127.0.0.1:1")
        await lost.start()
        admin = kp.Admin(cluster.bootstrap)
        await admin.start()
        tasks = [asyncio.ensure_future(each) for each in (
            consumer.watermarks([("t", 0)]), anext(consumer), batch.commit(), producer.flush(),
            admin.list_topics(), lost.list_topics(timeout=60), pipeline.drained(),
        )]
        futures = [producer.try_send("t", "x") for _ in range(1000)]
        await asyncio.sleep(0.3)
"""

ENDS = {
    "the loop ends": ("", 0),
    "sys.exit": ("    sys.exit(7)", 7),
    "an exception": ("    raise RuntimeError('일부러')", 1),
    "os._exit": ("    os._exit(7)", 7),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_interpreter_ends_with_everything_running(script, end):
    statement, code = ENDS[end]
    start = time.monotonic()
    done = script(f"{RUNNING}\n    {statement}\n\n    asyncio.run(main())", "-W", "ignore", check=False)
    assert done.returncode == code, done.stderr
    assert "Fatal" not in done.stderr
    assert time.monotonic() - start < 15


def test_a_child_of_a_fork_is_told_by_each_client_and_the_parent_goes_on(script):
    done = script(
        RUNNING
        + """
        child = os.fork()
        if child == 0:
            refused = 0
            for use in (lambda: producer.try_send("t", "x"), lambda: consumer.assignment,
                        lambda: admin._running().metadata(None, 100), lambda: pipeline.snapshot()):
                try:
                    use()
                except kp.KafkaPipeError as error:
                    refused += "before a fork" in error.message and "make a new one" in error.message
            alive = batch[0].value.decode() == "빨강"  # what was read is only memory
            rows = len(table)  # and a table that was not read yet makes a client of its own
            os._exit(refused * 10 + alive + (rows == 0))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
        await asyncio.gather(*futures)
        print((await producer.send("t", "after")).offset >= 0, pipeline.snapshot()["state"])

    asyncio.run(main())
    """,
        "-W", "ignore",
    )  # fmt: skip
    assert done.stdout == "True running\n"
