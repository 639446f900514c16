//! Asks the source for what the judges need.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use millrace_schemas::service::assessment::{Finding, Part, Severity};
use millrace_schemas::shape::TableShape;

use super::tables::{self, TableFacts};
use super::{list, server as judge};
use crate::settings::Settings;
use crate::source::privileges::{self, Missing, Privileges};
use crate::source::server::{self, ServerFacts};
use crate::source::survey::{self, Surveyed};
use crate::source::{Connector, Session, SourceError, SourceSettings, TableFilter, catalog, charsets};

/// Rows of a table that are looked at for dates.
const LOOK_ROWS_MAX: u32 = 10_000;
/// Rows of a table with long columns that are looked at: each may be of megabytes.
const LONG_ROWS_MAX: u32 = 1_000;

/// What there is to know of the source for the other parts.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The tables; none where they couldn't be asked for.
    pub tables: Option<Vec<Surveyed>>,
    /// Bytes of the largest row of each table that was looked at, by `database.table`.
    pub largest: BTreeMap<String, u64>,
}

/// What the producer is to do with the source.
#[must_use]
pub fn intent(settings: &Settings) -> judge::Intent {
    let source = &settings.source;
    let is_local = source.host == "localhost" || source.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    judge::Intent {
        target: source.target(),
        server_id: source.server_id(&settings.name),
        include_query: settings.include_query,
        reads_elsewhere: source.snapshot_host.is_some(),
        tls: Some(source.tls.mode),
        is_local,
    }
}

/// Checks that the server is set up for capture, and that the user may read the binlog and these tables: those that the filter matches and the user sees.
///
/// # Errors
/// [`SourceError::Unfit`] with all that must be mended; and the server's errors.
pub async fn vital(
    session: &mut Session,
    shapes: &[TableShape],
    filter: &TableFilter,
    intent: &judge::Intent,
) -> Result<ServerFacts, SourceError> {
    let facts = server::facts(session).await?;
    // Another kind of server has other privileges: no use in telling about them.
    let privileges = match facts.is_supported() {
        true => privileges::privileges(session, shapes, filter).await?,
        false => Privileges::default(),
    };
    let (errors, others): (Vec<Finding>, Vec<Finding>) =
        judge::vital(&facts, shapes, &privileges, intent).into_iter().partition(|finding| finding.severity == Severity::Error);
    for finding in others {
        tracing::warn!(check = finding.check.id, subject = finding.subject, "{}", finding.line());
    }
    match errors.is_empty() {
        true => Ok(facts),
        false => Err(SourceError::Unfit { target: intent.target.clone(), findings: errors.iter().map(Finding::line).collect() }),
    }
}

/// Asks for all, and judges it. Rows are looked into for as long as `looking` says; none: the server alone is assessed, not the tables.
pub async fn assess(settings: &Settings, looking: Option<Duration>) -> (Part, Source) {
    let intent = intent(settings);
    let connector = Connector::new(settings.source.clone());
    let mut part = Part::default();
    let mut session = match connector.connect().await {
        Ok(session) => session,
        Err(error) => {
            let finding = judge::unreachable(&error, &intent);
            let others = list::SOURCE.iter().copied().filter(|check| check.id != finding.check.id);
            part.skip(others, "the source can't be asked");
            part.findings.push(finding);
            return (part, Source::default());
        }
    };
    let asked = ask(&mut session, &connector, settings, &intent, looking, &mut part).await;
    session.close().await;
    let source = match asked {
        Ok(source) => source,
        Err(error) => {
            part.findings.push(judge::unreachable(&error, &intent));
            Source::default()
        }
    };
    part.findings.extend(reader(settings, &intent).await);
    (part, source)
}

