"""Sub-interpreters: the core works in those that share the GIL, and refuses the others in one line."""

import sys
import textwrap

import pytest

RUN = """
    import gc, textwrap
    try:
        import _interpreters as interpreters  # from 3.13 on
        shared, own = "legacy", "isolated"
    except ImportError:
        import _xxsubinterpreters as interpreters
        shared, own = False, True

    def run(kind, code):
        number = interpreters.create(kind) if isinstance(kind, str) else interpreters.create(isolated=kind)
        try:
            failed = interpreters.run_string(number, textwrap.dedent(code))
            assert failed is None, failed
        finally:
            interpreters.destroy(number)
"""

CLIENTS = """
    import asyncio
    import kafkapipe as kp

    async def main():
        with kp.MockCluster() as cluster:
            cluster.create_topic("t", 1)
            async with kp.Producer(cluster.bootstrap) as producer:
                result = await producer.send_many("t", ["빨강"] * 10 + [object()])
            assert result.delivered == 10
            assert isinstance(result.failed[0][1], kp.RejectedError)
            async with kp.Consumer(cluster.bootstrap) as consumer:
                await consumer.assign([("t", 0)])
                assert (await anext(consumer))[0].value.decode() == "빨강"
            assert len(kp.read("t", bootstrap=cluster.bootstrap)) == 10
        print("works", flush=True)

    asyncio.run(main())
"""


IN_EACH = f"""
    code = {CLIENTS!r}
    run(shared, code)
    exec(textwrap.dedent(code))
    run(shared, code)  # the first one's end took nothing that this one needs
    run(shared, "import kafkapipe._core")

    from kafkapipe import _core
    gc.collect()
    assert _core.memory_live() == 0, _core.memory_live()
"""

IN_ITS_OWN = """
    try:
        run(own, "import kafkapipe._core")
    except Exception as error:
        print(error)
"""


def test_each_interpreter_has_a_core_of_its_own(script):
    done = script(textwrap.dedent(RUN) + textwrap.dedent(IN_EACH))
    assert done.stdout == "works\n" * 3
    assert done.stderr == ""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="all interpreters of this Python share one GIL")
def test_an_interpreter_with_a_gil_of_its_own_is_refused(script):
    done = script(textwrap.dedent(RUN) + textwrap.dedent(IN_ITS_OWN))
    assert "module kafkapipe._core does not support loading in subinterpreters" in done.stdout
