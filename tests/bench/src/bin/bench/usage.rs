//! What processes use, as Linux tells it (proc(5)): CPU time and the most memory; and which processes the servers are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::stack::Stack;

use crate::figure::{Run, float};

/// Clock ticks of a second in `/proc/<pid>/stat`. The kernel's interface has 100 on every architecture that the stack runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds that a process has used, its ended threads included.
pub(crate) fn cpu(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).context(&path)?;
    ticks(&text).context(&path)
}

/// CPU seconds that the threads of a process have used, by their names; those of one name together.
pub(crate) fn threads(pid: u32) -> Result<BTreeMap<String, f64>> {
    let path = format!("/proc/{pid}/task");
    let mut threads = BTreeMap::new();
    for thread in std::fs::read_dir(&path).context(&path)?.flatten() {
        // One that ends meanwhile is none any more.
        let Ok(text) = std::fs::read_to_string(thread.path().join("stat")) else { continue };
        let Some((name, _)) = text.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')) else { continue };
        *threads.entry(name.to_owned()).or_default() += ticks(&text).context(&path)?;
    }
    Ok(threads)
}

/// User and system time of a `stat`, in seconds.
fn ticks(stat: &str) -> Option<f64> {
    // The name, in parentheses, may hold spaces: the fields behind it are counted.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: Option<u64> = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().ok()).sum();
    Some(float(ticks?) / TICKS_PER_SECOND)
}

/// The most memory that a process has had resident, in MiB.
pub(crate) fn peak_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).context(&path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context(format_args!("{path} has no VmHWM"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context(&path)?;
    Ok(float(kib) / 1024.0)
}

/// CPU seconds that the whole machine has been busy.
fn busy() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let fields: Vec<u64> =
        text.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system; then irq and softirq behind idle and iowait.
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|&field| fields.get(field)).sum();
    Ok(float(busy) / TICKS_PER_SECOND)
}

/// The processes of the servers, as far as they run on this machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Servers {
    /// Name and process.
    pub(crate) pids: BTreeMap<String, u32>,
}

impl Servers {
    /// Looks who listens at the stack's addresses.
    pub(crate) fn find(stack: &Stack) -> Self {
        let port = |address: &str| address.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()?.parse::<u16>().ok());
        let kafka = stack.brokers.split(',').next().and_then(port);
        let named = [("mysqld", Some(stack.mysql_port)), ("kafka", kafka), ("clickhouse", port(&stack.clickhouse))];
        let pids = named.into_iter().filter_map(|(name, port)| Some((name.to_owned(), listener(port?)?)));
        Self { pids: pids.collect() }
    }

    /// Some of them: those that take part in what is measured.
    pub(crate) fn only(&self, names: &[&str]) -> Self {
        Self { pids: self.pids.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(name, pid)| (name.clone(), *pid)).collect() }
    }

    /// The directory in which the broker keeps its topics, if it can be told.
    pub(crate) fn kafka_data(&self) -> Option<PathBuf> {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", self.pids.get("kafka")?)).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        // The last of them: others are the JVM's.
        let settings = arguments.split('\0').rfind(|argument| argument.ends_with(".properties"))?;
        let text = std::fs::read_to_string(settings).ok()?;
        text.lines().find_map(|line| line.strip_prefix("log.dirs=")).map(PathBuf::from)
    }
}

/// The process that listens at a TCP port of this machine.
fn listener(port: u16) -> Option<u32> {
    const LISTEN: &str = "0A";
    let at_port = format!(":{port:04X}");
    let of = |table: &str| -> Option<String> {
        let text = std::fs::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.get(1)?.ends_with(&at_port) && *fields.get(3)? == LISTEN).then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
        })
    };
    let socket = of("/proc/net/tcp").or_else(|| of("/proc/net/tcp6"))?;
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let files = std::fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        if files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|link| link.as_os_str() == socket.as_str()) {
            return Some(pid);
        }
    }
    None
}

