# shellcheck shell=bash disable=SC2034
# Every version the local stack is made of, in one place (test clients: requirements-tests.txt).
KAFKA_VERSION=4.1.0
LOG4J_VERSION=2.24.3
REGISTRY_VERSION=2.6.13.Final
MYSQL_VERSION=8.0.15
MYSQL_JAR_VERSION=0.6
MYSQL_NEW_VERSION=9.7
CLICKHOUSE_WHEEL=chdb-core==26.9.0
JAVA_MAJOR_MIN=17
# What `make bench-peers` measures beside ours.
CONNECT_VERSION=4.3.1
LOG4J_CONNECT_VERSION=2.25.3
DEBEZIUM_VERSION=3.6.1.Final
