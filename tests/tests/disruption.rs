//! The disruption matrix: {kill, cut, freeze, fill} × {source, producer, broker, registry} × {snapshot, streaming, schema change}.
//!
//! All cells share one set of private servers, behind proxies of the test's own. In each, a load changes the rows all the time. Afterwards the topic,
//! folded by key, is the source's table; each committed change is in it once, in its order; `source.seq` rises strictly; and no row was read twice by
//! the snapshot: a chunk that is committed isn't read again.

use std::fmt;
use std::time::{Duration, Instant};

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::proxy::Proxy;
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::server::{Daemon, Disk, KafkaServer, MySqlServer, Options, RegistryServer};
use millrace_tests::stack::Stack;
use millrace_tests::wait::{Probe, until};
use serde_json::{Value, json};

use crate::sources::{Running, running};

const STATE_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(25);
/// From then on each update writes the new column.
const ADD_COLUMN: &str = "ALTER TABLE a ADD COLUMN touched TIMESTAMP(6) NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP(6) AFTER name";
/// Of each of two tables; a snapshot that is to be met reads them one by one.
const ROWS: usize = 600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disruption {
    /// `kill -9`, and a start after a while.
    Kill,
    /// All its connections end, and none is made for a while.
    Cut,
    /// It answers nobody for a while, and its connections stay.
    Freeze,
    /// Its disk is full for a while.
    Fill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Source,
    Producer,
    Broker,
    Registry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Snapshot,
    Streaming,
    SchemaChange,
}

use Disruption::{Cut, Fill, Freeze, Kill};
use Moment::{SchemaChange, Snapshot, Streaming};
use Victim::{Broker, Producer, Registry, Source};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell(Disruption, Victim, Moment);

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} × {:?} × {:?}", self.0, self.1, self.2)
    }
}

impl Cell {
    fn all() -> Vec<Self> {
        let of = |disruption| {
            [Source, Producer, Broker, Registry]
                .into_iter()
                .flat_map(move |victim| [Snapshot, Streaming, SchemaChange].into_iter().map(move |moment| Self(disruption, victim, moment)))
        };
        [Kill, Cut, Freeze, Fill].into_iter().flat_map(of).collect()
    }

    /// Why there is nothing to try.
    fn not_applicable(self) -> Option<&'static str> {
        (self.0 == Fill && self.1 == Producer).then_some("the producer keeps nothing on a disk")
    }
}

/// The servers of all cells. Fields are dropped in this order: disks last.
struct Servers {
    mysql: MySqlServer,
    kafka: KafkaServer,
    registry: RegistryServer,
    ways: Ways,
    disks: Option<Disks>,
}

/// From the producer to each server.
struct Ways {
    mysql: Proxy,
    kafka: Proxy,
    registry: Proxy,
}

impl Ways {
    fn all(&self) -> [&Proxy; 3] {
        [&self.mysql, &self.kafka, &self.registry]
    }
}

struct Disks {
    mysql: Disk,
    kafka: Disk,
    registry: Disk,
}

impl Servers {
    /// None, after printing why, if one can't be had.
    async fn start(world: &World) -> Result<Option<Self>> {
        let disk = |name: &str, mib| Disk::mount(&world.directory.join(name), mib);
        let disks = match (disk("mysql.disk", 600)?, disk("kafka.disk", 400)?, disk("registry.disk", 64)?) {
            (Some(mysql), Some(kafka), Some(registry)) => Some(Disks { mysql, kafka, registry }),
            _ => None,
        };
        let nowhere = "127.0.0.1:9";
        let ways =
            Ways { mysql: Proxy::start(nowhere).await?, kafka: Proxy::start(nowhere).await?, registry: Proxy::start(nowhere).await? };
        let options = Options { data: disks.as_ref().map(|disks| disks.mysql.path()), ..Options::default() };
        let (mysql, kafka, registry) = tokio::join!(
            MySqlServer::start(&world.directory, options),
            KafkaServer::start(&world.directory, disks.as_ref().map(|disks| disks.kafka.path()), ways.kafka.port()),
            RegistryServer::start(&world.directory, disks.as_ref().map(|disks| disks.registry.path())),
        );
        let (Some(mysql), Some(kafka), Some(registry)) = (mysql?, kafka?, registry?) else { return Ok(None) };
        for (way, port) in [(&ways.mysql, mysql.port), (&ways.kafka, kafka.proxied_port), (&ways.registry, registry.port)] {
            way.lead_to(&format!("127.0.0.1:{port}"));
        }
        Ok(Some(Self { mysql, kafka, registry, ways, disks }))
    }

