"""Reads one partition from an offset on into pandas: `python read_to_pandas.py TOPIC PARTITION OFFSET`."""

import sys

import pyarrow

import kafkapipe as kp

topic, partition, offset = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
table = kp.read(topic, start={partition: offset}, columns=["offset", "timestamp", "key", "value"])
frame = pyarrow.table(table).to_pandas()
frame["value"] = frame["value"].str.decode("utf-8")
print(f"{len(frame)} records, the last three:")
print(frame.tail(3).to_string(index=False))
