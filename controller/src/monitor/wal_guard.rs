//! The WAL guard: what the source keeps for our slots, against what it may, and when that will be too much. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Samples older than this say nothing about the future.
const WINDOW: Duration = Duration::from_mins(5);
/// So many samples at most; with a short tick the window is shorter.
const SAMPLES: usize = 300;
/// From this share of the limit on, in per cent, the guard is alarmed.
const NEAR: u64 = 60;
/// And from here on the slot has to go, if that is the policy.
const OVER: u64 = 90;
/// Below this share copying goes on again.
const CALM: u64 = 30;
/// A limit that will be reached this soon alarms as well, unless little is kept yet.
const SOON: Duration = Duration::from_mins(10);
const LITTLE: u64 = 20;

/// What is kept for a slot, over time.
#[derive(Debug, Default)]
pub struct Samples(VecDeque<(Instant, u64)>);

/// What is kept for a slot, and what is to be expected.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Kept {
    /// Bytes of WAL that the source keeps.
    pub bytes: u64,
    /// How many it may keep; none for no limit.
    pub limit: Option<u64>,
    /// When the limit will be reached if things go on like this; none if never.
    pub limit_in: Option<Duration>,
}

/// How near the limit is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Far away.
    #[default]
    Calm,
    /// Neither far nor near: what was done before goes on.
    Between,
    /// Near, or soon to be reached.
    Near,
    /// All but reached.
    Over,
}

impl Samples {
    /// Notes what is kept now.
    pub fn note(&mut self, now: Instant, bytes: u64) {
        self.0.push_back((now, bytes));
        while self.0.len() > SAMPLES || self.0.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.0.pop_front();
        }
    }

    /// Bytes a second by which it grows: the slope of the line that fits best. None while too little is known.
    pub fn growth(&self) -> Option<f64> {
        let (first, _) = *self.0.front()?;
        let count = self.0.len() as f64;
        if self.0.len() < 3 {
            return None;
        }
        let points = || self.0.iter().map(|(at, bytes)| (at.duration_since(first).as_secs_f64(), *bytes as f64));
        let (time, bytes) = points().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / count, b + y / count));
        let (covariance, variance) =
            points().fold((0.0, 0.0), |(c, v), (x, y)| (c + (x - time) * (y - bytes), v + (x - time).powi(2)));
        (variance > 0.0).then(|| covariance / variance)
    }

    /// What is kept, and what is to be expected under a limit.
    pub fn kept(&self, limit: Option<u64>) -> Kept {
        let bytes = self.0.back().map_or(0, |(_, bytes)| *bytes);
        let left = limit.map(|limit| limit.saturating_sub(bytes) as f64);
        let seconds = left.zip(self.growth().filter(|growth| *growth >= 1.0)).map(|(left, growth)| left / growth);
        Kept { bytes, limit, limit_in: seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()).filter(|d| *d < YEAR) }
    }
}

/// What lies further ahead is never.
const YEAR: Duration = Duration::from_hours(365 * 24);

impl Kept {
    /// How near the limit is.
    pub fn level(&self) -> Level {
        let Some(limit) = self.limit else { return Level::Calm };
        let share = u128::from(self.bytes) * 100 / u128::from(limit.max(1));
        let soon = self.limit_in.is_some_and(|left| left < SOON) && share >= u128::from(LITTLE);
        match share {
            share if share >= u128::from(OVER) => Level::Over,
            share if share >= u128::from(NEAR) || soon => Level::Near,
            share if share < u128::from(CALM) => Level::Calm,
            _ => Level::Between,
        }
    }

    /// In words: how much of how much, and when it will be all.
    pub fn words(&self) -> String {
        let bytes = bytesize::ByteSize(self.bytes);
        let Some(limit) = self.limit else { return format!("{bytes} of WAL, without a limit") };
        let limit = bytesize::ByteSize(limit);
        match self.limit_in {
            Some(left) => {
                let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
                format!("{bytes} of at most {limit} of WAL; at this pace the limit is reached in {left}")
            }
            None => format!("{bytes} of at most {limit} of WAL"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn samples(bytes: impl IntoIterator<Item = u64>) -> Samples {
        let start = Instant::now();
        let mut samples = Samples::default();
        for (second, bytes) in bytes.into_iter().enumerate() {
            samples.note(start + Duration::from_secs(second as u64), bytes);
        }
        samples
    }

    #[test]
    fn steady_growth_is_carried_on() {
        let kept = samples((0..=10).map(|i| i * MB)).kept(Some(100 * MB));
        assert_eq!(kept.bytes, 10 * MB);
        assert_eq!(kept.limit_in.map(|d| d.as_secs_f64().round()), Some(90.0));
        assert_eq!(kept.level(), Level::Calm, "soon, but there is little yet");
        let later = samples((0..=25).map(|i| i * MB)).kept(Some(100 * MB));
        assert_eq!(later.level(), Level::Near, "there is more, and it will be too much within minutes");
    }

    #[test]
    fn ups_and_downs_do_not_alarm() {
        let kept = samples((0..100).map(|i| (i % 4) * MB)).kept(Some(100 * MB));
        assert!(kept.limit_in.is_none_or(|left| left > Duration::from_hours(1)), "{kept:?}");
        assert_eq!(kept.level(), Level::Calm);
    }

    #[test]
    fn what_shrinks_or_is_unlimited_is_never_too_much() {
        assert_eq!(samples((0..50).rev().map(|i| i * MB)).kept(Some(100 * MB)).limit_in, None);
        let unlimited = samples((0..50).map(|i| i * 1000 * MB)).kept(None);
        assert_eq!((unlimited.limit_in, unlimited.level()), (None, Level::Calm));
    }

    #[test]
    fn levels_by_share() {
        let level = |bytes| Kept { bytes, limit: Some(100), limit_in: None }.level();
        assert_eq!(
            [29, 30, 59, 60, 89, 90, 200].map(level),
            [Level::Calm, Level::Between, Level::Between, Level::Near, Level::Near, Level::Over, Level::Over]
        );
    }

    #[test]
    fn two_samples_are_no_forecast() {
        assert_eq!(samples([0, MB]).growth(), None);
    }

    #[test]
    fn old_samples_are_forgotten() {
        let start = Instant::now();
        let mut samples = Samples::default();
        for second in 0..2000 {
            samples.note(start + Duration::from_secs(second), if second < 1000 { second * MB } else { 1000 * MB });
        }
        assert!(samples.growth().is_some_and(|growth| growth.abs() < 1.0), "{:?}", samples.growth());
    }
}