    /// As the load and the judge see them.
    fn stack(&self, others: &Stack) -> Stack {
        Stack { brokers: self.kafka.brokers(), registry: RegistryServer::url_at(self.registry.port), ..self.mysql.stack(others) }
    }

    /// As the producer sees them.
    fn stack_behind_proxies(&self, others: &Stack) -> Stack {
        Stack {
            brokers: self.ways.kafka.address(),
            registry: RegistryServer::url_at(self.ways.registry.port()),
            ..self.mysql.stack_at(others, self.ways.mysql.port())
        }
    }

    /// Whatever an earlier cell has left: all work again.
    async fn mend(&mut self) -> Result<()> {
        for way in self.ways.all() {
            way.resume();
        }
        if let Some(disks) = &self.disks {
            for disk in [&disks.mysql, &disks.kafka, &disks.registry] {
                disk.free();
            }
        }
        self.mysql.daemon.mend().await?;
        self.kafka.daemon.mend().await?;
        self.registry.daemon.mend().await
    }

    fn disk(&self, victim: Victim) -> Result<&Disk> {
        let disks = self.disks.as_ref().context("no disks")?;
        match victim {
            Source => Ok(&disks.mysql),
            Broker => Ok(&disks.kafka),
            Registry => Ok(&disks.registry),
            Producer => Err(Failure::new("the producer has no disk")),
        }
    }

    fn ways_of(&self, victim: Victim) -> Vec<&Proxy> {
        match victim {
            Source => vec![&self.ways.mysql],
            Broker => vec![&self.ways.kafka],
            Registry => vec![&self.ways.registry],
            Producer => self.ways.all().to_vec(),
        }
    }

    /// The victim's server; none is the producer.
    fn server(&mut self, victim: Victim) -> Option<&mut Daemon> {
        match victim {
            Source => Some(&mut self.mysql.daemon),
            Broker => Some(&mut self.kafka.daemon),
            Registry => Some(&mut self.registry.daemon),
            Producer => None,
        }
    }

    fn kill(&mut self, victim: Victim, running: &mut Running) -> Result<()> {
        match self.server(victim) {
            Some(server) => server.kill(),
            None => running.producer.kill(),
        }
    }

    async fn start_again(&mut self, victim: Victim, running: &mut Running) -> Result<()> {
        match self.server(victim) {
            Some(server) => server.start().await,
            None => running.producer.start_again(),
        }
    }

    fn freeze(&mut self, victim: Victim, running: &mut Running) -> Result<()> {
        match self.server(victim) {
            Some(server) => server.freeze(),
            None => running.producer.freeze(),
        }
    }

    fn thaw(&mut self, victim: Victim, running: &mut Running) -> Result<()> {
        match self.server(victim) {
            Some(server) => server.thaw(),
            None => running.producer.thaw(),
        }
    }
}

/// One cell, from an empty database to the judge.
async fn run(servers: &mut Servers, world: &World, number: usize, cell: Cell) -> Result<()> {
    servers.mend().await?;
    let direct = world.part(&number.to_string(), servers.stack(&world.stack)).await?;
    let mut settings = settings(&direct.seen_at(servers.stack_behind_proxies(&world.stack)))?;
    if cell.2 == Snapshot {
        settings["snapshot"] = json!({ "chunk_rows": 1, "workers": 1 });
    }
    let mut running = running(&direct, &settings, ROWS).await?;
    let state = if cell.2 == Snapshot { "snapshot" } else { "streaming" };
    let what = format!("the producer's state is {state}");
    until(&what, STATE_WITHIN, async || {
        let status = running.producer.status().await?;
        let read =
            status["tables"].as_object().is_some_and(|tables| tables.values().any(|table| table["snapshot_rows"].as_u64() > Some(0)));
        Ok(Probe::of(status["state"] == state && read, || status.to_string()))
    })
    .await?;
    if cell.2 != Snapshot {
        running.more(20).await?;
    }
    disrupt(servers, &direct, &mut running, cell).await?;
    running.producer.ready().await.context("after it")?;
    running.more(30).await?;
    let (verdict, mut producer) = running.judge(&direct).await?;
    must(verdict.changes > 50, || format!("no load: {verdict:?}"))?;
    producer.stop(STOPPED_WITHIN).await?;
    producer.must_not_have_panicked()?;
    direct.admin().await?.run(&format!("DROP DATABASE {}", direct.name)).await
}

fn settings(proxied: &World) -> Result<Value> {
    let mut settings = proxied.producer_settings()?;
    settings["snapshot"] = json!({ "chunk_rows": 25 });
    settings["source"]["heartbeat_interval"] = json!("300ms");
    settings["source"]["read_timeout"] = json!("2s");
    settings["source"]["connect_timeout"] = json!("2s");
    Ok(settings)
}

