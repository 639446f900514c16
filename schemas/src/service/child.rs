//! An ignored test of this binary in a process of its own, for what a process has once: its signals
//! and its log.

use std::io::{BufRead, BufReader, Read};
use std::process::{self, ChildStdout, Command, Stdio};

const MARK: &str = "MILLRACE_TEST_CHILD";

/// Whether this process is such a child, and not somebody's run of the ignored tests.
pub(super) fn is_child() -> bool {
    std::env::var_os(MARK).is_some()
}

pub(super) struct Child {
    process: process::Child,
    out: BufReader<ChildStdout>,
}

impl Child {
    pub(super) fn running(test: &str, variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env_remove("RUST_LOG")
            .env(MARK, "1")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        Self { process, out }
    }

    /// Reads the child's lines up to this one.
    pub(super) fn wait_for(&mut self, wanted: &str) {
        let mut line = String::new();
        while line.trim() != wanted {
            line.clear();
            let bytes = self.out.read_line(&mut line).unwrap();
            assert_ne!(bytes, 0, "the child ended without {wanted:?}");
        }
    }

    pub(super) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// The exit code and what was written to standard error.
    pub(super) fn end(mut self) -> (Option<i32>, String) {
        let mut err = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.process.wait().unwrap().code(), err)
    }
}
