"""Reads Millrace's topics with confluent-kafka and fastavro, without any of Millrace's code.

usage: read_topics.py BROKERS REGISTRY_URL TOPIC_PREFIX

Prints one JSON object: for each topic the operations counted, the tombstones, the last state of each key
(its values as text, sorted by key), and every way in which a record departs from docs/reference/topics.md.
"""

import io
import json
import struct
import sys
from collections import Counter

import fastavro
import requests
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

ENVELOPE = ["before", "after", "source", "transaction", "op", "ts_ms", "ts_us", "ts_ns"]
SOURCE = [
    "version", "connector", "name", "ts_ms", "snapshot", "db", "sequence", "ts_us", "ts_ns", "table",
    "server_id", "gtid", "file", "pos", "row", "thread", "query", "seq",
]  # fmt: skip
SILENCE_SECONDS_MAX = 30


class Registry:
    def __init__(self, url):
        self.url = url
        self.schemas = {}

    def decode(self, framed):
        """The schema as JSON, and the value of framed bytes."""
        magic, number = struct.unpack(">bI", framed[:5])
        if magic != 0:
            raise ValueError(f"magic byte {magic}")
        if number not in self.schemas:
            answer = requests.get(f"{self.url}/schemas/ids/{number}", timeout=20)
            answer.raise_for_status()
            raw = json.loads(answer.json()["schema"])
            self.schemas[number] = (raw, fastavro.parse_schema(raw))
        raw, parsed = self.schemas[number]
        body = io.BytesIO(framed[5:])
        value = fastavro.schemaless_reader(body, parsed)
        if body.read():
            raise ValueError("bytes after the value")
        return raw, value


def topics_of(consumer, prefix):
    found = consumer.list_topics(timeout=20).topics
    return {
        name: list(topic.partitions)
        for name, topic in found.items()
        if name.startswith(prefix) and ".millrace." not in name
    }


def read(brokers, prefix):
    """All committed messages, in the order of each partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "millrace-tests-python",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    partitions = [
        TopicPartition(name, number, OFFSET_BEGINNING)
        for name, numbers in topics_of(consumer, prefix).items()
        for number in numbers
    ]
    consumer.assign(partitions)
    left = len(partitions)
    while left:
        message = consumer.poll(SILENCE_SECONDS_MAX)
        if message is None:
            raise TimeoutError(f"{left} partitions did not come to their end")
        if message.error() is None:
            yield message
        elif message.error().code() == KafkaError._PARTITION_EOF:
            left -= 1
        else:
            raise RuntimeError(message.error())
    consumer.close()


class Topic:
    def __init__(self):
        self.ops = Counter()
        self.tombstones = 0
        self.state = {}
        self.problems = []

    def add(self, registry, message):
        where = f"{message.partition()}@{message.offset()}"
        key_schema, key = registry.decode(message.key())
        key = tuple(key.values())
        if key_schema["name"] != "Key":
            self.problems.append(f"{where}: the key's record is {key_schema['name']}")
        if message.value() is None:
            self.tombstones += 1
            if key in self.state:
                self.problems.append(f"{where}: a tombstone for a key that is there")
            return
        schema, value = registry.decode(message.value())
        self.check(where, message.topic(), schema, value)
        self.apply(where, key, value)

    def check(self, where, topic, schema, value):
        source = next(field["type"] for field in schema["fields"] if field["name"] == "source")
        for what, found, expected in [
            ("the envelope's name", schema["name"], "Envelope"),
            ("the envelope's fields", [field["name"] for field in schema["fields"]], ENVELOPE),
            ("the source's fields", [field["name"] for field in source["fields"]], SOURCE),
            ("connector", value["source"]["connector"], "mysql"),
            ("the table", topic.endswith(f".{value['source']['db']}.{value['source']['table']}"), True),
            ("snapshot", value["source"]["snapshot"], "true" if value["op"] == "r" else "false"),
            ("before", value["before"] is not None, value["op"] in "ud"),
            ("after", value["after"] is not None, value["op"] in "cru"),
        ]:
            if found != expected:
                self.problems.append(f"{where}: {what}: {found}, not {expected}")

    def apply(self, where, key, value):
        op = value["op"]
        self.ops[op] += 1
        row = value["after"] if op != "d" else value["before"]
        if not set(key) <= set(row.values()):
            self.problems.append(f"{where}: the key {key} is not in the row")
        if op == "d":
            self.state.pop(key, None)
        else:
            self.state[key] = [text(field) for field in row.values()]


def text(value):
    """A timestamp's ISO 8601 text is cut to seconds: how many digits follow is not what this reader is for."""
    value = str(value)
    return value[:19] if len(value) > 19 and value[10:11] == "T" and value.endswith("Z") else value


def main():
    brokers, registry, prefix = sys.argv[1:]
    registry = Registry(registry.rstrip("/"))
    topics = {}
    for message in read(brokers, prefix):
        topics.setdefault(message.topic(), Topic()).add(registry, message)
    report = {
        name: {
            "ops": dict(sorted(topic.ops.items())),
            "tombstones": topic.tombstones,
            "rows": [row for _, row in sorted(topic.state.items())],
            "problems": topic.problems[:20],
        }
        for name, topic in topics.items()
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