async fn ask(
    session: &mut Session,
    connector: &Connector,
    settings: &Settings,
    intent: &judge::Intent,
    looking: Option<Duration>,
    part: &mut Part,
) -> Result<Source, SourceError> {
    let facts = server::facts(session).await?;
    let wrong = judge::version(&facts, intent);
    if !wrong.is_empty() {
        part.skip(list::SOURCE.iter().copied().filter(|check| check.id != list::VERSION.id), "it is another kind of server");
        part.findings.extend(wrong);
        return Ok(Source::default());
    }
    let Some(looking) = looking else {
        let surroundings = survey::surroundings(session, connector, &facts).await?;
        let judged = judge::judge(&facts, &[], &Privileges::default(), &surroundings, Duration::ZERO, intent);
        part.findings.extend(judged.findings);
        return Ok(Source { tables: Some(Vec::new()), ..Source::default() });
    };
    let surveyed = survey::tables(session, &settings.tables).await?;
    let shapes: Vec<TableShape> = surveyed.iter().filter_map(|table| Some(table.described.as_ref().ok()?.shape.clone())).collect();
    let mut privileges = privileges::privileges(session, &shapes, &settings.tables).await?;
    let unreadable = surveyed.iter().filter(|table| table.described.as_ref().is_err_and(String::is_empty));
    privileges.missing.extend(unreadable.map(|table| Missing::Table(tables::quoted(table))));
    let surroundings = survey::surroundings(session, connector, &facts).await?;
    let judged = judge::judge(&facts, &shapes, &privileges, &surroundings, tables::load(&surveyed), intent);
    part.findings.extend(judged.findings);
    part.unchecked.extend(judged.unchecked);
    let charsets = charsets::load(session).await?;
    let mut known = TableFacts {
        tables: surveyed,
        cascades: catalog::cascades(session, &settings.tables).await?,
        charsets: charsets.iter().map(|charset| charset.name().to_owned()).collect(),
        ..TableFacts::default()
    };
    // Servers before 8.0.29 call it by its old name.
    known.charsets.push("utf8".to_owned());
    let gaps: Vec<String> = charsets.iter().filter(|charset| charset.has_gaps()).map(|charset| charset.name().to_owned()).collect();
    known.looks = looks(session, &known.tables, &gaps, looking, part).await?;
    part.findings.extend(tables::judge(&known, &facts, settings.source.invalid_dates, &intent.target));
    let largest = known.looks.iter().filter_map(|(place, look)| Some((tables::name(known.tables.get(*place)?), look.largest)));
    Ok(Source { largest: largest.collect(), tables: Some(known.tables) })
}

/// Looks into the tables' first rows, the smaller tables first, until the time is over.
async fn looks(
    session: &mut Session,
    surveyed: &[Surveyed],
    gaps: &[String],
    looking: Duration,
    part: &mut Part,
) -> Result<BTreeMap<usize, survey::Look>, SourceError> {
    let until = Instant::now() + looking;
    let mut looks = BTreeMap::new();
    let mut order: Vec<usize> = (0..surveyed.len()).collect();
    order.sort_by_key(|place| surveyed.get(*place).map(|table| table.bytes));
    let mut left = 0_usize;
    for place in order {
        let Some(described) = surveyed.get(place).and_then(|table| table.described.as_ref().ok()) else { continue };
        if Instant::now() >= until {
            left += 1;
            continue;
        }
        let has_long = described.shape.columns.iter().any(|column| survey::is_long(&column.kind));
        match survey::look(session, &described.shape, gaps, if has_long { LONG_ROWS_MAX } else { LOOK_ROWS_MAX }).await {
            Ok(Some(look)) => {
                looks.insert(place, look);
            }
            Ok(None) => {}
            // Dropped meanwhile, or not to be read, which is told as a missing privilege.
            Err(SourceError::Server { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if left > 0 {
        for check in [&list::ZERO_DATES, &list::CHARACTERS, &list::LOSSY] {
            part.unchecked
                .push(check.unchecked(format!("{left} tables weren't looked into: the time for it ({} s) was over", looking.as_secs())));
        }
    }
    Ok(looks)
}

/// The server of `source.snapshot_host`, which must be of the same cluster.
async fn reader(settings: &Settings, intent: &judge::Intent) -> Option<Finding> {
    let host = settings.source.snapshot_host.clone()?;
    let port = settings.source.snapshot_port.unwrap_or(settings.source.port);
    let connector = Connector::new(SourceSettings { host, port, ..settings.source.clone() });
    let intent = judge::Intent { target: connector.target().to_owned(), ..intent.clone() };
    let facts = match connector.connect().await {
        Ok(mut session) => {
            let facts = server::facts(&mut session).await;
            session.close().await;
            facts
        }
        Err(error) => Err(error),
    };
    match facts {
        Ok(facts) => judge::version(&facts, &intent).pop(),
        Err(error) => Some(judge::unreachable(&error, &intent)),
    }
}
