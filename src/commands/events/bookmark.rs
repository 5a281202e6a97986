//! How far a reader came, in a small file that is replaced as a whole.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use event_store::select::Selection;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

pub(super) struct Bookmark {
    path: PathBuf,
    wanted: Wanted,
    position: Option<i64>,
}

/// What was read: to go on with something else would leave out what lies before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    stream: Option<String>,
    category: Option<String>,
    event_type: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    #[serde(flatten)]
    wanted: Wanted,
    position: i64,
}

impl Bookmark {
    /// What the file says, if there is one.
    pub(super) fn open(path: PathBuf, selection: &Selection) -> Result<Bookmark, Failure> {
        let wanted = Wanted {
            stream: selection.stream_id.clone(),
            category: selection.category.clone(),
            event_type: selection.event_type.clone(),
        };
        let shown = path.display();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Bookmark { path, wanted, position: None });
            }
            Err(error) => return Err(Failure::Usage(format!("cannot read the state file {shown}: {error}"))),
        };
        let kept: Kept = serde_json::from_str(&text)
            .map_err(|error| Failure::Usage(format!("{shown} is no state file of `events`: {error}")))?;
        if kept.wanted != wanted {
            return Err(Failure::Usage(format!("{shown} was kept with another --stream, --category or --type")));
        }
        Ok(Bookmark { path, wanted, position: Some(kept.position) })
    }

    /// Where to go on; none at the first time.
    pub(super) fn position(&self) -> Option<i64> {
        self.position
    }

    /// Call it when everything up to this position is out. A crash leaves the old file or the new one.
    pub(super) fn keep(&self, position: i64) -> anyhow::Result<()> {
        let kept = serde_json::to_vec(&Kept { wanted: self.wanted.clone(), position })?;
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(".new");
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&kept)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &self.path)
        };
        write().with_context(|| format!("cannot write the state file {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn it_is_kept_from_one_call_to_the_next_and_only_for_the_same_selection() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orders.json");
        let orders = Selection { category: Some("order".into()), ..Selection::default() };
        let first = Bookmark::open(path.clone(), &orders).unwrap();
        assert_eq!(first.position(), None);
        first.keep(41).unwrap();
        first.keep(42).unwrap();
        assert_eq!(Bookmark::open(path.clone(), &orders).unwrap().position(), Some(42));
        let other = Bookmark::open(path.clone(), &Selection::default());
        assert!(matches!(other, Err(Failure::Usage(why)) if why.contains("another")));
        std::fs::write(&path, "[]").unwrap();
        assert!(matches!(Bookmark::open(path, &orders), Err(Failure::Usage(_))));
    }
}
