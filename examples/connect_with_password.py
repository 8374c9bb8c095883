"""Lists topics over TLS with user and password: `python connect_with_password.py SERVERS CA_FILE MECHANISM`.

The user is in KAFKA_USER and the password in KAFKA_PASSWORD; MECHANISM is SCRAM-SHA-512 or PLAIN.
"""

import asyncio
import os
import sys

import kafkapipe as kp


async def main(servers: str, ca_file: str, mechanism: str) -> None:
    async with kp.Admin(
        servers,
        security_protocol="SASL_SSL",
        ssl_ca_location=ca_file,
        sasl_mechanism=mechanism,
        sasl_username=os.environ["KAFKA_USER"],
        sasl_password=os.environ["KAFKA_PASSWORD"],
    ) as admin:
        try:
            for topic in await admin.list_topics():
                print(f"{topic.name}: {topic.partitions} partitions")
        except kp.KafkaPipeError as error:
            sys.exit(f"{type(error).__name__}: {error}")


asyncio.run(main(*sys.argv[1:]))
