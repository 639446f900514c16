//! What the consumer's assessment looks for: the one list that `check`, the start and `docs/reference/checks.md` share.

use millrace_schemas::checks;
use millrace_schemas::service::assessment::{Check, kafka, registry};

checks! {
    OF_KAFKA: "Those about Kafka that only the consumer has.";
    /// Topics to load.
    TOPICS: "kafka.topics", [Warning], Stops,
        finds "warning: a pattern of `topics` matches no topic that the user sees.",
        why "It may be misspelt, or the user may lack Describe on the topics. Topics that are made later and match are loaded from their beginning.",
        fix "`topics`, or `kafka-acls --add --allow-principal User:… --operation Read --topic … --resource-pattern-type prefixed`.";
    /// A topic's whole past.
    REPLAY: "kafka.replay", [Info], Stops,
        finds "info: a topic forgets records after a time and isn't compacted.",
        why "A table that is loaded from its beginning again has only what the topic still has.",
        fix "`kafka-configs --alter --topic … --add-config cleanup.policy=compact` where records have keys, `retention.ms=-1` where not.";
    /// Room for the largest record.
    FETCH_SIZE: "kafka.fetch_size", [Error], Stops,
        finds "error: a topic takes records larger than the client receives.",
        why "The first such record ends the connection each time it is fetched, and its partition stands still.",
        fix "`kafka: {receive.message.max.bytes: …, fetch.max.bytes: …, max.partition.fetch.bytes: …}`";
    /// The dead letters' topic.
    DEAD_LETTERS: "kafka.dead_letters", [Warning], Stops,
        finds "warning: the topic of dead letters is there and isn't compacted.",
        why "A letter that was worked on is taken away by a tombstone, and others mustn't expire before anybody looked at them.",
        fix "`kafka-configs --alter --topic … --add-config cleanup.policy=compact`";
}

checks! {
    OF_REGISTRY: "Those about the registry that only the consumer has.";
    /// It takes schemas from producers.
    MODE: "registry.mode", [Warning], Stops,
        finds "warning: the registry's mode isn't `READWRITE`.",
        why "The consumer only reads it. But in another mode no producer can register a schema, so that the first table or column that has none stops the producer.",
        fix "`curl -X PUT -H 'Content-Type: application/json' -d '{\"mode\": \"READWRITE\"}' <registry.url>/mode`";
    /// Schemas that can be used.
    SCHEMA: "registry.schema", [Error], Meets,
        finds "error: a topic's newest schema can't be read, or its rows can't be loaded by it.",
        why "Its records would stop the topic.",
        fix "As the finding says: leave the topic out of `topics`, or set its `key` or `mode` under `tables`.";
}

