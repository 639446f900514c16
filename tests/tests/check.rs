//! The assessment before the start: each thing that it looks for is broken on real servers, one after the other, and exactly that finding must come, the others
//! being those of the unbroken run.
//!
//! Three things need a stand-in, since no server here can be made to show them: Aurora's own variable, a registry with modes and users, and a clock of its own
//! for one process. Each stands between real servers and real processes, and says what it is. What remains for the unit tests of the judges: RDS without
//! Aurora, brokers before 2.5, ClickHouse before 25.6.

mod clickhouse;
mod kafka;
mod registry;
mod source;
mod starts;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millrace_tests::failure::{Context, Result};
use millrace_tests::processes::Binary;
use millrace_tests::scenario::{World, must};
use millrace_tests::wait::{Probe, until};
use serde_json::Value;

/// How long a start that is refused may take.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Id, severity and subject of each finding.
type Findings = BTreeSet<(String, String, String)>;

/// What one run said.
pub(crate) struct Assessed {
    pub(crate) findings: Findings,
    /// The whole answer.
    pub(crate) json: Value,
}

/// Has a producer make topics and schemas of all tables. It makes them beside the stream; a table that is read has them.
pub(crate) async fn published(world: &World) -> Result<()> {
    let mut producer = world.producer().await?;
    until("all tables have topics and schemas", ENDS_WITHIN, async || {
        let status = producer.status().await?;
        Ok(Probe::of(status["snapshot_done"] == true, || status.to_string()))
    })
    .await?;
    producer.stop(ENDS_WITHIN).await
}

/// Runs `check`. Its exit code must be as its errors are.
pub(crate) async fn assess(world: &World, binary: Binary, settings: &Value) -> Result<Assessed> {
    assess_with(world, binary, settings, &[]).await
}

/// Runs `check` with further variables in its environment.
async fn assess_with(world: &World, binary: Binary, settings: &Value, variables: &Variables) -> Result<Assessed> {
    let (code, text) = print_with(world, binary, settings, "json", variables).await?;
    let json: Value = serde_json::from_str(&text).context(&text)?;
    let findings = json["findings"].as_array().context("no findings")?.iter().map(|finding| {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        (text("id"), text("severity"), text("subject"))
    });
    let findings: Findings = findings.collect();
    let errors = findings.iter().filter(|(_, severity, _)| severity == "error").count();
    must(code == i32::from(errors > 0), || format!("exit code {code} with {errors} errors: {text}"))?;
    Ok(Assessed { findings, json })
}

/// The exit code, and what it prints in a form.
pub(crate) async fn print(world: &World, binary: Binary, settings: &Value, form: &str) -> Result<(i32, String)> {
    print_with(world, binary, settings, form, &[]).await
}

/// Of a process's environment.
type Variables = [(&'static str, OsString)];

async fn print_with(world: &World, binary: Binary, settings: &Value, form: &str, variables: &Variables) -> Result<(i32, String)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let config = world.directory.join(format!("check_{}.yaml", NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(&config, serde_json::to_string_pretty(settings)?)?;
    let (path, form) = (binary.path()?, form.to_owned());
    let variables = variables.to_vec();
    let ran = move || Command::new(path).arg("check").arg("--config").arg(config).args(["--output", &form]).envs(variables).output();
    let output = tokio::task::spawn_blocking(ran).await??;
    let (out, errors) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr).into_owned());
    must(!errors.contains("panicked"), || errors.clone())?;
    Ok((output.status.code().context(errors)?, out))
}

/// The unbroken run, and the runs that are held against it.
pub(crate) struct Base<'a> {
    world: &'a World,
    binary: Binary,
    settings: Value,
    findings: Findings,
}

impl<'a> Base<'a> {
    pub(crate) async fn new(world: &'a World, binary: Binary, settings: Value) -> Result<Self> {
        let Assessed { findings, json } = assess(world, binary, &settings).await?;
        // The machine's disk may be as full as it likes.
        let worse: Vec<_> = findings.iter().filter(|(id, severity, _)| severity != "info" && id != "clickhouse.disk").collect();
        must(worse.is_empty(), || format!("the unbroken run has findings: {worse:?} in {json:#}"))?;
        Ok(Self { world, binary, settings, findings })
    }

    pub(crate) fn settings(&self) -> &Value {
        &self.settings
    }

    /// Exactly these findings come to those of the unbroken run, each as id, severity, subject.
    pub(crate) async fn expect(&self, what: &str, expected: &[(&str, &str, &str)]) -> Result<Assessed> {
        self.expect_with(what, &self.settings, expected).await
    }

    /// The same with other settings.
    pub(crate) async fn expect_with(&self, what: &str, settings: &Value, expected: &[(&str, &str, &str)]) -> Result<Assessed> {
        self.judge(what, assess(self.world, self.binary, settings).await.context(what)?, expected)
    }

    /// The same in another environment.
    pub(crate) async fn expect_in(&self, what: &str, variables: &Variables, expected: &[(&str, &str, &str)]) -> Result<Assessed> {
        self.judge(what, assess_with(self.world, self.binary, &self.settings, variables).await.context(what)?, expected)
    }

    fn judge(&self, what: &str, assessed: Assessed, expected: &[(&str, &str, &str)]) -> Result<Assessed> {
        // The machine's disk may fill or empty meanwhile.
        let is_told = |finding: &&(String, String, String)| finding.0 != "clickhouse.disk";
        let mut wanted = self.findings.clone();
        wanted.extend(expected.iter().map(|(id, severity, subject)| ((*id).to_owned(), (*severity).to_owned(), (*subject).to_owned())));
        let more: Vec<_> = assessed.findings.difference(&wanted).filter(is_told).collect();
        let less: Vec<_> = wanted.difference(&assessed.findings).filter(is_told).collect();
        must(more.is_empty() && less.is_empty(), || format!("{what}: too many: {more:?}, missing: {less:?} in {:#}", assessed.json))?;
        Ok(assessed)
    }

    /// Only these errors and warnings come, where what is broken hides the rest.
    pub(crate) async fn expect_only(&self, what: &str, settings: &Value, expected: &[(&str, &str)]) -> Result<Assessed> {
        let assessed = assess(self.world, self.binary, settings).await.context(what)?;
        let found: BTreeSet<(&str, &str)> = assessed
            .findings
            .iter()
            .filter(|(id, severity, _)| severity != "info" && id != "clickhouse.disk")
            .map(|(id, severity, _)| (id.as_str(), severity.as_str()))
            .collect();
        must(found == expected.iter().copied().collect(), || format!("{what}: {found:?} in {:#}", assessed.json))?;
        Ok(assessed)
    }
}

/// Why this wasn't looked for.
pub(crate) fn unchecked(assessed: &Assessed, id: &str) -> Option<String> {
    let unchecked = assessed.json["unchecked"].as_array()?.iter().find(|unchecked| unchecked["id"] == id)?;
    unchecked["reason"].as_str().map(str::to_owned)
}

/// The remedy of the finding with this id.
pub(crate) fn fix_of(assessed: &Assessed, id: &str) -> String {
    let findings = assessed.json["findings"].as_array().cloned().unwrap_or_default();
    let found = findings.iter().find(|finding| finding["id"] == id);
    found.and_then(|finding| finding["fix"].as_str()).unwrap_or_default().to_owned()
}