/// Does it and ends it. The source takes its schema change before its own trouble, the others during theirs.
async fn disrupt(servers: &mut Servers, direct: &World, running: &mut Running, Cell(disruption, victim, moment): Cell) -> Result<()> {
    let alter = async || match moment {
        SchemaChange => direct.mysql().await?.run(ADD_COLUMN).await,
        Snapshot | Streaming => Ok(()),
    };
    if victim == Source {
        alter().await?;
    }
    let meanwhile = async |running: &Running| {
        if victim != Source {
            alter().await?;
        }
        running.more(30).await
    };
    match disruption {
        Kill => {
            servers.kill(victim, running)?;
            if victim != Source {
                meanwhile(running).await?;
            }
            servers.start_again(victim, running).await
        }
        Cut => {
            for way in servers.ways_of(victim) {
                way.refuse();
            }
            meanwhile(running).await?;
            for way in servers.ways_of(victim) {
                way.resume();
            }
            Ok(())
        }
        Freeze => {
            servers.freeze(victim, running)?;
            match victim {
                // Nothing can be written: it lasts until the producer has noticed.
                Source => {
                    until("the silence is noticed", STATE_WITHIN, async || {
                        Ok(Probe::of(running.producer.log()?.contains("kept silent"), || "nothing told".to_owned()))
                    })
                    .await?;
                }
                _ => meanwhile(running).await?,
            }
            servers.thaw(victim, running)
        }
        Fill => {
            let before = servers.told_of_full_disk(victim)?;
            servers.disk(victim)?.fill()?;
            // From the first write on the source's writers fail or wait: nothing more is to be done meanwhile.
            if victim != Source {
                meanwhile(running).await?;
            }
            if let Some(before) = before {
                until("it meets its full disk", STATE_WITHIN, async || {
                    Ok(Probe::of(servers.told_of_full_disk(victim)? > Some(before), || "nothing told".to_owned()))
                })
                .await?;
            }
            servers.disk(victim)?.free();
            // It waits for a minute between its tries, or has ended, or refuses what it took for broken: it is started anew, as somebody would.
            servers.kill_if_running(victim)?;
            servers.start_again(victim, running).await
        }
    }
}

impl Servers {
    /// How often it has told that its disk is full. The registry writes only when a schema is new to it, and then it may have the room already.
    fn told_of_full_disk(&self, victim: Victim) -> Result<Option<usize>> {
        Ok(match victim {
            Source => Some(self.mysql.daemon.log()?.matches("errno: 28").count() + self.mysql.daemon.log()?.matches("is full").count()),
            Broker => Some(self.kafka.daemon.log()?.matches("No space left").count()),
            Registry | Producer => None,
        })
    }

    fn kill_if_running(&mut self, victim: Victim) -> Result<()> {
        self.server(victim).map_or(Ok(()), Daemon::end)
    }
}

/// Runs cells one after the other: what one does to a server the next would feel.
fn cells(name: &str, cells: &[Cell]) {
    scenario(name, async |world| {
        let Some(mut servers) = Servers::start(world).await? else { return Ok(()) };
        let wanted = std::env::var("MILLRACE_CELLS").unwrap_or_default();
        let mut failures = Vec::new();
        for (number, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.to_string().contains(&wanted)) {
            let begun = Instant::now();
            let outcome = match cell.not_applicable() {
                Some(why) => Err(why),
                None if cell.0 == Fill && servers.disks.is_none() => Err("no disk can be mounted here"),
                None => Ok(Box::pin(run(&mut servers, world, number, *cell)).await),
            };
            let took = begun.elapsed().as_secs_f32();
            match outcome {
                Err(why) => world.note(&format!("{cell}: left out, {why}")),
                Ok(Ok(())) => world.note(&format!("{cell}: {took:.1} s")),
                Ok(Err(failure)) => {
                    world.note(&format!("{cell}: FAILED after {took:.1} s: {failure}"));
                    failures.push(format!("{cell} ({number}): {failure}"));
                }
            }
        }
        must(failures.is_empty(), || format!("{} cells failed:\n{}", failures.len(), failures.join("\n")))
    });
}

/// One of each disruption, each of another victim.
#[test]
fn some_disruptions() {
    cells(
        "disruption",
        &[
            Cell(Kill, Broker, Streaming),
            Cell(Cut, Source, Snapshot),
            Cell(Freeze, Producer, SchemaChange),
            Cell(Fill, Registry, SchemaChange),
        ],
    );
}

#[test]
#[ignore = "slow: make test-slow"]
fn every_disruption() {
    millrace_tests::deadline::lift();
    cells("disruptions", &Cell::all());
}
