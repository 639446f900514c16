//! What the fuzz targets share. Each target's file says what it feeds to which decoder, and what must hold of the answer beyond that there is one.

use std::sync::Arc;

use millrace_producer::binlog::table_map::Collations;
use millrace_producer::decode::charset::Charset;

/// Character sets that need no table of the server's, one of each kind of decoder.
pub const CHARSETS: [&str; 14] =
    ["utf8mb4", "utf8mb3", "ascii", "binary", "ucs2", "utf16", "utf16le", "utf32", "gbk", "gb18030", "big5", "sjis", "euckr", "ujis"];

/// A server on which collation n is of character set n of [`CHARSETS`], but for those that MySQL itself uses for text and bytes.
#[derive(Debug, Clone, Copy)]
pub struct Server;

impl Collations for Server {
    fn charset(&self, collation: u64) -> Option<(&str, u32)> {
        match collation {
            45 | 255 => Some(("utf8mb4", 4)),
            63 => Some(("binary", 1)),
            _ => {
                let name = CHARSETS.get(usize::try_from(collation).ok()?)?;
                Some((name, u32::from(charset(name)?.max_bytes_per_char())))
            }
        }
    }

    fn label(&self, name: &str, bytes: &[u8]) -> Option<String> {
        let mut text = Vec::new();
        charset(name)?.append_utf8(bytes, &mut text).ok()?;
        String::from_utf8(text).ok()
    }
}

/// The decoder of a character set.
#[must_use]
pub fn charset(name: &str) -> Option<Arc<Charset>> {
    Charset::by_name(name, None).ok().map(Arc::new)
}
