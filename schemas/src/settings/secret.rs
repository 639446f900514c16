//! A secret that may change while the process runs.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::load_text;

/// A secret's file may not be larger.
const BYTES_MAX: u64 = 64 << 10;

/// A secret that is asked for anew each time it is needed: one from a file is read again, since files of secrets are replaced when a password is rotated.
#[derive(Debug, Clone)]
pub struct ChangingSecret {
    text: SecretString,
    file: Option<PathBuf>,
}

impl ChangingSecret {
    pub(super) fn new(text: SecretString, file: Option<PathBuf>) -> Self {
        Self { text, file }
    }

    /// The secret as it is now. Reads the file, if it comes from one.
    ///
    /// # Errors
    /// Why the file, which could be read at the start, can't be now; or that it is empty.
    pub fn now(&self) -> Result<SecretString, String> {
        let Some(file) = &self.file else { return Ok(self.text.clone()) };
        match secret_text(file)? {
            text if text.is_empty() => Err("is empty".to_owned()),
            text => Ok(SecretString::from(text)),
        }
    }

    /// The file that it comes from, if it does.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

/// One that stays as it is.
impl From<SecretString> for ChangingSecret {
    fn from(text: SecretString) -> Self {
        Self { text, file: None }
    }
}

/// A secret's file, of which one newline at the end is dropped.
pub(super) fn secret_text(path: &Path) -> Result<String, String> {
    let mut text = load_text(path, BYTES_MAX)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
