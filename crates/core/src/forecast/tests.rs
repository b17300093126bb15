//! Forecasts of courses whose end is known, and what holds for any course.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{
    history::{CLOSEST, FEWEST, MOST, WINDOW},
    *,
};

const HOUR: f64 = 3600.0;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_secs(second)
}

/// A history of so many addresses at these minutes.
fn history(course: impl IntoIterator<Item = (u32, u32)>) -> FreeHistory {
    let mut history = FreeHistory::default();
    for (minute, free) in course {
        history.note(at(i64::from(minute) * 60), free);
    }
    history
}

/// One number every five minutes.
fn every_five(free: impl IntoIterator<Item = u32>) -> FreeHistory {
    history((0..).step_by(5).zip(free))
}

fn hours(forecast: Option<Exhaustion>) -> Option<[Option<f64>; 3]> {
    let in_hours = |seconds: f64| (seconds / HOUR * 1000.0).round() / 1000.0;
    forecast.map(|of| [Some(of.soon), Some(of.median), of.late].map(|time| time.map(in_hours)))
}

#[test]
fn too_little_history_and_a_trend_that_does_not_fall_have_no_forecast() {
    let cases: [(&str, FreeHistory); 8] = [
        ("nothing", FreeHistory::default()),
        ("fifty-five minutes", every_five((0..12).map(|place| 900 - place * 10))),
        ("five samples in hours", history((0..5).map(|hour| (hour * 60, 900 - hour * 10)))),
        ("constant", every_five([400; 30])),
        ("growing", every_five((0..30).map(|place| 400 + place))),
        ("one step down", every_five([[900; 15], [400; 15]].concat())),
        ("one step up while it is flat", every_five([[400; 9], [900; 9]].concat())),
        ("up and down", every_five((0..30).map(|place| [400, 430, 415][place % 3]))),
    ];
    for (what, history) in cases {
        assert_eq!(forecast(&history, 400), None, "{what}");
    }
}

#[test]
fn where_nothing_is_free_there_is_nothing_to_wait_for() {
    let now = Some([Some(0.0); 3]);
    assert_eq!(hours(forecast(&FreeHistory::default(), 0)), now);
    assert_eq!(hours(forecast(&every_five((0..30).map(|place| 300 - place * 10)), 0)), now);
    assert_eq!(hours(forecast(&every_five([0; 30]), 0)), now);
}

#[test]
fn what_falls_has_a_time_and_what_falls_unevenly_an_interval() {
    // An hour is the least: 60 an hour, and 600 are left.
    let steady = every_five((0..13).map(|place| 900 - place * 5));
    assert_eq!(hours(forecast(&steady, 600)), Some([Some(10.0); 3]));
    // Nodes come one by one and take 48 addresses each, one every quarter of an hour: 192 an hour.
    let nodes = every_five((0..36).map(|place| 4000 - place / 3 * 48));
    let [soon, median, late] = hours(forecast(&nodes, 1920)).unwrap();
    assert!(soon < median && median < late, "{soon:?} {median:?} {late:?}");
    assert!(median.is_some_and(|hours| (9.0..12.0).contains(&hours)), "{median:?}");
    // It swings by 60 and loses one an hour: it may as well be growing.
    let swing = |minute: u32| if (minute / 180).is_multiple_of(2) { minute % 180 / 3 } else { 60 - minute % 180 / 3 };
    let unsure = history((0..288).map(|place| (place * 5, 500 + swing(place * 5) - place / 12)));
    let [soon, median, late] = hours(forecast(&unsure, 476)).unwrap();
    assert!(soon < median && late.is_none(), "{soon:?} {median:?} {late:?}");
}

#[test]
fn a_step_does_not_change_the_pace() {
    for step in [-300_i64, 300] {
        let free = (0..24_i64).map(|place| 2000 - place * 5 + if place < 12 { 0 } else { step });
        let course = every_five(free.map(|free| u32::try_from(free).unwrap()));
        assert_eq!(hours(forecast(&course, 600)), Some([Some(10.0); 3]), "{step}");
    }
}

#[test]
fn a_day_of_readings_is_kept_in_few_samples_and_a_longer_one_forgets_its_beginning() {
    for (hours, least) in [(1, 55 * 60), (3, 2 * 3600), (24, 23 * 3600), (24 * 30, 23 * 3600)] {
        let minutes = hours * 60;
        let history = history((0..=minutes).map(|minute| (minute, minute)));
        let (first, last) = (history.samples()[0], *history.samples().last().unwrap());
        assert!(history.samples().len() <= MOST && last.at - first.at >= least, "{hours}: {first:?} {last:?}");
        assert!(history.samples().len() > MOST / 3, "{hours}: {}", history.samples().len());
        assert!(minutes - last.free < 41, "{hours}: {last:?}");
    }
    assert!(size_of_val(history([(0, 1)]).samples()) * MOST < 300, "a subnet is some 300 bytes");
}

