//! The order of the work: for each workload its tables are made, producers take note of where the log ends, the rows are loaded, and then stage after stage is measured on
//! them. What a stage is held against is measured in turn with it, run by run, so that both see the same machine.

use std::path::Path;
use std::time::{Duration, Instant};

use millrace_producer::settings::Settings as ProducerSettings;
use millrace_producer::source::Connector;
use millrace_schemas::settings::Source;
use millrace_tests::failure::Result;
use millrace_tests::processes::Process;

use crate::figure::{Figure, Results, Run};
use crate::screen::{self, say};
use crate::stage::consume::Reader;
use crate::stage::encode::Logged;
use crate::stage::receive::Part;
use crate::stage::{Stage, consume, consumer, decode, encode, idle, latency, line, producer, publish, receive, select};
use crate::usage;
use crate::workload::{self, CHURN_CHANGES, CHURN_RECORDS, Workload};
use crate::world::{Profile, World};

/// Messages that are held to be published again and again.
const MESSAGES_HELD: usize = 100_000;
const MILLRACE: &str = "millrace";
const BY_HAND: &str = "these columns by hand";

/// What is to be measured; nothing named means everything.
pub(crate) struct Wanted {
    /// The stages.
    pub(crate) stages: Vec<Stage>,
    /// The workloads.
    pub(crate) workloads: Vec<Workload>,
}

impl Wanted {
    /// Whether a stage of a workload is. Those that nobody named are measured at the stages where they may differ from orders.
    fn has(&self, stage: Stage, workload: Workload) -> bool {
        if !self.stages.is_empty() && !self.stages.contains(&stage) {
            return false;
        }
        match stage {
            stage if stage.stands_alone() => false,
            _ if !self.workloads.is_empty() || workload == Workload::Orders => true,
            Stage::Drain | Stage::Load => true,
            Stage::Snapshot => !matches!(workload, Workload::Hot | Workload::Giant | Workload::OneRow),
            Stage::Encode | Stage::Decode => !matches!(workload, Workload::Tables | Workload::Giant | Workload::OneRow),
            _ => false,
        }
    }

    /// Whether a stage is that has rows of its own: what is wanted of orders is wanted of it.
    fn has_alone(&self, stage: Stage) -> bool {
        let orders = self.workloads.is_empty() || self.workloads.contains(&Workload::Orders);
        if self.stages.is_empty() { orders } else { self.stages.contains(&stage) && orders }
    }

    fn workloads(&self) -> Vec<Workload> {
        if self.workloads.is_empty() { Workload::ALL.to_vec() } else { self.workloads.clone() }
    }
}

/// How much.
pub(crate) struct Options {
    /// Rows of orders.
    pub(crate) rows: u64,
    /// Runs of each.
    pub(crate) runs: usize,
    /// Rates of the steady states.
    pub(crate) rates: Vec<u64>,
    /// How long each lasts.
    pub(crate) lasting: Duration,
    /// Tables in which nothing happens.
    pub(crate) idle_tables: usize,
}

