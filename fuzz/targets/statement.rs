//! A mode, then a statement of the log: what it is, what it does to which tables, and the table that it makes or changes, whose key is of its columns.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_producer::binlog::statement::Statement;
use millrace_producer::ddl::{Ddl, SqlMode, apply};

fuzz_target!(|data: &[u8]| {
    let Some((flags, statement)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(statement) else { return };
    let mode = SqlMode { ansi_quotes: flags & 1 != 0, no_backslash_escapes: flags & 2 != 0, real_as_float: flags & 4 != 0 };
    let _ = Statement::parse(text, mode);
    let _ = Ddl::parse(text, mode);
    let table = "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(10) CHARACTER SET gbk, b DECIMAL(5,2), c ENUM('x','y'), KEY (a))";
    let known = apply::create(table, SqlMode::default(), ("d", "t"), None);
    let Ok(known) = known else { panic!("the table to change isn't understood: {known:?}") };
    for made in [apply::create(text, mode, ("d", "t"), Some(&known)), apply::alter(&known, text, mode)].into_iter().flatten() {
        assert!(made.shape.key.iter().all(|&column| column < made.shape.columns.len()), "a key of no column");
    }
});
