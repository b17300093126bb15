//! The operator's `/metrics` and `/readyz`, as any scraper reads them.

use anyhow::{Context, Result};
use kube::{Client, Config};

/// A way to the operator's admin server.
pub(super) struct Admin(Client);

/// One scrape.
#[derive(Debug, Default)]
pub(super) struct Metrics(String);

impl Admin {
    pub(super) fn at(url: &str) -> Result<Self> {
        let url = url.parse().context("the operator's address is a URL")?;
        Ok(Self(Client::try_from(Config::new(url)).context("cannot make a client of the operator")?))
    }

    /// Whether every watch has its first list. An operator that does not listen yet is not ready.
    pub(super) async fn is_ready(&self) -> bool {
        self.get("/readyz").await.is_ok()
    }

    pub(super) async fn metrics(&self) -> Result<Metrics> {
        self.get("/metrics").await.map(Metrics)
    }

    async fn get(&self, path: &str) -> Result<String> {
        let request = http::Request::get(path).body(Vec::new())?;
        self.0.request_text(request).await.with_context(|| format!("the operator does not answer {path}"))
    }
}

impl Metrics {
    /// The sum of all series of a name whose labels hold a text.
    pub(super) fn sum(&self, name: &str, labels: &str) -> f64 {
        self.values(name, labels).sum()
    }

    /// Whether there is such a series.
    pub(super) fn has(&self, name: &str, labels: &str) -> bool {
        self.values(name, labels).next().is_some()
    }

    /// Audits that have taken their snapshot.
    pub(super) fn snapshots(&self) -> f64 {
        self.sum("ipam_audit_stage_duration_seconds_count", r#"stage="collect""#)
    }

    /// Evaluations so far.
    pub(super) fn evaluations(&self) -> f64 {
        self.sum("ipam_audit_stage_duration_seconds_count", r#"stage="evaluate""#)
    }

    /// Audits that have published, whether there was something to write or not.
    pub(super) fn published(&self) -> f64 {
        self.sum("ipam_audit_stage_duration_seconds_count", r#"stage="publish""#)
    }

    /// Whether no audit is under way.
    pub(super) fn at_rest(&self) -> bool {
        self.published() >= self.snapshots()
    }

    /// Audits that have come to their end.
    pub(super) fn finished(&self) -> f64 {
        self.sum("ipam_audit_audits_total", r#"result="Finished""#)
    }

    /// Complete lists of pods.
    pub(super) fn pod_lists(&self) -> f64 {
        self.sum("ipam_audit_watch_lists_total", r#"watch="pods""#)
    }

    fn values<'a>(&'a self, name: &'a str, labels: &'a str) -> impl Iterator<Item = f64> + 'a {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (series, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            series.contains(labels).then(|| value.trim().parse().ok())?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_told_apart_by_name_and_label() {
        let metrics = Metrics(
            "# HELP a b\na_total{x=\"1\",y=\"} 7\"} 3\na_total{x=\"2\"} 4.5\na_total_more{x=\"1\"} 9\nb 2\n".to_owned(),
        );
        let sums = [("a_total", "x=\"1\""), ("a_total", ""), ("b", "")].map(|(name, labels)| metrics.sum(name, labels));
        assert_eq!(sums.map(|sum| sum.to_string()), ["3", "7.5", "2"]);
        assert!(metrics.has("b", "") && !metrics.has("c", "") && !metrics.has("a_total", "x=\"3\""));
    }
}
