"""Writes to each server of the stack, or reads what was written, through public clients; used by test.sh.

Addresses and credentials come from the environment, as .stack/env gives them.
"""
import json
import os
import sys
import time

import confluent_kafka
import confluent_kafka.admin
import pymysql
import requests

TOPIC = "stack-test"
LARGE = b"x" * (20 << 20)
SCHEMA = json.dumps({"type": "record", "name": "Row", "fields": [{"name": "id", "type": "long"}]})
env = os.environ


def sql(statement):
    # Without TLS, so that the default authentication is seen to work through the server's public key as well.
    with pymysql.connect(host=env["MYSQL_HOST"], port=int(env["MYSQL_PORT"]), user=env["MYSQL_USER"],
                         password=env["MYSQL_PASSWORD"], ssl_disabled=True, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()


def clickhouse(statement):
    answer = requests.post(env["CLICKHOUSE_URL"], data=statement, timeout=10, headers={
        "X-ClickHouse-User": env["CLICKHOUSE_USER"], "X-ClickHouse-Key": env["CLICKHOUSE_PASSWORD"]})
    answer.raise_for_status()
    return answer.text.strip()


def registry(method, path, body=None):
    answer = requests.request(method, env["SCHEMA_REGISTRY_URL"] + path, json=body, timeout=10)
    answer.raise_for_status()
    return answer.json()


def expect(what, seen, wanted):
    if seen != wanted:
        sys.exit(f"{what}: {seen!r} instead of {wanted!r}")


def write():
    for name, wanted in (("gtid_mode", "ON"), ("binlog_format", "ROW"), ("binlog_row_metadata", "FULL"),
                         ("binlog_row_image", "FULL"), ("binlog_checksum", "CRC32"), ("version", "8.0.15")):
        expect(name, sql(f"SELECT @@{name}")[0][0], wanted)
    sql("CREATE DATABASE stack_test")
    sql("CREATE TABLE stack_test.t (id INT PRIMARY KEY)")
    sql("INSERT INTO stack_test.t VALUES (7)")

    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": env["KAFKA_BROKERS"]})
    admin.create_topics([confluent_kafka.admin.NewTopic(TOPIC, 3, 1)])[TOPIC].result(20)
    producer = confluent_kafka.Producer({"bootstrap.servers": env["KAFKA_BROKERS"], "transactional.id": "stack-test",
                                         "message.max.bytes": 64 << 20})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(TOPIC, LARGE, partition=0)
    producer.commit_transaction(20)
    try:
        admin.describe_topics(confluent_kafka.TopicCollection(["stack-test-unknown"]))["stack-test-unknown"].result(10)
        sys.exit("an unknown topic was created")
    except confluent_kafka.KafkaException as error:
        expect("unknown topic", error.args[0].code(), confluent_kafka.KafkaError.UNKNOWN_TOPIC_OR_PART)

    expect("schema id", registry("POST", f"/subjects/{TOPIC}-value/versions", {"schema": SCHEMA})["id"], 1)

    clickhouse("CREATE DATABASE stack_test")
    clickhouse("CREATE TABLE stack_test.t (id Int32) ENGINE = ReplacingMergeTree ORDER BY id")
    clickhouse("INSERT INTO stack_test.t VALUES (7)")
    refused = requests.post(env["CLICKHOUSE_URL"], data="SELECT * FROM stack_test.t", timeout=10)
    if refused.ok:
        sys.exit("ClickHouse lets in whoever has no password")


def read():
    expect("MySQL's row", sql("SELECT id FROM stack_test.t"), ((7,),))

    for protocol in ("classic", "consumer"):
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": env["KAFKA_BROKERS"], "group.id": f"stack-test-{protocol}", "group.protocol": protocol,
            "auto.offset.reset": "earliest", "fetch.message.max.bytes": 64 << 20})
        consumer.subscribe([TOPIC])
        deadline, message = time.monotonic() + 25, None
        while message is None and time.monotonic() < deadline:
            message = consumer.poll(1)
        expect(f"Kafka's message by the {protocol} protocol", message and len(message.value() or b""), len(LARGE))
        consumer.close()

    expect("the schema", json.loads(registry("GET", "/schemas/ids/1")["schema"]), json.loads(SCHEMA))
    expect("ClickHouse's row", clickhouse("SELECT id FROM stack_test.t"), "7")


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]]()
