//! The view of a mirror's present rows: each key's last version, deleted rows left out.
//!
//! Its columns are the table's but for the consumer's own, so that two consumers which look at the same table want the same view.

use super::{Existing, ExistingColumn, Mismatch, Wanted, names};
use crate::decode::plan::{DELETED, VERSION};
use crate::table::ddl::{full_name, literal, quote};

/// The columns that the view shows.
fn shown(table: &Existing) -> impl Iterator<Item = &ExistingColumn> {
    let own = |name: &str| name == VERSION || name == DELETED;
    table.columns.iter().filter(move |column| !own(&column.name) && matches!(column.default_kind.as_str(), "" | "DEFAULT"))
}

/// Makes the view. Harmless where another consumer was quicker.
#[must_use]
pub fn create_view(wanted: &Wanted<'_>, view: &str, table: &Existing) -> String {
    statement("CREATE VIEW IF NOT EXISTS", wanted, view, table)
}

/// Makes the view anew in one step.
#[must_use]
pub fn replace_view(wanted: &Wanted<'_>, view: &str, table: &Existing) -> String {
    statement("CREATE OR REPLACE VIEW", wanted, view, table)
}

fn statement(verb: &str, wanted: &Wanted<'_>, view: &str, table: &Existing) -> String {
    let columns: Vec<_> = shown(table).map(|column| quote(&column.name)).collect();
    format!(
        "{verb} {}{} AS SELECT {} FROM {} FINAL COMMENT {}",
        full_name(wanted.database, view),
        names::on_cluster(wanted.cluster()),
        columns.join(", "),
        full_name(wanted.database, wanted.table),
        literal(names::view_comment(wanted.topic).as_bytes()),
    )
}

/// Whether the view shows the table as it is.
///
/// # Errors
/// [`Mismatch::View`] where what is there isn't the consumer's view of this topic.
pub fn view_is_current(wanted: &Wanted<'_>, view: &str, found: &Existing, table: &Existing) -> Result<bool, Mismatch> {
    if found.engine != "View" || found.comment != names::view_comment(wanted.topic) {
        return Err(Mismatch::View { view: full_name(wanted.database, view) });
    }
    Ok(shown(table).map(|column| (&column.name, &column.of)).eq(found.columns.iter().map(|column| (&column.name, &column.of))))
}
