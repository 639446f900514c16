//! The demo: a small shop in MySQL, streamed into ClickHouse while it trades, watched, and compared row by row at the end.
//!
//! `demo` does it all and leaves the pipeline running; `demo stop` stops what it left.

mod pipeline;
mod screen;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use millrace_tests::clickhouse::ClickHouse;
use millrace_tests::compare::{self, Comparison};
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::shop::{self, DATABASE};
use millrace_tests::source::{Source, quote};
use millrace_tests::stack::Stack;
use millrace_tests::wait::{Probe, until};
use millrace_tests::{kafka, registry};
use tokio::time::{Instant, sleep};

use pipeline::Pipeline;
use screen::{Row, Screen};

const TRADING: Duration = Duration::from_secs(40);
const COLUMN_AFTER: Duration = Duration::from_secs(15);
const APPLIED_WITHIN: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        None => tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(demo())),
        Some("stop") => pipeline::stop().map(|()| true),
        Some(_) => Err(Failure::new("usage: demo [stop]")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all was equal in the end.
async fn demo() -> Result<bool> {
    let stack = Stack::find()?;
    pipeline::stop()?;
    clean(&stack).await?;
    let mut mysql = Source::connect(&stack, None).await?;
    shop::create(&mut mysql).await?;
    pipeline::create_user(&mut mysql).await?;
    let tables = mysql.tables(DATABASE).await?;
    screen::say(&format!(
        "MySQL has the database '{DATABASE}': {} tables. Starting one producer and two consumers, and the trade.",
        tables.len()
    ));
    let pipeline = Pipeline::start(&stack)?;
    let (stop, transactions) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let trade = {
        let (stack, stop, transactions) = (stack.clone(), Arc::clone(&stop), Arc::clone(&transactions));
        tokio::spawn(async move { shop::trade(&stack, stop, transactions, COLUMN_AFTER).await })
    };
    watch(&stack, &mut mysql, &tables, &pipeline, &transactions, || trade.is_finished()).await?;
    stop.store(true, Ordering::Relaxed);
    trade.await.context("the trade")??;
    screen::say(
        "The trade has stopped; on its way the table orders got the column 'channel'. Waiting until all is in ClickHouse, then comparing every row.",
    );
    let comparison = settle(&stack, &mut mysql, &tables, &pipeline).await?;
    screen::say(&screen::result(&comparison));
    screen::say(&pipeline.addresses(&stack));
    Ok(comparison.is_equal())
}

/// Removes what an earlier run left.
async fn clean(stack: &Stack) -> Result<()> {
    let prefix = format!("{DATABASE}.");
    kafka::delete(stack, &prefix, pipeline::GROUP).await?;
    until("the topics of an earlier run are gone", Duration::from_secs(20), async || {
        let left = kafka::topics(stack, &prefix).await?;
        Ok(Probe::of(left.is_empty(), || format!("{left:?}")))
    })
    .await?;
    registry::delete(stack, &registry::subjects(stack, &prefix).await?).await?;
    ClickHouse::new(stack).run(&format!("DROP DATABASE IF EXISTS {DATABASE}")).await?;
    Ok(())
}

/// Shows rows and lag for each table while the shop trades.
async fn watch(
    stack: &Stack,
    mysql: &mut Source,
    tables: &[String],
    pipeline: &Pipeline,
    transactions: &AtomicU64,
    ended: impl Fn() -> bool,
) -> Result<()> {
    let begun = Instant::now();
    let mut screen = Screen::new();
    while begun.elapsed() < TRADING && !ended() {
        pipeline.must_run()?;
        let mut rows = Vec::new();
        for table in tables {
            rows.push(counted(stack, mysql, table).await?);
        }
        screen.show(begun.elapsed(), transactions.load(Ordering::Relaxed), &rows, &pipeline.lag(stack).await);
        // The screen's rhythm; nothing waits for anything here.
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn counted(stack: &Stack, mysql: &mut Source, table: &str) -> Result<Row> {
    let clickhouse = ClickHouse::new(stack);
    let rows = mysql.number(&format!("SELECT COUNT(*) FROM {DATABASE}.{}", quote(table))).await?;
    let there = clickhouse.number(&format!("SELECT count() FROM system.tables WHERE database = '{DATABASE}' AND name = '{table}'")).await?;
    let loaded = match there {
        Some(1) => clickhouse.number(&format!("SELECT count() FROM {DATABASE}.{} FINAL", quote(table))).await?,
        _ => None,
    };
    Ok(Row { table: table.to_owned(), rows, loaded })
}

/// Waits until all is applied, bounded, and returns the last comparison, equal or not.
async fn settle(stack: &Stack, mysql: &mut Source, tables: &[String], pipeline: &Pipeline) -> Result<Comparison> {
    let clickhouse = ClickHouse::new(stack);
    let deadline = Instant::now() + APPLIED_WITHIN;
    loop {
        pipeline.must_run()?;
        let comparison = compare::databases(mysql, &clickhouse, (DATABASE, DATABASE), tables).await?;
        if comparison.is_equal() || Instant::now() > deadline {
            return Ok(comparison);
        }
        sleep(Duration::from_millis(300)).await;
    }
}
