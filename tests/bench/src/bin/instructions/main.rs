//! The instructions that hot functions take for each row, held against committed bounds: time on a shared machine is noise, these counts aren't.
//!
//! `instructions` runs itself once under valgrind's callgrind, which counts within [`counted_run`] alone, and compares what each case takes with `instructions.txt` beside
//! `Cargo.toml`. A case above its bound fails; one that is far below says so, so that the bound follows. `instructions --write` writes the bounds, `instructions WORD…`
//! counts only the cases whose names have one of the words in them.

mod bounds;
mod callgrind;
mod consumer;
mod producer;

use std::process::ExitCode;

use bounds::Bounds;

/// A hot function with something to do.
pub struct Case {
    /// What is counted; unique.
    pub name: &'static str,
    /// The rows that one run handles.
    pub rows: u64,
    /// One run. It is run once before the counting, so that buffers have their sizes.
    pub run: Box<dyn FnMut()>,
}

/// The argument by which the program tells itself that it is the counted process.
const COUNTED: &str = "--counted";

fn cases(words: &[String]) -> Vec<Case> {
    let mut cases = producer::cases();
    cases.extend(consumer::cases());
    cases.retain(|case| words.is_empty() || words.iter().any(|word| case.name.contains(word)));
    cases
}

/// The function that callgrind counts in, and after each return of which it writes the counts down. Its name is what it is told.
#[inline(never)]
fn counted_run(case: &mut Case) {
    (case.run)();
}

#[allow(clippy::print_stdout, reason = "the table is what the program is for")]
fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let takes = |words: &mut Vec<String>, flag: &str| {
        let before = words.len();
        words.retain(|word| word != flag);
        words.len() < before
    };
    let (counted, write) = (takes(&mut words, COUNTED), takes(&mut words, "--write"));
    if let Some(unknown) = words.iter().find(|word| word.starts_with('-')) {
        eprintln!("error: {unknown} is not known\nusage: instructions [--write] [WORD…]");
        return ExitCode::FAILURE;
    }
    if counted {
        for mut case in cases(&words) {
            (case.run)();
            counted_run(&mut case);
        }
        return ExitCode::SUCCESS;
    }
    match count(&words, write) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the table is what the program is for")]
fn count(words: &[String], write: bool) -> Result<ExitCode, String> {
    let cases: Vec<(&str, u64)> = cases(words).iter().map(|case| (case.name, case.rows)).collect();
    let totals = callgrind::totals(COUNTED, words, "instructions::counted_run")?;
    if totals.len() != cases.len() {
        return Err(format!("callgrind counted {} runs of {} cases; is this valgrind older than 3.19?", totals.len(), cases.len()));
    }
    let mut bounds = Bounds::read()?;
    let mut failed = false;
    println!("{:>12} {:>12}  case", "per row", "bound");
    for ((name, rows), total) in cases.into_iter().zip(totals) {
        let per_row = total.div_ceil(rows);
        if write {
            bounds.set(name, per_row);
        }
        let verdict = bounds.judge(name, per_row);
        failed |= verdict.failed;
        println!("{per_row:>12} {:>12}  {name}{}", verdict.bound, verdict.words);
    }
    if write {
        bounds.write()?;
    }
    if failed {
        eprintln!(
            "error: hot functions take more instructions than they may. Find what was added (valgrind --tool=callgrind, callgrind_annotate) and take it out of the row's \
             way; if it must be, raise the bounds by `make instructions WRITE=--write` and give the reason in the commit"
        );
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
