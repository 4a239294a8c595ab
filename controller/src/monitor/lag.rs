//! Lag in time: from when the source stood where the destination is now.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::postgres::Lsn;

/// So many samples are kept; with the default tick, more than two hours.
const SAMPLES: usize = 4096;

/// Remembers when the source was seen at which position.
#[derive(Debug, Default)]
pub struct Clock {
    seen: VecDeque<(Instant, Lsn)>,
}

impl Clock {
    /// Notes that the source stands at `source` now.
    pub fn note(&mut self, now: Instant, source: Lsn) {
        // A position seen before says nothing new: the first sight is what counts for age.
        if self.seen.back().is_none_or(|(_, last)| source > *last) {
            if self.seen.len() == SAMPLES {
                self.seen.pop_front();
            }
            self.seen.push_back((now, source));
        }
    }

    /// Age of the oldest change that is not in `applied`: how long ago the source was first seen beyond it. None while
    /// no sample tells (right after a start).
    pub fn age(&mut self, now: Instant, applied: Lsn) -> Option<Duration> {
        // What is applied needs no sample any more, but the last such one shows that the samples reach back far enough.
        while self.seen.len() > 1 && self.seen[1].1 <= applied {
            self.seen.pop_front();
        }
        match self.seen.iter().position(|(_, lsn)| *lsn > applied) {
            None if self.seen.is_empty() => None,
            None => Some(Duration::ZERO),
            Some(0) => None,
            Some(i) => Some(now.duration_since(self.seen[i].0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_age_of_the_first_change_beyond_what_is_applied() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut clock = Clock::default();
        assert_eq!(clock.age(at(0), Lsn(5)), None);
        clock.note(at(0), Lsn(10));
        assert_eq!(clock.age(at(0), Lsn(5)), None, "nothing tells how old the change at 10 is");
        assert_eq!(clock.age(at(1), Lsn(10)), Some(Duration::ZERO));
        clock.note(at(2), Lsn(20));
        clock.note(at(3), Lsn(20));
        clock.note(at(4), Lsn(30));
        assert_eq!(clock.age(at(5), Lsn(10)), Some(Duration::from_secs(3)));
        assert_eq!(clock.age(at(6), Lsn(20)), Some(Duration::from_secs(2)));
        assert_eq!(clock.age(at(7), Lsn(30)), Some(Duration::ZERO));
    }
}
