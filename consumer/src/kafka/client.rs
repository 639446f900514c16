//! What librdkafka is told: the user's properties, those that the guarantees rest on, and how often it looks at its topics.

use std::time::Duration;

use millrace_schemas::settings::Properties;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::BaseConsumer;

use super::Context;
use crate::load::internal;
use crate::settings::Settings;

/// How often librdkafka tells its statistics, from which lag and the group's state are taken.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(1);
/// What each topic adds to the pauses between its looks at all topics.
const PAUSE_OF_A_TOPIC: Duration = Duration::from_millis(6);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How long the brokers are asked for their topics before the group is joined.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// The properties of the member that is about to join the group. Asks the brokers how many topics it will have.
pub(super) fn config(settings: &Settings) -> ClientConfig {
    let mut config = properties(settings);
    let count = count(config.clone(), settings).unwrap_or_default();
    pace(&mut config, settings, count);
    config
}

/// What there is to load, by whatever member of the group.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    topics: usize,
    partitions: usize,
}

fn properties(settings: &Settings) -> ClientConfig {
    let kafka: &Properties = &settings.kafka;
    let mut config = ClientConfig::new();
    let mut default = |name: &str, value: &str| {
        if !kafka.contains_key(name) {
            config.set(name, value);
        }
    };
    default("client.id", "millrace-consumer");
    default("queued.max.messages.kbytes", "16384");
    default("fetch.queue.backoff.ms", "50");
    // With KIP-848 the broker chooses: librdkafka refuses these properties then.
    if kafka.get("group.protocol").is_none_or(|protocol| protocol != "consumer") {
        default("partition.assignment.strategy", "cooperative-sticky");
    }
    for (name, value) in kafka {
        config.set(name, value);
    }
    config
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("topic.blacklist", internal::PATTERNS.join(","));
    config
}

/// What there is to load; none where no broker tells it soon.
fn count(mut config: ClientConfig, settings: &Settings) -> Option<Count> {
    config.set("statistics.interval.ms", "0");
    let client: BaseConsumer<Context> = config.create_with_context(Context::default()).ok()?;
    let metadata = client.fetch_metadata(None, COUNT_TIMEOUT).ok()?;
    let partitions = metadata.topics().iter().filter(|topic| settings.loads(topic.name())).map(|topic| topic.partitions().len());
    Some(partitions.fold(Count::default(), |count, of| Count { topics: count.topics + 1, partitions: count.partitions + of }))
}

/// Has librdkafka look at thousands of topics less often than at a few. For each topic of the brokers' answer it goes through a list of all that it knows. For
/// its statistics it asks for the beginning of each partition's log, by timers that it keeps in a sorted list, and each answer has it go through all partitions: with
/// many there are none, and looks at the partitions' ends tell what is needed of them.
fn pace(config: &mut ClientConfig, settings: &Settings, Count { topics, partitions }: Count) {
    let pause = PAUSE_OF_A_TOPIC.saturating_mul(u32::try_from(topics).unwrap_or(u32::MAX)).min(PAUSE_MAX);
    if config.get("statistics.interval.ms").is_none() {
        let many = partitions as u64 >= settings.idle.from_partitions;
        let interval = if many { Duration::ZERO } else { STATISTICS_INTERVAL.max(pause) };
        config.set("statistics.interval.ms", interval.as_millis().to_string());
    }
    config.set("topic.metadata.refresh.interval.ms", settings.topics_refresh.max(pause).as_millis().to_string());
}

/// How often such a client's statistics come; none: never.
pub(super) fn statistics_interval(config: &ClientConfig) -> Option<Duration> {
    let interval = config.get("statistics.interval.ms").and_then(|ms| ms.parse().ok()).map_or(STATISTICS_INTERVAL, Duration::from_millis);
    (!interval.is_zero()).then_some(interval)
}

/// A topic's pattern as librdkafka subscribes to it: a plain name, or an anchored regular expression.
pub(super) fn subscription(pattern: &str) -> String {
    if !pattern.contains(['*', '?']) {
        return pattern.to_owned();
    }
    let mut regex = String::from("^");
    for c in pattern.chars() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '.' => regex.push_str("\\."),
            other => regex.push(other),
        }
    }
    regex.push('$');
    regex
}

#[cfg(test)]
mod tests {
    use millrace_schemas::settings::{Source, read};

    use super::*;

    #[test]
    fn a_pattern_is_anchored_and_its_dots_are_dots() {
        assert_eq!(subscription("shop.shop.*"), r"^shop\.shop\..*$");
        assert_eq!(subscription("a-b.c_?"), r"^a-b\.c_.$");
        assert_eq!(subscription("shop.shop.orders"), "shop.shop.orders");
    }

    #[test]
    fn thousands_of_topics_are_looked_at_less_often_but_for_what_is_set() {
        const MINIMAL: &str = "group: g\ntopics: [t]\nkafka: { bootstrap.servers: \"k:1\" }\nregistry: { url: \"http://r\" }\nclickhouse: { url: \"http://c\" }\nidle: { from_partitions: 2000 }\n";
        let settings = read(Source::text("c.yaml", MINIMAL), Settings::read).expect("settings");
        let paced = |topics, partitions, set: &[(&str, &str)]| {
            let mut config: ClientConfig = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            pace(&mut config, &settings, Count { topics, partitions });
            ["statistics.interval.ms", "topic.metadata.refresh.interval.ms"].map(|name| config.get(name).unwrap_or_default().to_owned())
        };
        assert_eq!(paced(0, 0, &[]), ["1000", "5000"]);
        assert_eq!(paced(500, 1_999, &[]), ["3000", "5000"]);
        assert_eq!(paced(500, 2_000, &[]), ["0", "5000"]);
        assert_eq!(paced(10_000, 10_000, &[]), ["0", "60000"]);
        assert_eq!(paced(usize::MAX, usize::MAX, &[]), ["0", "300000"]);
        assert_eq!(paced(10_000, 10_000, &[("statistics.interval.ms", "2000")]), ["2000", "60000"]);
    }
}
