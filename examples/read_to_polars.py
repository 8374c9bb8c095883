"""Counts the colours in a range of a topic with polars: `python read_to_polars.py TOPIC START END`.

START and END are offsets, times like 2026-01-31T10:00, spans like -1h, earliest or latest.
"""

import sys

import polars

import kafkapipe as kp

topic, start, end = sys.argv[1:]
table = kp.read(topic, start=start, end=end, columns=["timestamp"], parse_json={"colorName": "string"})
print(f"at most {table.estimate().records} records")
print(polars.DataFrame(table).group_by("colorName").len().sort("colorName"))
