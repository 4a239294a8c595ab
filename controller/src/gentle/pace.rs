//! Pace: how much slower to copy while the source is busy. Halved at every look that finds it busy, raised in small steps
//! while it is not (additive increase, multiplicative decrease), and free again when it is where it was. Pure.

/// Steps from nothing to where the copy was before.
const STEPS: u64 = 20;

/// The pace of a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Bytes a second that it may take; none while it is free.
    rate: Option<u64>,
    /// How fast it was when it was slowed down first.
    before: u64,
}

impl Pace {
    /// Bytes a second that the copy may take; none while it is free.
    pub fn rate(self) -> Option<u64> {
        self.rate
    }

    /// The pace after another look. The source is busy or not; `measured` bytes a second were copied since the last look;
    /// never below `least`.
    #[must_use]
    pub fn next(self, busy: bool, measured: u64, least: u64) -> Self {
        match (self.rate, busy) {
            // Nothing is being copied: it is not us.
            (None, true) if measured == 0 => self,
            (None, true) => Self { rate: Some((measured / 2).max(least)), before: measured },
            (Some(rate), true) => Self { rate: Some((rate / 2).max(least)), ..self },
            (None, false) => self,
            (Some(rate), false) => {
                let raised = rate + (self.before / STEPS).max(least / 2).max(1);
                if raised > self.before { Self::default() } else { Self { rate: Some(raised), ..self } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: u64 = 10;

    #[test]
    fn a_busy_source_halves_the_pace_down_to_the_least() {
        let mut pace = Pace::default().next(true, 1000, LEAST);
        assert_eq!(pace.rate(), Some(500));
        for _ in 0..20 {
            pace = pace.next(true, 300, LEAST);
        }
        assert_eq!(pace.rate(), Some(LEAST));
    }

    #[test]
    fn a_calm_source_gets_the_old_pace_back_step_by_step() {
        let mut pace = Pace::default().next(true, 1000, LEAST);
        let mut looks = 0;
        let mut last = 500;
        while let Some(rate) = pace.next(false, last, LEAST).rate() {
            assert!(rate > last && rate - last <= 50, "{last} to {rate}");
            pace = pace.next(false, last, LEAST);
            last = rate;
            looks += 1;
        }
        assert_eq!(looks, 10, "from half to all in steps of a twentieth");
    }

    #[test]
    fn who_copies_nothing_is_not_slowed_down() {
        assert_eq!(Pace::default().next(true, 0, LEAST).rate(), None);
        assert_eq!(Pace::default().next(false, 1000, LEAST).rate(), None);
    }

    #[test]
    fn load_that_comes_and_goes_never_frees_below_where_it_was() {
        let mut pace = Pace::default();
        for look in 0..1000_u64 {
            pace = pace.next(look % 3 == 0, 1000, LEAST);
            assert!(pace.rate().is_none_or(|rate| (LEAST..=1000).contains(&rate)));
        }
    }
}
