"""The clients at the edges of an interpreter's life: leaks, forks, Ctrl-C, exits with everything running."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

LOST = "127.0.0.1:1"  # nobody listens there

GROWTH = """
    import asyncio, contextlib, gc, sys
    from kafkapipe import _core, KafkaPipeError, Producer, MockCluster

    async def use(producer, rounds):
        for i in range(rounds):
            headers = [("이름", f"홍길동 {i}"), ("none", None)]
            await producer.send("t", f"빨강 {i}", key=b"k", headers=headers, partition=0)
            values = ["a", b"b", None, bytearray(b"c"), object(), "x" * 2_000_000, memoryview(b"d")]
            result = await producer.send_many("t", values, headers=[headers] * len(values))
            assert [index for index, _ in result.failed] == [4, 5] and len(list(result)) == len(values)
            with contextlib.suppress(KafkaPipeError):
                producer.try_send("t", 3)
            with contextlib.suppress(ValueError):
                producer.try_send_many("t", ["a"], keys=[])
            producer.try_send("t", str(i)).cancel()
            task = asyncio.create_task(producer.send_many("t", ["cancelled"] * 300))
            await asyncio.sleep(0)
            task.cancel()
            await producer.flush()

    async def main():
        with MockCluster() as cluster:
            cluster.create_topic("t", 1)
            async with Producer(cluster.bootstrap, linger_ms=0, queue_buffering_max_messages=100) as producer:
                await use(producer, 100)
                gc.collect()
                before = _core.memory_live(), sys.getallocatedblocks()
                await use(producer, 300)
                gc.collect()
                after = _core.memory_live(), sys.getallocatedblocks()
        assert after[0] == before[0], (before, after)
        assert after[1] - before[1] < 150, (before, after)  # not even one block in two rounds

    asyncio.run(main())
    gc.collect()
    assert _core.memory_live() == 0, _core.memory_live()
"""


def test_use_does_not_grow_memory(script):
    script(GROWTH)


def test_clients_made_and_closed_leave_nothing(script):
    script(
        """
        import asyncio, gc, os
        from kafkapipe import _core, Admin, Producer

        async def main():
            for _ in range(30):
                async with Producer("127.0.0.1:1") as producer, Admin("127.0.0.1:1"):
                    producer.try_send("t", "x").cancel()
                    await producer.close(0)
            return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0

        fds = asyncio.run(main())
        gc.collect()
        assert fds < 20, fds
        assert _core.memory_live() == 0
        """
    )


def test_failed_allocations_are_memory_errors_and_leak_nothing(script):
    done = script(
        """
        import asyncio, gc
        from kafkapipe import _core, MockCluster, Producer

        async def main():
            failures = 0
            with MockCluster() as cluster:
                async with Producer(cluster.bootstrap, linger_ms=0) as producer:
                    await producer.send("t", "connects")
                    gc.collect()
                    before = _core.memory_live()
                    for n in range(1, 40):
                        values = [bytearray(b"x")] * 100 + [object()]
                        _core.memory_fail_at(n)
                        try:
                            await producer.send_many(f"t{n}", values)
                        except MemoryError:
                            failures += 1
                        finally:
                            _core.memory_fail_at(0)
                        await producer.flush()
                    gc.collect()
                    print(failures)
                for n in range(1, 12):
                    _core.memory_fail_at(n)
                    try:
                        async with Producer(cluster.bootstrap):
                            pass
                    except MemoryError:
                        pass
                    finally:
                        _core.memory_fail_at(0)

        asyncio.run(main())
        gc.collect()
        assert _core.memory_live() == 0, _core.memory_live()
        """
    )
    assert int(done.stdout) >= 5


@pytest.mark.parametrize("client", ["Producer", "Admin"])
def test_unclosed_client_warns_and_does_not_hold_up_the_exit(script, client):
    start = time.monotonic()
    done = script(
        f"""
        import asyncio
        import kafkapipe

        async def main():
            client = kafkapipe.{client}("{LOST}")
            await client.start()
            if isinstance(client, kafkapipe.Producer):
                client.try_send("t", "x")

        asyncio.run(main())
        """,
        "-X", "dev",
    )  # fmt: skip
    assert "ResourceWarning: unclosed" in done.stderr
    assert "`async with`" in done.stderr
    assert time.monotonic() - start < 10


def test_exit_with_messages_and_tasks_under_way(script):
    done = script(
        f"""
        import asyncio, sys
        from kafkapipe import Producer

        async def main():
            producer = Producer("{LOST}")
            await producer.start()
            tasks = [asyncio.create_task(producer.send("t", "x")) for _ in range(100)]
            await asyncio.sleep(0.1)
            sys.exit(7)

        asyncio.run(main())
        """,
        check=False,
    )
    assert done.returncode == 7


@pytest.mark.parametrize(
    "wait", ['producer.send("t", "x")', "producer.flush()", 'producer.warm(["t"], timeout=60)']
)
def test_ctrl_c_is_answered_at_once(wait):
    code = f"""
        import asyncio
        from kafkapipe import Producer

        async def main():
            producer = Producer("{LOST}")
            await producer.start()
            producer.try_send("t", "keeps flush waiting")
            print("waits", flush=True)
            await {wait}

        asyncio.run(main())
    """
    command = (sys.executable, "-W", "ignore", "-c", textwrap.dedent(code))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "waits\n"
        time.sleep(0.05)  # into the wait itself
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(20)
        took = time.monotonic() - start
        assert "KeyboardInterrupt" in process.stderr.read()
    assert took < 1.0  # 250 ms, and Python's own end


def test_child_of_a_fork_gets_a_clear_error_and_the_parent_goes_on(script):
    done = script(
        """
        import asyncio, gc, os, sys
        from kafkapipe import Admin, FatalError, MockCluster, Producer

        def in_child(producer, admin):
            for use in (lambda: producer.try_send("t", "x"),
                        lambda: producer.try_send_many("t", ["x"]),
                        lambda: admin._core.metadata(None, 100)):
                try:
                    use()
                except FatalError as error:
                    assert error.code == "FORKED" and "make a new one" in error.message
                else:
                    return 1
            return 0

        async def main():
            with MockCluster() as cluster:
                async with Producer(cluster.bootstrap) as producer, Admin(cluster.bootstrap) as admin:
                    pending = producer.try_send("t", "before")
                    child = os.fork()
                    if child == 0:
                        code = in_child(producer, admin)
                        producer._core = admin._core = None
                        gc.collect()
                        os._exit(code)
                    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                    await pending
                    print((await producer.send("t", "after")).offset >= 0)

        asyncio.run(main())
        """,
        "-W", "error::ResourceWarning",
    )  # fmt: skip
    assert done.stdout == "True\n"
    assert done.stderr == ""


def test_import_is_light(script):
    done = script(
        """
        import sys
        import kafkapipe
        from kafkapipe import Admin, Consumer, Producer, read
        heavy = {"pydantic", "yaml", "httpx", "uvicorn", "rich", "click", "starlette"}
        print(sorted(heavy & set(sys.modules)), kafkapipe.__version__)
        assert set(kafkapipe.__all__) <= set(dir(kafkapipe))
        """
    )
    assert done.stdout.startswith("[] 0.")
