//! Looking for rebuilds that somebody asked for, or that a process left behind, and carrying them out.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Claim, Rebuild, RebuildState, Rebuilder, record};
use crate::ProjectionError;

impl Rebuilder {
    /// Carries out what is asked for, several read models side by side, until `shutdown`. What is unfinished then waits for the
    /// next process.
    pub async fn attend(self, shutdown: CancellationToken) {
        let mut under_way = HashMap::new();
        let mut tasks = JoinSet::new();
        while !shutdown.is_cancelled() {
            match self.claim_open(&under_way).await {
                Ok(claims) => {
                    for claim in claims {
                        let name = claim.name.clone();
                        let task = tasks.spawn(self.clone().attend_to(claim, shutdown.clone()));
                        under_way.insert(task.id(), name);
                    }
                }
                Err(error) => tracing::debug!(%error, "rebuilds not looked for"),
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(self.config.poll_interval) => {}
            }
            while let Some(ended) = tasks.try_join_next_with_id() {
                forget(ended, &mut under_way);
            }
        }
        while let Some(ended) = tasks.join_next_with_id().await {
            forget(ended, &mut under_way);
        }
    }

    /// Those nobody works on. There are as many as read models, at most.
    async fn claim_open(&self, under_way: &HashMap<Id, String>) -> Result<Vec<Claim>, ProjectionError> {
        let mut claims = Vec::new();
        for rebuild in record::last_of_all(&self.pool).await? {
            if rebuild.is_open()
                && !under_way.values().any(|name| *name == rebuild.name)
                && let Some(claim) = self.claim(&rebuild.name).await?
            {
                claims.push(claim);
            }
        }
        Ok(claims)
    }

    async fn attend_to(self, claim: Claim, shutdown: CancellationToken) {
        let name = claim.name.clone();
        match self.carry_out(claim, &|_| {}, &shutdown).await {
            Ok(Some(rebuild)) => tell(&rebuild),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(projection = %name, %error, "a rebuild did not get on, and is tried again");
                // Whatever it is, it may be so for a while.
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(RETRY_PAUSE) => {}
                }
            }
        }
    }
}

/// One whose task panicked is taken up again like any other, once its lease has run out.
fn forget(ended: Result<(Id, ()), JoinError>, under_way: &mut HashMap<Id, String>) {
    let id = match &ended {
        Ok((id, ())) => *id,
        Err(error) => error.id(),
    };
    let name = under_way.remove(&id).unwrap_or_default();
    if let Err(error) = ended {
        tracing::error!(projection = %name, %error, "a rebuild ended badly, and is tried again");
    }
}

const RETRY_PAUSE: Duration = Duration::from_secs(5);

fn tell(rebuild: &Rebuild) {
    let Rebuild { name, version, dry_run, position, differences, .. } = rebuild;
    match (rebuild.state, &rebuild.problem) {
        (RebuildState::Done, _) => {
            tracing::info!(projection = %name, version, dry_run, position, differences, "rebuilt");
        }
        (RebuildState::Failed, problem) => {
            let problem = problem.as_deref().unwrap_or("unknown");
            tracing::error!(projection = %name, version, problem, "rebuild failed; what is shown stays");
        }
        _ => tracing::info!(projection = %name, version, position, "rebuild left for the next process"),
    }
}
