# shellcheck shell=bash disable=SC2154
# Kafka Connect with Debezium's MySQL connector and Apicurio's Avro converter, for `make bench-peers`, and no part of the stack.

connect_home=$cache/connect-$DEBEZIUM_VERSION

fetched_connect() {
  [[ -d $connect_home ]]
}

fill_connect() {
  mkdir -p "$1/plugins" &&
    maven connect "$1/libs" && maven converter "$1/plugins/converter" && maven debezium "$1/archive" &&
    tar -xzf "$1/archive/debezium-connector-mysql-$DEBEZIUM_VERSION-plugin.tar.gz" -C "$1/plugins" && rm -r "${1:?}/archive"
}

fetch_connect() {
  cached "connect-$DEBEZIUM_VERSION" "Kafka Connect $CONNECT_VERSION with Debezium $DEBEZIUM_VERSION (94 MB)" fill_connect
}
