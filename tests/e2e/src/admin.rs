//! The operator's admin server, asked as curl asks it.

use anyhow::{Context, Result, ensure};
use ipam_audit_testkit::telemetry::parse_open_metrics;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::Cluster;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub code: u16,
    /// Its body.
    pub body: String,
}

/// A scrape, as Prometheus' own parser read it.
#[derive(Debug, Clone)]
pub struct Scrape(Vec<Value>);

impl Cluster {
    /// What the operator answers to a request.
    pub async fn ask(&self, method: &str, path: &str, body: &str) -> Result<Answer> {
        let url = self.admin_url().context("no operator runs")?;
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await?;
        // With this version an answer is what comes until the end.
        let head = format!("{method} {path} HTTP/1.0\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
        let code = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Answer { code, body: body.to_owned() })
    }

    /// What `/debug/state` says.
    pub async fn debug_state(&self) -> Result<Value> {
        let answer = self.ask("GET", "/debug/state", "").await?;
        ensure!(answer.code == 200, "{answer:?}");
        serde_json::from_str(&answer.body).context("the state is no JSON")
    }

    /// What `/metrics` says; an error if it is not what the format asks for.
    pub async fn scrape(&self) -> Result<Scrape> {
        let answer = self.ask("GET", "/metrics", "").await?;
        ensure!(answer.code == 200, "{answer:?}");
        let families = tokio::task::spawn_blocking(move || parse_open_metrics(&answer.body)).await??;
        Ok(Scrape(families))
    }
}

impl Scrape {
    /// Every family: its name as it is in queries, its type and its help.
    pub fn families(&self) -> Vec<(String, &str, &str)> {
        let of = |family| {
            let text = |key: &str| str_of(family, key);
            let end = match text("type") {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            (format!("{}{end}", text("name")), text("type"), text("help"))
        };
        self.0.iter().map(of).collect()
    }

    /// The value of a series with these labels among its own.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples(name, labels).next()?["value"].as_f64()
    }

    /// How many series have these labels among their own.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.samples(name, labels).count()
    }

    /// The values that a label has anywhere.
    pub fn values_of_label(&self, label: &str) -> std::collections::BTreeSet<String> {
        let samples = self.0.iter().flat_map(|family| family["samples"].as_array().into_iter().flatten());
        samples.filter_map(|sample| sample["labels"][label].as_str().map(str::to_owned)).collect()
    }

    fn samples<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Value> {
        let samples = self.0.iter().flat_map(|family| family["samples"].as_array().into_iter().flatten());
        let has = |sample: &Value| labels.iter().all(|(label, value)| sample["labels"][*label] == *value);
        samples.filter(move |sample| sample["name"] == name && has(sample))
    }
}

fn str_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