#[test]
fn a_clock_that_goes_back_a_little_costs_nothing_and_a_clock_that_was_set_begins_anew() {
    let mut course = every_five((0..13).map(|place| 900 - place * 5));
    let before = course.clone();
    course.note(at(60 * 60 - 30), 840);
    assert_eq!(course, before);
    course.note(at(20 * 60), 840);
    assert_eq!(course.samples().len(), 1, "what was before cannot be compared");
    assert_eq!(forecast(&course, 840), None);
    // A day without a reading is forgotten, too; and what no clock says is left out.
    course.note(at(i64::from(WINDOW) * 2), 840);
    assert_eq!(course.samples().len(), 1);
    let known = course.clone();
    course.note(Timestamp::MAX, 1);
    course.note(Timestamp::MIN, 1);
    assert_eq!(course, known);
}

fn any_course() -> impl Strategy<Value = FreeHistory> {
    let reading = (0_u32..90, 0_u32..5_000);
    prop::collection::vec(reading, 0..80).prop_map(|readings| {
        let mut minute = 0;
        history(readings.into_iter().map(|(pause, free)| {
            minute += pause;
            (minute, free)
        }))
    })
}

/// Minutes of readings, a minute to an hour apart, for an hour or more.
fn minutes() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(5_u32..40, 14..100).prop_map(|pauses| {
        pauses
            .into_iter()
            .scan(0, |minute, pause| {
                *minute += pause;
                Some(*minute)
            })
            .collect()
    })
}

fn is_about(forecast: Option<Exhaustion>, seconds: f64, share: f64) -> bool {
    forecast.is_some_and(|of| (of.median - seconds).abs() <= seconds * share)
}

proptest! {
    #[test]
    fn a_history_is_short_sorted_and_of_one_day_whatever_comes_in(
        moves in prop::collection::vec((-100_000_i64..100_000, 1_i64..2_000, any::<bool>(), any::<u32>()), 0..400),
    ) {
        let (mut history, mut second) = (FreeHistory::default(), 0);
        for (jump, pause, jumps, free) in moves {
            second += if jumps { jump } else { pause };
            history.note(at(second), free);
            let samples = history.samples();
            prop_assert!(samples.len() <= MOST);
            prop_assert!(samples.iter().zip(&samples[1.min(samples.len())..]).all(|(one, next)| one.at + CLOSEST <= next.at));
            prop_assert!(samples.iter().all(|sample| samples[samples.len() - 1].at - sample.at <= WINDOW));
            let _ = forecast(&history, free);
        }
    }

    #[test]
    fn the_times_of_a_forecast_are_in_order_and_known_numbers(course in any_course(), free in 0_u32..70_000) {
        if let Some(Exhaustion { soon, median, late }) = forecast(&course, free) {
            prop_assert!(0.0 <= soon && soon <= median && median.is_finite());
            prop_assert!(late.is_none_or(|late| median <= late && late.is_finite()));
            prop_assert!(free == 0 || (soon > 0.0 && course.samples().len() >= FEWEST));
        }
    }

    #[test]
    fn what_is_so_many_times_as_large_lasts_as_long(
        readings in prop::collection::vec((5_u32..90, 0_u32..5_000), 0..80), free in 0_u32..5_000, times in 2_u32..12,
    ) {
        let course = |times: u32| {
            let mut minute = 0;
            history(readings.iter().map(move |(pause, free)| {
                minute += pause;
                (minute, free * times)
            }))
        };
        match (forecast(&course(1), free), forecast(&course(times), free * times)) {
            (None, None) => {}
            (Some(one), Some(other)) => {
                prop_assert!(is_about(Some(other), one.median, 1e-6) && one.late.is_some() == other.late.is_some());
            }
            (one, other) => prop_assert!(false, "{one:?} {other:?}"),
        }
    }

    #[test]
    fn a_constant_course_has_no_forecast_and_nor_has_one_step(
        minutes in minutes(), free in 1_u32..70_000, after in 1_u32..70_000, share in 0.0..1.0_f64,
    ) {
        prop_assert_eq!(forecast(&history(minutes.iter().map(|minute| (*minute, free))), free), None);
        let end = f64::from(minutes[minutes.len() - 1]);
        let step = minutes.iter().map(|minute| (*minute, if f64::from(*minute) < end * share { free } else { after }));
        prop_assert_eq!(forecast(&history(step), after), None);
    }

    #[test]
    fn a_steady_decline_lasts_as_long_as_it_takes(minutes in minutes(), pace in 1_u32..20, free in 1_u32..70_000) {
        let course = history(minutes.iter().map(|minute| (*minute, 100_000 - minute * pace)));
        let Exhaustion { soon, median, late } = forecast(&course, free).unwrap();
        let expected = f64::from(free) / f64::from(pace) * 60.0;
        for time in [soon, median, late.unwrap()] {
            prop_assert!((time - expected).abs() < expected * 1e-6, "{time} {expected}");
        }
    }

    #[test]
    fn one_outlier_does_not_move_the_median_much(
        minutes in minutes(), pace in 1_u32..20, which in any::<prop::sample::Index>(), odd in 0_u32..200_000,
    ) {
        let which = which.index(minutes.len());
        let course = minutes.iter().enumerate();
        let course = course.map(|(place, minute)| (*minute, if place == which { odd } else { 100_000 - minute * pace }));
        let course = history(course);
        prop_assert!(is_about(forecast(&course, 1000), 1000.0 / f64::from(pace) * 60.0, 0.2), "{course:?}");
    }
}
