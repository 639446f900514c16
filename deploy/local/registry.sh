# shellcheck shell=bash disable=SC2154
# The schema registry: Apicurio, which speaks Confluent's API below /apis/ccompat/v7.

registry_home=$cache/registry-$REGISTRY_VERSION

fetched_registry() {
  [[ -d $registry_home ]]
}

fill_registry() {
  maven registry "$1/archive" &&
    tar -xzf "$1/archive/apicurio-registry-app-$REGISTRY_VERSION-all.tar.gz" -C "$1" && rm -r "$1/archive"
}

fetch_registry() {
  cached "registry-$REGISTRY_VERSION" "the schema registry $REGISTRY_VERSION (136 MB)" fill_registry
}

prepare_registry() {
  mkdir -p "$state/registry"
}

# Its database is a file, written at once: Kafka's topics outlive a restart, so the schemas they name must too.
start_registry() {
  spawn registry env "REGISTRY_DATASOURCE_URL=jdbc:h2:file:$state/registry/schemas;WRITE_DELAY=0" \
    "$(java_command)" -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -Dquarkus.http.host=127.0.0.1 "-Dquarkus.http.port=${port[registry]}" \
    -Dquarkus.datasource.jdbc.initial-size=2 -Dquarkus.datasource.jdbc.min-size=2 \
    -jar "$registry_home/apicurio-registry-app-$REGISTRY_VERSION-runner.jar"
}
