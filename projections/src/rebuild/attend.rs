//! Looking for rebuilds that somebody asked for, or that a process left behind, and carrying them out.

use std::collections::HashSet;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Claim, Rebuild, RebuildState, Rebuilder, record};
use crate::ProjectionError;

impl Rebuilder {
    /// Carries out what is asked for, several read models side by side, until `shutdown`. What is unfinished then waits for the
    /// next process.
    pub async fn attend(self, shutdown: CancellationToken) {
        let mut under_way = HashSet::new();
        let mut tasks = JoinSet::new();
        while !shutdown.is_cancelled() {
            match self.claim_open(&under_way).await {
                Ok(claims) => {
                    for claim in claims {
                        under_way.insert(claim.name.clone());
                        tasks.spawn(self.clone().attend_to(claim, shutdown.clone()));
                    }
                }
                Err(error) => tracing::debug!(%error, "rebuilds not looked for"),
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(self.config.poll_interval) => {}
            }
            while let Some(ended) = tasks.try_join_next() {
                if let Ok(name) = ended {
                    under_way.remove(&name);
                }
            }
        }
        tasks.join_all().await;
    }

    /// Those nobody works on. There are as many as read models, at most.
    async fn claim_open(&self, under_way: &HashSet<String>) -> Result<Vec<Claim>, ProjectionError> {
        let mut claims = Vec::new();
        for rebuild in record::last_of_all(&self.pool).await? {
            if rebuild.is_open()
                && !under_way.contains(&rebuild.name)
                && let Some(claim) = self.claim(&rebuild.name).await?
            {
                claims.push(claim);
            }
        }
        Ok(claims)
    }

    async fn attend_to(self, claim: Claim, shutdown: CancellationToken) -> String {
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
        name
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
