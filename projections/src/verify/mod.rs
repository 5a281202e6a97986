//! Whether what is shown, sold and paid adds up. Each check judges at one position of the ledger, so it may run while
//! orders come in, and answers what it found wrong, for people to read.

mod deadlines;
mod money;
mod read_models;
mod sampled;
mod stock;
mod versions;

use std::collections::HashMap;

use domain::Decider;
use sqlx::PgConnection;

use crate::ProjectionError;
use crate::ledger::{self, RANGE};
use crate::read_model::{ReadModel, fold};

pub use deadlines::{DEFAULT_OVERDUE, deadlines};
pub use event_store::verify::Violation;
pub use money::money;
pub use read_models::read_models;
pub(crate) use read_models::{differences, table};
pub use sampled::{sampled_rows, stock_sums};
pub use stock::stock;
pub use versions::versions;

/// Violations told one by one; the others are only counted.
const MAX_TOLD: usize = 20;

/// The violations of one invariant that a check found.
struct Findings {
    invariant: &'static str,
    told: Vec<Violation>,
    more: usize,
}

impl Findings {
    fn of(invariant: &'static str) -> Self {
        Self { invariant, told: Vec::new(), more: 0 }
    }

    fn add(&mut self, message: String) {
        if self.told.len() < MAX_TOLD {
            self.told.push(Violation { invariant: self.invariant, message });
        } else {
            self.more += 1;
        }
    }

    fn into_violations(mut self) -> Vec<Violation> {
        if self.more > 0 {
            let message = format!("and {} more", self.more);
            self.told.push(Violation { invariant: self.invariant, message });
        }
        self.told
    }
}

/// Folds all streams of a read model in memory, by ranges up to a position, and shows every state on the way.
/// What can't be folded is a finding.
async fn fold_streams<M: ReadModel>(
    connection: &mut PgConnection,
    upto: i64,
    findings: &mut Findings,
    after_each: impl Fn(&M, i64, &mut Findings),
) -> Result<HashMap<String, M>, ProjectionError> {
    let mut rows: HashMap<String, Option<M>> = HashMap::new();
    let mut position = 0;
    while position < upto {
        let to = upto.min(position + RANGE);
        for event in ledger::category_range(connection, M::Aggregate::CATEGORY, position, to).await? {
            let row = rows.entry(event.stream_id.clone()).or_default();
            match fold(row, &event) {
                Ok(()) => {
                    if let Some(row) = row {
                        after_each(row, event.position, findings);
                    }
                }
                Err(error) => findings.add(error.to_string()),
            }
        }
        position = to;
    }
    Ok(rows.into_iter().filter_map(|(stream_id, row)| Some((stream_id, row?))).collect())
}
