//! The other roles' metrics, and one text of all.

use std::time::Duration;

use futures_util::future::join_all;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Mutex;

use super::merge;

const PEER_TIMEOUT: Duration = Duration::from_secs(2);

/// The other roles, by the addresses of their metrics.
///
/// Of one that does not answer the gauges are unknown. What it counted stays, while it is away and when its next process
/// counts from 0: else the sums would fall, which looks like a restart of all, and everything that was ever counted like a burst.
pub struct Peers {
    client: reqwest::Client,
    peers: Vec<Peer>,
}

struct Peer {
    url: String,
    /// Held while it is asked: of two answers the later one must be known as such.
    counts: Mutex<Counts>,
}

impl Peers {
    pub fn new(urls: Vec<String>) -> Self {
        let peer = |url| Peer { url, counts: Mutex::default() };
        Self { client: reqwest::Client::new(), peers: urls.into_iter().map(peer).collect() }
    }

    /// This role's metrics and those of its peers as one text.
    pub async fn render_with(&self, handle: &PrometheusHandle) -> String {
        let mut texts = vec![handle.render()];
        texts.extend(join_all(self.peers.iter().map(|peer| self.texts_of(peer))).await.into_iter().flatten());
        merge::merge(&texts)
    }

    async fn texts_of(&self, peer: &Peer) -> [String; 2] {
        let mut counts = peer.counts.lock().await;
        let answer = self.fetch(&peer.url).await;
        counts.with(answer)
    }

    async fn fetch(&self, url: &str) -> Option<String> {
        let answer = self.client.get(url).timeout(PEER_TIMEOUT).send().await.ok()?;
        answer.error_for_status().ok()?.text().await.ok()
    }
}

/// What a role has counted, over all of its processes that we heard of.
#[derive(Default)]
struct Counts {
    /// The processes that are gone.
    before: String,
    /// The one that answered last.
    last: String,
}

impl Counts {
    /// To be added up: what it counted before, and what it says now or, where it says nothing, said last.
    fn with(&mut self, answer: Option<String>) -> [String; 2] {
        let Some(now) = answer else {
            return [self.before.clone(), self.last.clone()];
        };
        let counted = merge::without_gauges(&now);
        if merge::has_fallen(&self.last, &counted) {
            self.before = merge::merge(&[std::mem::take(&mut self.before), std::mem::take(&mut self.last)]);
        }
        self.last = counted;
        [self.before.clone(), now]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(sent: u32, fast: u32, slow: u32, lag: &str) -> Option<String> {
        let all = fast + slow;
        Some(format!(
            "# TYPE lag gauge\nlag {lag}\n# TYPE sent_total counter\nsent_total {sent}\n\
             # TYPE t histogram\nt_bucket{{le=\"1\"}} {fast}\nt_bucket{{le=\"+Inf\"}} {all}\nt_sum {all}\nt_count {all}\n"
        ))
    }

    fn sums(counts: &mut Counts, answer: Option<String>) -> String {
        merge::merge(&counts.with(answer))
    }

    #[test]
    fn a_role_that_begins_anew_goes_on_counting_where_the_one_before_ended() {
        let mut counts = Counts::default();
        assert_eq!(sums(&mut counts, said(7, 3, 2, "1")), said(7, 3, 2, "1").unwrap());
        // Of its new process one series is not below what it was; it is another process all the same.
        assert_eq!(sums(&mut counts, said(1, 4, 0, "2")), said(8, 7, 2, "2").unwrap());
        assert_eq!(sums(&mut counts, said(2, 4, 1, "2")), said(9, 7, 3, "2").unwrap());
        assert_eq!(sums(&mut counts, said(0, 0, 0, "NaN")), said(9, 7, 3, "NaN").unwrap(), "and again");
    }

    #[test]
    fn while_it_is_away_its_counts_stay_and_its_gauges_are_unknown() {
        let mut counts = Counts::default();
        sums(&mut counts, said(7, 3, 2, "1"));
        sums(&mut counts, said(1, 0, 0, "1"));
        let away = sums(&mut counts, None);
        assert_eq!(away, merge::without_gauges(&said(8, 3, 2, "1").unwrap()));
        assert_eq!(sums(&mut counts, None), away);
        assert_eq!(sums(&mut counts, said(0, 0, 0, "4")), said(8, 3, 2, "4").unwrap());
    }

    #[test]
    fn what_only_the_process_before_counted_is_not_forgotten() {
        let mut counts = Counts::default();
        sums(&mut counts, Some("# TYPE sent_total counter\nsent_total{to=\"a\"} 5\nsent_total{to=\"b\"} 1\n".into()));
        let text = sums(&mut counts, Some("# TYPE sent_total counter\nsent_total{to=\"a\"} 0\n".into()));
        assert_eq!(text, "# TYPE sent_total counter\nsent_total{to=\"a\"} 5\nsent_total{to=\"b\"} 1\n");
    }
}
