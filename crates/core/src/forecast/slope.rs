//! How fast free addresses go: the slopes between samples that are far apart (Theil and Sen).
//!
//! A median of slopes ignores what a few samples say, but not a step: one node group that starts shifts half of the
//! samples. So the course is looked at beside its usual pace first: lone outliers are put right and the one change that
//! stands out most is taken out. All of it scales with the samples: ten times the addresses have ten times the slopes.

use super::history::Sample;

/// Slopes are taken between samples at least this part of the history apart: over a few minutes it is all noise.
const REACH: f64 = 1.0 / 3.0;
/// A change that departs from the usual so many times as much as half of the changes do is a step. Noise seldom does.
const STANDS_OUT: f64 = 5.0;

/// A sample beside the usual pace.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// Seconds since the first sample.
    at: f64,
    /// Free addresses, less what the usual pace would have added by then.
    beside: f64,
}

/// Addresses per second that went, by each pair of samples; below zero where there were more afterwards.
#[derive(Debug)]
pub(super) struct Falls(Vec<f64>);

impl Falls {
    pub(super) fn of(samples: &[Sample]) -> Self {
        let usual = usual_pace(samples);
        let mut points = without_outliers(&beside(samples, usual));
        take_out_step(&mut points);
        let reach = points.last().map_or(0.0, |last| last.at) * REACH;
        let mut falls = Vec::with_capacity(points.len() * points.len() / 2);
        for (place, late) in points.iter().enumerate() {
            let far = points.iter().take(place).take_while(|early| late.at - early.at >= reach);
            falls.extend(far.map(|early| (early.beside - late.beside) / (late.at - early.at) - usual));
        }
        falls.sort_unstable_by(f64::total_cmp);
        Self(falls)
    }

    /// The fall that so many tenths of the pairs do not exceed.
    pub(super) fn at(&self, tenths: usize) -> Option<f64> {
        ranked(&self.0, tenths)
    }
}

/// The median of what was added in a second from one sample to the next.
fn usual_pace(samples: &[Sample]) -> f64 {
    let neighbours = samples.iter().zip(samples.iter().skip(1));
    let pace =
        |(one, next): (&Sample, &Sample)| (f64::from(next.free) - f64::from(one.free)) / f64::from(next.at - one.at);
    median(neighbours.map(pace)).unwrap_or_default()
}

fn beside(samples: &[Sample], usual: f64) -> Vec<Point> {
    let start = samples.first().map_or(0, |first| first.at);
    let point = |sample: &Sample| {
        let at = f64::from(sample.at - start);
        Point { at, beside: f64::from(sample.free) - usual * at }
    };
    samples.iter().map(point).collect()
}

/// The points, each between its neighbours: a step stays where it is, and what only one point says goes.
fn without_outliers(points: &[Point]) -> Vec<Point> {
    let of = |place: usize| points.get(place).map(|point| point.beside);
    let middle = |(place, point): (usize, &Point)| {
        let around = place.checked_sub(1).and_then(of).zip(of(place + 1));
        let between = |(one, other): (f64, f64)| point.beside.max(one.min(other)).min(one.max(other));
        Point { beside: around.map_or(point.beside, between), ..*point }
    };
    points.iter().enumerate().map(middle).collect()
}

/// Shifts what follows the change that stands out most, as if it had gone on as usual there.
fn take_out_step(points: &mut [Point]) {
    let changes: Vec<f64> =
        points.iter().zip(points.iter().skip(1)).map(|(one, next)| next.beside - one.beside).collect();
    let Some(half) = median(changes.iter().map(|change| change.abs())) else { return };
    let most = changes.iter().enumerate().max_by(|(_, one), (_, other)| one.abs().total_cmp(&other.abs()));
    if let Some((place, step)) = most.filter(|(_, step)| step.abs() > half * STANDS_OUT) {
        points.iter_mut().skip(place + 1).for_each(|point| point.beside -= step);
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    ranked(&values, 5)
}

/// The value of sorted ones that so many tenths do not exceed.
fn ranked(sorted: &[f64], tenths: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * tenths + 5) / 10).copied()
}
