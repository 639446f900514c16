//! A small disk of a test's own, which can be filled to its last byte.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Context, Result};

const PIECE_BYTES: usize = 1 << 20;

/// A file system in memory, gone when this is dropped: drop its server first.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one of so many MiB; none, after printing why, where that isn't allowed.
    ///
    /// # Errors
    /// If its directory can't be made.
    pub fn mount(path: &Path, mib: u32) -> Result<Option<Self>> {
        std::fs::create_dir_all(path).context(path.display())?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "millrace-tests"]).arg(path).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Some(Self { path: path.to_owned() })),
            Ok(output) => {
                eprintln!("no disk can be filled, since none can be mounted: {}", String::from_utf8_lossy(&output.stderr).trim());
                Ok(None)
            }
            Err(error) => {
                eprintln!("no disk can be filled, since there is no mount: {error}");
                Ok(None)
            }
        }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// If it ends otherwise than by a full disk.
    pub fn fill(&self) -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.ballast())?;
        for size in [PIECE_BYTES, 1] {
            let piece = vec![0; size];
            loop {
                match file.write(&piece) {
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context(self.ballast().display()),
                }
            }
        }
        Ok(())
    }

    /// Fills it but for so many MiB.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    pub fn fill_but(&self, mib: u64) -> Result<()> {
        self.fill()?;
        let file = OpenOptions::new().write(true).open(self.ballast())?;
        let length = file.metadata()?.len();
        file.set_len(length.saturating_sub(mib << 20)).context(self.ballast().display())
    }

    /// Makes room again.
    pub fn free(&self) {
        // It may not have been filled.
        let _ = std::fs::remove_file(self.ballast());
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a file may still be open for a moment.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).output();
    }
}
