"""Tests code that uses Kafka without a server: librdkafka's own broker, in this process."""

import asyncio

import kafkapipe as kp


async def copy_reds(bootstrap: str) -> int:
    """The code to be tested: copies red clicks into a topic of their own."""
    table = kp.read("clicks", columns=["value"], parse_json={"color": "string"}, bootstrap=bootstrap)
    reds = [row["value"] for row in table.head(len(table)) if row["color"] == "red"]
    async with kp.Producer(bootstrap) as producer:
        return (await producer.send_many("reds", reds)).delivered


async def main() -> None:
    with kp.MockCluster(brokers=1) as cluster:
        cluster.create_topic("clicks", partitions=3)
        cluster.create_topic("reds")
        async with kp.Producer(cluster.bootstrap) as producer:
            await producer.send_many("clicks", ['{"color": "red"}', '{"color": "blue"}', '{"color": "red"}'])
        assert await copy_reds(cluster.bootstrap) == 2
        assert len(kp.read("reds", bootstrap=cluster.bootstrap)) == 2
    print("passed")


asyncio.run(main())
