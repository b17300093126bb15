//! Writes families of series.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, info::Info},
};

/// Labels of a series.
pub(super) type Labels<'l, const N: usize> = [(&'l str, &'l str); N];

/// Writes whole families; one without any series is left out.
pub(super) struct Out<'a, 'b>(pub(super) &'a mut DescriptorEncoder<'b>);

impl Out<'_, '_> {
    /// What is.
    pub(super) fn gauge<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l, N>, f64)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.family(name, help, MetricType::Gauge, series)
    }

    /// What happened. Its name is given without `_total`.
    pub(super) fn counter<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, MetricType::Counter, series)
    }

    /// The same with a fraction.
    pub(super) fn counter_of_seconds(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        let series = value.map(|value| ([], ConstCounter::new(value)));
        self.family::<0>(name, help, MetricType::Counter, series.into_iter())
    }

    /// What carries labels and nothing else. Its name is given without `_info`.
    pub(super) fn info<const N: usize>(&mut self, name: &str, help: &str, labels: Labels<'_, N>) -> fmt::Result {
        let family = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        Info::new(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()).encode(family)
    }

    fn family<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        series: impl Iterator<Item = (Labels<'l, N>, impl EncodeMetric)>,
    ) -> fmt::Result {
        let mut series = series.peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, metric) in series {
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
