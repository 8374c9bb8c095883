"""Saves the last records of a topic as Parquet: `python read_to_parquet.py TOPIC SPAN FILE`.

SPAN is like -1h. Fields of the JSON become typed columns.
"""

import sys

import pyarrow
import pyarrow.parquet

import kafkapipe as kp

topic, span, file = sys.argv[1:]
fields = {"colorName": "string", "userName": "string"}
table = pyarrow.table(
    kp.read(topic, start=span, columns=["partition", "offset", "timestamp"], parse_json=fields)
)
pyarrow.parquet.write_table(table, file)
print(f"{table.num_rows} rows, {', '.join(table.column_names)}")
