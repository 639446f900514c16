//! Runs this program under callgrind.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What glibc may not choose by the processor: its string functions of the widest registers take other counts than those that every x86-64 of the last ten years has.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-ERMS,-FSRM,-Prefer_ERMS,-Prefer_FSRM";

/// The instructions of each call of `function`, in order, of this program run with `flag` and `words`.
pub(crate) fn totals(flag: &str, words: &[String], function: &str) -> Result<Vec<u64>, String> {
    let directory = directory()?;
    let own = std::env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg("--collect-atstart=no")
        .arg(format!("--toggle-collect={function}"))
        .arg(format!("--dump-after={function}"))
        .arg(format!("--callgrind-out-file={}/counts", directory.display()))
        .arg(own)
        .arg(flag)
        .args(words)
        .env("GLIBC_TUNABLES", TUNABLES)
        .output()
        .map_err(|error| {
            format!("valgrind can't be run: {error}; install it (`make instructions` does so, or apt-get install valgrind)")
        })?;
    if !output.status.success() {
        return Err(format!("under valgrind the cases ended with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let mut totals = Vec::new();
    // The dumps are numbered from 1; the one that is written at the end has no number, and nothing in it.
    while let Some(total) = total(&directory.join(format!("counts.{}", totals.len() + 1)))? {
        totals.push(total);
    }
    Ok(totals)
}

/// An empty directory beside the program.
fn directory() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    let directory = own.with_file_name("instructions.callgrind");
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    if directory.exists() {
        std::fs::remove_dir_all(&directory).map_err(failed)?;
    }
    std::fs::create_dir(&directory).map_err(failed)?;
    Ok(directory)
}

/// The instructions in one dump; none if there is no such dump.
fn total(dump: &Path) -> Result<Option<u64>, String> {
    if !dump.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(dump).map_err(|error| format!("{}: {error}", dump.display()))?;
    let found = text.lines().find_map(|line| line.strip_prefix("summary: ").or_else(|| line.strip_prefix("totals: ")));
    match found.and_then(|number| number.trim().parse().ok()) {
        Some(total) => Ok(Some(total)),
        None => Err(format!("{}: no sum of instructions; is this valgrind older than 3.19?", dump.display())),
    }
}