/// Some processes while they are measured.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pids: BTreeMap<String, u32>,
    /// Those whose memory is of interest.
    own: Vec<String>,
}

/// How much the processes had used at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// The moment.
    pub(crate) at: Instant,
    cpu: BTreeMap<String, f64>,
    busy: f64,
    /// What this process had used.
    here: f64,
}

impl Meter {
    /// Of the servers, and of processes that are measured themselves.
    pub(crate) fn new(servers: &Servers, own: &[(&str, u32)]) -> Self {
        let mut pids = servers.pids.clone();
        pids.extend(own.iter().map(|(name, pid)| ((*name).to_owned(), *pid)));
        Self { pids, own: own.iter().map(|(name, _)| (*name).to_owned()).collect() }
    }

    /// Of this process, for stages that run within it.
    pub(crate) fn of_this(servers: &Servers) -> Self {
        let mut meter = Self::new(servers, &[("bench", std::process::id())]);
        meter.own.clear();
        meter
    }

    /// Now.
    ///
    /// # Errors
    /// If one of the processes has ended.
    pub(crate) fn now(&self) -> Result<Moment> {
        let cpu = self.pids.iter().map(|(name, pid)| Ok((name.clone(), cpu(*pid).context(format_args!("{name} has ended"))?)));
        Ok(Moment { at: Instant::now(), cpu: cpu.collect::<Result<_>>()?, busy: busy()?, here: self::cpu(std::process::id())? })
    }

    /// What was used between two moments, for so many rows.
    ///
    /// # Errors
    /// If one of the measured processes has ended.
    pub(crate) fn run(&self, from: &Moment, to: &Moment, rows: f64) -> Result<Run> {
        let seconds = (to.at - from.at).as_secs_f64();
        if seconds <= 0.0 {
            return Err(Failure::new("a run took no time that can be measured: take more rows (--rows)"));
        }
        let used = |name: &String| to.cpu.get(name).zip(from.cpu.get(name)).map(|(to, from)| to - from);
        let cpu: BTreeMap<String, f64> = self.pids.keys().filter_map(|name| Some((name.clone(), used(name)?))).collect();
        // What the harness takes itself is no other's.
        let here = if self.pids.values().any(|pid| *pid == std::process::id()) { 0.0 } else { to.here - from.here };
        let known: f64 = cpu.values().sum::<f64>() + here;
        let others = (to.busy - from.busy - known).max(0.0) / seconds;
        let peak_mib = self.own.iter().map(|name| Ok((name.clone(), peak_mib(*self.pids.get(name).context(name)?)?)));
        Ok(Run { rows, seconds, peak_mib: peak_mib.collect::<Result<_>>()?, cpu, bytes: BTreeMap::new(), others: Some(others) })
    }
}

/// The machine, in words.
pub(crate) fn machine() -> BTreeMap<String, String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut machine = BTreeMap::from([
        ("cores".to_owned(), cores.to_string()),
        ("kernel".to_owned(), read("/proc/sys/kernel/osrelease").trim().to_owned()),
    ]);
    machine.extend(field(&read("/proc/cpuinfo"), "model name").map(|name| ("processor".to_owned(), name)));
    machine.extend(field(&read("/proc/meminfo"), "MemTotal").map(|size| ("memory".to_owned(), size)));
    machine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let pid = std::process::id();
        assert!(peak_mib(pid).expect("memory") > 0.5);
        let before = cpu(pid).expect("time");
        // However little of the machine it gets.
        let until = Instant::now() + std::time::Duration::from_secs(60);
        while cpu(pid).expect("time") - before < 0.05 {
            assert!(Instant::now() < until, "its work isn't counted");
        }
    }

    #[test]
    fn a_listener_is_found_by_its_port() {
        let listener_socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener_socket.local_addr().expect("an address").port();
        assert_eq!(listener(port), Some(std::process::id()));
    }
}
