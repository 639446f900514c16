//! Another time for one process: its clock goes as the machine's does, so many seconds apart from it.
//!
//! A library of a few lines stands before the system's `clock_gettime`. The compiler that makes it is there wherever the tests could be built.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::failure::{Context, Failure, Result};

const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    long failed = syscall(SYS_clock_gettime, clock, time);
    const char *ahead = getenv("MILLRACE_TESTS_CLOCK_AHEAD_SECS");
    if (!failed && clock == CLOCK_REALTIME && ahead) time->tv_sec += atol(ahead);
    return (int)failed;
}
"#;

/// The variables that a process must have for its clock to be so many seconds ahead of the machine's.
///
/// # Errors
/// If the library can't be made.
pub fn ahead(directory: &Path, seconds: i64) -> Result<Vec<(&'static str, OsString)>> {
    let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
    if !library.is_file() {
        std::fs::write(&source, LIBRARY)?;
        let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).output().context("cc")?;
        if !made.status.success() {
            return Err(Failure::new(format!("cc: {}", String::from_utf8_lossy(&made.stderr))));
        }
    }
    Ok(vec![("LD_PRELOAD", library.into_os_string()), ("MILLRACE_TESTS_CLOCK_AHEAD_SECS", seconds.to_string().into())])
}