/// Measures all that is wanted, and writes it down after each stage.
pub(crate) async fn run(wanted: &Wanted, options: &Options, output: &Path) -> Result<()> {
    let begun = Instant::now();
    let world = World::new().await?;
    let mut bench = Bench { world: &world, wanted, options, results: Results::load(output)?, output };
    bench.results.machine = usage::machine();
    bench.results.machine.extend(world.versions().await?);
    say(&format!("settings and logs: {}; results: {}", world.directory.display(), output.display()));
    let measured = bench.all().await;
    let cleaned = world.clean().await;
    measured?;
    cleaned?;
    say(&format!("done after {:.0} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

struct Bench<'a> {
    world: &'a World,
    wanted: &'a Wanted,
    options: &'a Options,
    results: Results,
    output: &'a Path,
}

/// A workload that is ready: its rows are in the tables and in the log.
struct Ready {
    workload: Workload,
    rows: u64,
    records: u64,
    part: Part,
    connector: Connector,
    settings: ProducerSettings,
    /// Producers that go on from before the rows: their names and processes, which don't run.
    producers: Vec<(String, Process)>,
    /// The same, for the whole line.
    lines: Vec<(String, Process)>,
}

impl Bench<'_> {
    async fn all(&mut self) -> Result<()> {
        for workload in self.wanted.workloads() {
            if Stage::ALL.iter().any(|(_, stage)| self.wanted.has(*stage, workload)) {
                Box::pin(self.workload(workload)).await?;
            }
        }
        if self.wanted.has_alone(Stage::Latency) {
            self.latencies().await?;
        }
        if self.wanted.has_alone(Stage::Idle) {
            self.idle().await?;
        }
        Ok(())
    }

    async fn workload(&mut self, workload: Workload) -> Result<()> {
        let mut ready = self.prepare(workload).await?;
        let has = |stage| self.wanted.has(stage, workload);
        let (receives, encodes, selects, publishes) = (has(Stage::Receive), has(Stage::Encode), has(Stage::Select), has(Stage::Publish));
        let (drains, snapshots, lines) = (has(Stage::Drain), has(Stage::Snapshot), has(Stage::Line));
        if receives {
            self.receive(&ready).await?;
        }
        if encodes || publishes {
            let logged = Logged::collect(self.world, &ready.connector, &ready.part).await?;
            if encodes {
                self.encode(&ready, &logged)?;
            }
            if publishes {
                self.publish(&ready, &logged).await?;
            }
        }
        if selects {
            self.select(&ready).await?;
        }
        self.drain(&mut ready, drains).await?;
        if snapshots {
            self.snapshot(&ready).await?;
        }
        self.read_topic(&ready).await?;
        if lines {
            self.line(&mut ready).await?;
        }
        if drains && workload == Workload::Orders {
            self.churn(&mut ready).await?;
        }
        for (name, _) in &ready.producers {
            self.world.drop_topics(name).await?;
        }
        let mut mysql = self.world.mysql().await?;
        for table in workload.tables() {
            mysql.run(&format!("DROP TABLE {table}")).await?;
        }
        mysql.close().await
    }

    /// Makes the tables, has producers remember where the log ends, and loads the rows.
    async fn prepare(&self, workload: Workload) -> Result<Ready> {
        let world = self.world;
        let rows = workload.rows(self.options.rows);
        say(&format!("\n{}: {}; {rows} rows", workload.name(), workload.about()));
        let mut mysql = world.mysql().await?;
        workload.create(&mut mysql).await?;
        let has = |stage| self.wanted.has(stage, workload);
        let reads_topic = Stage::ALL.iter().any(|(_, stage)| stage.reads_topic() && has(*stage));
        let count = if has(Stage::Drain) { self.options.runs } else { usize::from(reads_topic) };
        let (mut producers, mut lines) = (Vec::new(), Vec::new());
        for run in 0..count {
            let name = world.named(&format!("{}_drain{run}", workload.name()));
            producers.push((name.clone(), producer::remember(world, &name, workload).await?));
        }
        for run in 0..if has(Stage::Line) { self.options.runs } else { 0 } {
            let name = world.named(&format!("{}_line{run}", workload.name()));
            lines.push((name.clone(), producer::remember(world, &name, workload).await?));
        }
        let text = world.producer_settings(&world.named("bench"), workload, Profile::Default)?.to_string();
        let settings = millrace_schemas::settings::read(Source::text("bench", &text), ProducerSettings::read)?;
        let connector = Connector::new(settings.source.clone());
        let from = receive::log_end(&connector).await?;
        let begun = Instant::now();
        workload.load(&mut mysql, rows).await?;
        let to = receive::log_end(&connector).await?;
        say(&format!("rows made after {:.0} s", begun.elapsed().as_secs_f64()));
        mysql.close().await?;
        let part = Part { from, to };
        Ok(Ready { workload, rows, records: workload.records(rows), part, connector, settings, producers, lines })
    }

    /// Takes a stage's runs in, prints them and writes everything down.
    fn put(&mut self, stage: &str, workload: &str, system: &str, limit: bool, runs: &[Run]) -> Result<()> {
        let Some(figure) = Figure::of(stage, workload, system, limit, runs) else { return Ok(()) };
        say(&screen::line(&figure));
        self.results.put(figure);
        self.results.save(self.output)
    }

    async fn receive(&mut self, ready: &Ready) -> Result<()> {
        let (mut ours, mut limit) = (Vec::new(), Vec::new());
        for _ in 0..self.options.runs {
            ours.push(receive::ours(self.world, &ready.connector, &ready.part, ready.records).await?);
            limit.push(receive::limit(self.world, &ready.part, ready.records).await?);
        }
        self.put("receive", ready.workload.name(), MILLRACE, false, &ours)?;
        self.put("receive", ready.workload.name(), "mysql_async, nothing decoded", true, &limit)
    }

    fn encode(&mut self, ready: &Ready, logged: &Logged) -> Result<()> {
        let (mut ours, mut limit) = (Vec::new(), Vec::new());
        for _ in 0..self.options.runs {
            ours.push(tokio::task::block_in_place(|| encode::run(logged))?);
            if ready.workload == Workload::Orders {
                limit.push(tokio::task::block_in_place(|| encode::run_by_hand(logged))?);
            }
        }
        self.put("encode", ready.workload.name(), MILLRACE, false, &ours)?;
        self.put("encode", ready.workload.name(), BY_HAND, true, &limit)
    }

    async fn publish(&mut self, ready: &Ready, logged: &Logged) -> Result<()> {
        let messages = logged.messages(MESSAGES_HELD)?;
        let (mut ours, mut limit) = (Vec::new(), Vec::new());
        for run in 0..self.options.runs {
            let label = format!("{}_publish{run}", ready.workload.name());
            let kafka = &ready.settings.kafka;
            ours.push(publish::ours(self.world, kafka, &messages, ready.records, &label).await?);
            limit.push(publish::limit(self.world, kafka, &messages, ready.records, &format!("{label}_limit")).await?);
        }
        self.put("publish", ready.workload.name(), MILLRACE, false, &ours)?;
        self.put("publish", ready.workload.name(), "librdkafka, same transactions", true, &limit)
    }

    async fn select(&mut self, ready: &Ready) -> Result<()> {
        let table = ready.workload.tables().swap_remove(0);
        let (mut ours, mut limit) = (Vec::new(), Vec::new());
        for _ in 0..self.options.runs {
            ours.push(select::ours(self.world, &ready.connector, &table).await?);
            limit.push(select::limit(self.world, &table).await?);
        }
        self.put("select", ready.workload.name(), MILLRACE, false, &ours)?;
        self.put("select", ready.workload.name(), "one streaming SELECT", true, &limit)
    }

    /// Has the producers publish the backlog; their topics stay.
    async fn drain(&mut self, ready: &mut Ready, measured: bool) -> Result<()> {
        let mut runs = Vec::new();
        for (name, process) in &mut ready.producers {
            let base = producer::base(self.world, self.world.topics(name, ready.workload)).await?;
            process.start_again()?;
            runs.push(producer::publish(self.world, process, base, (ready.rows, ready.records)).await?);
            producer::stop(process).await?;
        }
        if measured { self.put("drain", ready.workload.name(), MILLRACE, false, &runs) } else { Ok(()) }
    }

    async fn snapshot(&mut self, ready: &Ready) -> Result<()> {
        // Of updates, the tables have only what is left.
        let rows = if ready.workload == Workload::Hot { ready.records - ready.rows } else { ready.rows };
        let mut runs = Vec::new();
        for run in 0..self.options.runs {
            let name = self.world.named(&format!("{}_snapshot{run}", ready.workload.name()));
            let base = producer::base(self.world, self.world.topics(&name, ready.workload)).await?;
            let mut process = producer::start(self.world, &name, ready.workload)?;
            runs.push(producer::publish(self.world, &mut process, base, (rows, rows)).await?);
            producer::stop(&mut process).await?;
            self.world.drop_topics(&name).await?;
        }
        self.put("snapshot", ready.workload.name(), MILLRACE, false, &runs)
    }

    /// The consumer's stages, on the first topic that was filled.
    async fn read_topic(&mut self, ready: &Ready) -> Result<()> {
        let Some((producer, _)) = ready.producers.first() else { return Ok(()) };
        let (world, workload) = (self.world, ready.workload);
        let topics = world.topics(producer, workload);
        let named = |label: &str, run: usize| world.named(&format!("{}_{label}{run}", workload.name()));
        if self.wanted.has(Stage::Consume, workload) {
            let mut runs = [(Reader::Session, Vec::new()), (Reader::Poll, Vec::new()), (Reader::Batch, Vec::new())];
            for run in 0..self.options.runs {
                let group = named("consume", run);
                for (reader, runs) in &mut runs {
                    runs.push(tokio::task::block_in_place(|| consume::run(world, &topics, (&group, producer), ready.records, *reader))?);
                }
                world.drop_loaded(&group).await?;
            }
            for ((_, runs), (system, limit)) in
                runs.iter().zip([(MILLRACE, false), ("librdkafka, poll", true), ("librdkafka, batches", true)])
            {
                self.put("consume", workload.name(), system, limit, runs)?;
            }
        }
        if self.wanted.has(Stage::Decode, workload) || self.wanted.has(Stage::Insert, workload) {
            self.decode(ready, producer, &topics).await?;
        }
        if self.wanted.has(Stage::Load, workload) {
            let mut runs = Vec::new();
            for run in 0..self.options.runs {
                runs.push(consumer::load(world, workload, producer, &named("load", run), ready.rows).await?);
            }
            self.put("load", workload.name(), MILLRACE, false, &runs)?;
        }
        Ok(())
    }

    async fn decode(&mut self, ready: &Ready, producer: &str, topics: &[String]) -> Result<()> {
        let (world, workload) = (self.world, ready.workload);
        let database = world.named(&format!("{}_decode", workload.name()));
        let topic = topics.first().map_or("", String::as_str);
        let records = ready.records / topics.len().max(1) as u64;
        let mut decoding = decode::Decoding::prepare(world, topic, producer, &database, records).await?;
        if self.wanted.has(Stage::Decode, workload) {
            let (mut ours, mut limit) = (Vec::new(), Vec::new());
            for _ in 0..self.options.runs {
                ours.push(tokio::task::block_in_place(|| decoding.run())?);
                if workload == Workload::Orders {
                    limit.push(tokio::task::block_in_place(|| decoding.run_by_hand())?);
                }
            }
            self.put("decode", workload.name(), MILLRACE, false, &ours)?;
            self.put("decode", workload.name(), BY_HAND, true, &limit)?;
        }
        if self.wanted.has(Stage::Insert, workload) {
            let block = tokio::task::block_in_place(|| decoding.block())?;
            let file = decoding.write(world, &block)?;
            let (mut ours, mut limit) = (Vec::new(), Vec::new());
            for _ in 0..self.options.runs {
                ours.push(decoding.insert(world, &block).await?);
                limit.push(decoding.insert_file(world, &block, &file).await?);
            }
            std::fs::remove_file(&file)?;
            self.put("insert", workload.name(), MILLRACE, false, &ours)?;
            self.put("insert", workload.name(), "ClickHouse, from a file", true, &limit)?;
        }
        world.drop_loaded(&database).await
    }

    async fn line(&mut self, ready: &mut Ready) -> Result<()> {
        let (world, workload) = (self.world, ready.workload);
        let (mut snapshots, mut drains) = (Vec::new(), Vec::new());
        for (run, (name, process)) in std::mem::take(&mut ready.lines).into_iter().enumerate() {
            if workload != Workload::Hot {
                let name = world.named(&format!("{}_through{run}", workload.name()));
                snapshots.push(line::snapshot(world, workload, &name, ready.rows).await?);
            }
            drains.push(line::drain(world, workload, &name, ready.rows, process).await?);
        }
        self.put("line-snapshot", workload.name(), MILLRACE, false, &snapshots)?;
        self.put("line-drain", workload.name(), MILLRACE, false, &drains)
    }

    /// A backlog of inserts, updates and deletes, in transactions of 100 changes, for the producers that were drained.
    async fn churn(&mut self, ready: &mut Ready) -> Result<()> {
        let transactions = workload::churn_transactions(ready.rows);
        let (changes, records) = (transactions * CHURN_CHANGES, transactions * CHURN_RECORDS);
        if changes == 0 {
            return Ok(());
        }
        let mut mysql = self.world.mysql().await?;
        workload::create_churn(&mut mysql).await?;
        let begun = Instant::now();
        workload::churn(&mut mysql, ready.rows).await?;
        mysql.close().await?;
        say(&format!("churn: {changes} changes made after {:.0} s", begun.elapsed().as_secs_f64()));
        let mut runs = Vec::new();
        for (name, process) in &mut ready.producers {
            let base = producer::base(self.world, self.world.topics(name, ready.workload)).await?;
            process.start_again()?;
            runs.push(producer::publish(self.world, process, base, (changes, records)).await?);
            producer::stop(process).await?;
        }
        self.put("drain", "churn", MILLRACE, false, &runs)
    }

    async fn idle(&mut self) -> Result<()> {
        let tables = self.options.idle_tables;
        say(&format!("\nidle: {tables} tables in which nothing happens"));
        let found = idle::run(self.world, tables).await?;
        self.results.idle = found;
        self.results.save(self.output)
    }

    async fn latencies(&mut self) -> Result<()> {
        say(&format!("\nlatency: from commit to visibility, orders, {:?} of each steady state", self.options.lasting));
        for profile in [Profile::Default, Profile::LowLatency] {
            for changes in self.options.rates.clone() {
                let rate = latency::Rate { changes, lasting: self.options.lasting };
                let mut runs = Vec::new();
                for run in 0..self.options.runs {
                    let label = format!("{}_{changes}_{run}", profile.name().replace('-', "_"));
                    runs.push(Box::pin(latency::run(self.world, &label, profile, rate)).await?);
                }
                if let Some(found) = latency::figure(profile, rate, &runs) {
                    say(&screen::latency(&found));
                    self.results.put_latency(found);
                    self.results.save(self.output)?;
                }
            }
        }
        Ok(())
    }
}
