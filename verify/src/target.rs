//! ClickHouse's side of a table: its rows as they stream in.

use millrace_consumer::clickhouse::ClickHouse;
use millrace_consumer::decode::types::Scalar;
use millrace_consumer::rules::Mode;
use millrace_producer::source::select::KeyTexts;

use crate::cell::{self, Wire, WireType};
use crate::error::Error;
use crate::multiset::Newest;
use crate::options::Options;
use crate::select::{Selected, TargetTable, Which};
use crate::settle::Copies;

/// Reads one table.
#[derive(Debug, Clone)]
pub struct TargetReader {
    clickhouse: ClickHouse,
    settings: Vec<(&'static str, String)>,
    /// What is read.
    pub table: TargetTable,
}

const BYTE: Wire = Wire { of: WireType::Scalar(Scalar::UInt(8)), nullable: false, checked: false };
const VERSION: Wire = Wire { of: WireType::Scalar(Scalar::UInt(64)), nullable: false, checked: false };

impl TargetReader {
    /// A reader with the limits that the options set.
    #[must_use]
    pub fn new(clickhouse: ClickHouse, table: TargetTable, options: &Options) -> Self {
        let settings = vec![
            ("max_threads", options.clickhouse_threads.to_string()),
            ("max_memory_usage", options.clickhouse_memory.to_string()),
            ("max_query_size", (64 << 20).to_string()),
            ("max_ast_elements", "2000000".to_owned()),
            ("max_expanded_ast_elements", "2000000".to_owned()),
            ("use_index_for_in_with_subqueries", "1".to_owned()),
            // A condition that is moved in front of FINAL would let older versions through; so would not merging partitions.
            ("optimize_move_to_prewhere_if_final", "0".to_owned()),
            ("do_not_merge_across_partitions_select_final", "0".to_owned()),
        ];
        Self { clickhouse, settings, table }
    }

    /// Hands on the cells of each row that the table shows, and how many bytes of them are the key's.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn rows(&self, which: Which<'_>, truncated: u64, mut each: impl FnMut(&[u8], usize)) -> Result<(), Error> {
        let key_types = self.table.key_types();
        self.read(&self.table.rows(which, truncated), &self.table.wires(), |row| each(row, cell::prefix(&key_types, row))).await
    }

    /// The keys behind one, as many as that.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn keys(&self, after: Option<&KeyTexts>, truncated: u64, rows_max: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut keys = Vec::new();
        let sql = self.table.keys(after, truncated, rows_max);
        self.read(&sql, &self.key_wires(), |row| keys.push(row.to_vec())).await?;
        Ok(keys)
    }

    /// The keys that have several rows of their last version.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn duplicates(&self, which: Which<'_>, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        self.read(&self.table.duplicates(which), &self.key_wires(), |row| each(row)).await
    }

    /// The keys whose last version has several rows that aren't the same.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn conflicts(&self, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        self.read(&self.table.conflicts(), &self.key_wires(), |row| each(row)).await
    }

    /// Of each of some keys that ClickHouse has or had: the key, its last version, and what there is of that.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn versions(&self, keys: &[KeyTexts], mut each: impl FnMut(&[u8], u64, Copies)) -> Result<(), Error> {
        let key_types = self.table.key_types();
        let wires: Vec<Wire> = self.key_wires().into_iter().chain([VERSION, BYTE, BYTE]).collect();
        self.read(&self.table.versions(keys), &wires, |row| {
            let (key, rest) = row.split_at(cell::prefix(&key_types, row));
            // Cells have a byte in front of each value.
            let version = rest.get(1..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes));
            let copies = match (rest.get(10), rest.get(12)) {
                (Some(1), Some(1)) => Copies::Conflicting,
                (Some(1), _) => Copies::Same,
                _ => Copies::One,
            };
            each(key, version, copies);
        })
        .await
    }

    /// The version of a history's last truncation; 0 without one, and for other tables.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn truncated(&self) -> Result<u64, Error> {
        if self.table.mode != Mode::History {
            return Ok(0);
        }
        let mut version = 0;
        let sql = format!("SELECT max(_version) FROM {} WHERE _op = 't'", self.table.full_name);
        self.read(&sql, &[VERSION], |row| {
            version = row.get(1..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes));
        })
        .await?;
        Ok(version)
    }

    /// How new the table's changes are.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn newest(&self, greatest: u64) -> Result<Newest, Error> {
        let mut newest = Newest::default();
        self.read(&self.table.newest(greatest), &[VERSION; 3], |row| {
            // Cells have a byte in front of each value.
            let number =
                |place: usize| row.get(place * 9 + 1..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes));
            newest = Newest { all: number(0), known: number(1), beyond: number(2) };
        })
        .await?;
        Ok(newest)
    }

    /// Hands on the cells of columns of the changes of a history, those of some operations, behind one version and not behind another.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn changes(
        &self,
        columns: &[Selected],
        operations: &str,
        (after, until): (u64, u64),
        each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let wires: Vec<Wire> = columns.iter().map(|column| column.wire).collect();
        self.read(&self.table.changes(columns, operations, (after, until)), &wires, each).await
    }

    /// Runs a statement that changes the table.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn change(&self, sql: &str) -> Result<(), Error> {
        Ok(self.clickhouse.execute(&format!("repair {}", self.table.full_name), sql).await?)
    }

    fn key_wires(&self) -> Vec<Wire> {
        self.table.key.iter().map(|column| column.wire).collect()
    }

    async fn read(&self, sql: &str, wires: &[Wire], mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        let what = format!("read {}", self.table.full_name);
        let mut answer = self.clickhouse.query(&what, sql, &self.settings, "RowBinary")?;
        let mut pending: Vec<u8> = Vec::new();
        let mut row = Vec::new();
        while let Some(bytes) = answer.next().await? {
            pending.extend_from_slice(&bytes);
            let mut rest = pending.as_slice();
            loop {
                row.clear();
                let mut input = rest;
                if input.is_empty() || !wires.iter().all(|wire| wire.take(&mut input, &mut row).is_some()) {
                    break;
                }
                rest = input;
                each(&row);
            }
            let taken = pending.len() - rest.len();
            pending.drain(..taken);
        }
        match pending.is_empty() {
            true => Ok(()),
            false => Err(Error::Answer { table: self.table.full_name.clone() }),
        }
    }
}