checks! {
    CLICKHOUSE: "Those about ClickHouse, in the order in which they are shown.";
    /// The servers answer.
    REACH: "clickhouse.reach", [Error], Meets,
        finds "error: a host of `clickhouse.url` doesn't answer, or something before it refuses.",
        why "Nothing can be loaded while none answers. Nothing else about ClickHouse is looked at then.",
        fix "`clickhouse.url`, `clickhouse.tls`, the network between, and that the server runs.";
    /// The user is let in.
    LOGIN: "clickhouse.login", [Error], Stops,
        finds "error: ClickHouse refuses the user or the password, or doesn't let the user come from here.",
        why "Nothing can be loaded.",
        fix "`clickhouse.user`, `clickhouse.password`, the user's HOST clause.";
    /// The server's version.
    VERSION: "clickhouse.version", [Error, Info], Stops,
        finds "error: older than 25.6; info: the version.",
        why "Older ones lack settings and functions that the consumer uses, and aren't tested.",
        fix "Upgrade the server.";
    /// The user's profile.
    PROFILE: "clickhouse.profile", [Error], Stops,
        finds "error: the user's profile is read-only, or forbids a setting that the consumer makes.",
        why "The consumer inserts, makes and alters tables, and pins the settings that exactly once rests on.",
        fix "Another profile for the user: `ALTER USER … SETTINGS PROFILE …`, without `readonly` and without constraints on these settings.";
    /// The user's rights.
    PRIVILEGES: "clickhouse.privileges", [Error, Warning], Stops,
        finds "error: the user lacks SELECT, INSERT, CREATE TABLE, or for mirrors CREATE VIEW, on a database it loads, or CREATE DATABASE for one that isn't there, or TABLE ENGINE on an engine of which tables are to be made; warning: it lacks ALTER TABLE or DROP VIEW.",
        why "Tables are made and read before the first row; which engines they may have is a right of its own at servers with `table_engines_require_grant`. ALTER TABLE is needed once a schema changes, DROP VIEW once a mirror's view must be made anew.",
        fix "`GRANT SELECT, INSERT, ALTER TABLE, CREATE TABLE, CREATE VIEW, DROP VIEW ON <database>.* TO …`, `GRANT CREATE DATABASE ON *.* TO …`, `GRANT TABLE ENGINE ON ReplacingMergeTree TO …`";
    /// The tables that are there.
    TABLE: "clickhouse.table", [Error, Info], Meets,
        finds "error: a table is there that can't take its topic's rows: another engine, key, type, or another topic's; info: what would be altered, and which tables would be made.",
        why "Existing tables are used as they are, and altered as `evolve` says. One that can't hold the rows exactly stops its topic.",
        fix "As the finding says.";
    /// Tokens of inserts.
    DEDUP_WINDOW: "clickhouse.dedup_window", [Warning, Info], Stops,
        finds "warning: a history's table remembers fewer than 100 inserts' tokens; info: it remembers none, and the consumer will set that.",
        why "A range of offsets whose insert's outcome is unknown is inserted again under the same token, and ClickHouse must still know the first.",
        fix "`ALTER TABLE … MODIFY SETTING non_replicated_deduplication_window = 1000`; of Replicated tables `replicated_deduplication_window`.";
    /// The cluster.
    CLUSTER: "clickhouse.cluster", [Error], Stops,
        finds "error: the server doesn't know `clickhouse.cluster`.",
        why "Each statement that makes or alters a table runs on it.",
        fix "`clickhouse.cluster`: a name of `SELECT DISTINCT cluster FROM system.clusters`.";
    /// Keeper.
    KEEPER: "clickhouse.keeper", [Error], Stops,
        finds "error: `clickhouse.replicated` is set, and the server has no Keeper, or can't reach it.",
        why "Replicated tables can't be made without, and take no rows while it is away.",
        fix "The server's `<zookeeper>` configuration, or `clickhouse.replicated: false`.";
    /// The clocks.
    CLOCK: "clickhouse.clock", [Warning], Stops,
        finds "warning: ClickHouse's clock and this machine's are more than 5 seconds apart.",
        why "How far behind tables are is told by the source's commit times against these clocks, and a TTL goes by ClickHouse's.",
        fix "NTP on both machines.";
    /// The disks.
    DISK: "clickhouse.disk", [Warning], Stops,
        finds "warning: less than a tenth of a disk is free.",
        why "Merges need room beside the parts that they join. A full disk makes inserts wait.",
        fix "Make room, or add a disk to the storage policy.";
}

/// Those about Kafka.
#[must_use]
pub fn kafka() -> Vec<&'static Check> {
    let shared: [&'static Check; 6] =
        [&kafka::REACH, &kafka::VERSION, &kafka::ACL_DESCRIBE, &kafka::ACL_CREATE, &kafka::ACL_WRITE, &kafka::ACL_READ];
    shared.into_iter().chain([&kafka::ACL_GROUP]).chain(OF_KAFKA.iter().copied()).collect()
}

/// Those about the registry.
#[must_use]
pub fn registry() -> Vec<&'static Check> {
    let shared: [&'static Check; 2] = [&registry::REACH, &registry::LOGIN];
    shared.into_iter().chain(OF_REGISTRY.iter().copied()).collect()
}

/// All of them.
#[must_use]
pub fn all() -> Vec<&'static Check> {
    [kafka(), registry(), CLICKHOUSE.to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use millrace_schemas::service::assessment::reference;

    use super::*;

    #[test]
    fn each_check_has_an_id_of_its_own_and_stands_in_the_reference() {
        let ids: BTreeSet<&str> = all().iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), all().len());
        let written = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/checks.md")).expect("the reference");
        assert!(written.ends_with(&reference("Consumer", &all())), "docs/reference/checks.md isn't what the code has: run `make docs`");
    }
}
