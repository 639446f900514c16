# shellcheck shell=bash disable=SC2154
# Kafka: one KRaft broker, which is its own controller.

kafka_home=$cache/kafka-$KAFKA_VERSION

fetched_kafka() {
  [[ -d $kafka_home ]]
}

fill_kafka() {
  maven kafka "$1"
}

fetch_kafka() {
  cached "kafka-$KAFKA_VERSION" "Kafka $KAFKA_VERSION (54 MB)" fill_kafka
}

# The broker's settings, with the given directory for its data.
kafka_properties() {
  cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:${port[kafka]},CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:${port[kafka]}
controller.listener.names=CONTROLLER
log.dirs=$1
auto.create.topics.enable=false
message.max.bytes=67108864
replica.fetch.max.bytes=67108864
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=5
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=5
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
PROPERTIES
}

# Formats the data directory once; the settings are written anew at each start, since ports may change.
prepare_kafka() {
  local log=$state/log/kafka-format.log data=$state/kafka/data
  mkdir -p "$state/kafka"
  kafka_properties "$data" >"$state/kafka/server.properties"
  [[ ! -d $data ]] || return 0
  need_space "$state" "$state_free_mib_min" MILLRACE_STACK_DIR
  rm -rf "$data.partial"
  kafka_properties "$data.partial" >"$state/kafka/format.properties"
  "$(java_command)" -Xmx256m -cp "$kafka_home/*" kafka.tools.StorageTool format \
    -t "$(kafka_cluster_id)" -c "$state/kafka/format.properties" >"$log" 2>&1 </dev/null ||
    fail "Kafka's data directory could not be made: $(last_words "$log")" "find the cause in the log and run it again" "$log"
  mv -T "$data.partial" "$data"
}

# A random identifier in the form that Kafka wants: 16 bytes in URL-safe base 64. A leading dash would be read as an
# option.
kafka_cluster_id() {
  python3 -c 'import base64, uuid; print("M" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:])'
}

start_kafka() {
  # For 10,000 topics and a consumer of them all half of it isn't enough.
  spawn kafka "$(java_command)" -Xmx1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -Djava.awt.headless=true \
    "-Dlog4j2.configurationFile=$here/log4j2.properties" -cp "$kafka_home/*" \
    kafka.Kafka "$state/kafka/server.properties"
}
