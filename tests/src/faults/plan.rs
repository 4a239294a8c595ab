//! What is to go wrong in a round, and when.

use std::fmt;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::fault::Fault;
use super::phase::Phase;
use crate::error::{Error, Result};

/// A fault, and the phase in which it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// What happens.
    pub fault: Fault,
    /// When.
    pub phase: Phase,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.fault, self.phase)
    }
}

/// Draws when each of these faults strikes in one round, and gives them in that order: in different phases as long as there are such.
pub fn draw(faults: &[Fault], random: &mut StdRng) -> Result<Vec<Strike>> {
    let mut strikes: Vec<Strike> = Vec::new();
    let mut faults = faults.to_vec();
    // Who has the least choice goes first.
    faults.sort_by_key(|fault| fault.phases().len());
    for fault in faults {
        let is_taken = |phase: &Phase| strikes.iter().any(|strike| strike.phase == *phase);
        let mut choice: Vec<Phase> = fault.phases().iter().copied().filter(|phase| !is_taken(phase)).collect();
        if choice.is_empty() {
            choice = fault.phases().iter().copied().filter(|phase| !phase.is_passed_once()).collect();
        }
        if choice.is_empty() {
            return Err(Error::Broken(format!("no phase of the round is left for: {fault}")));
        }
        strikes.push(Strike { fault, phase: choice[random.random_range(0..choice.len())] });
    }
    strikes.sort_by_key(|strike| strike.phase);
    Ok(strikes)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn all_strike_in_the_order_of_the_phases_and_a_cutover_is_struck_once() {
        let faults = [Fault::KillWalsender, Fault::StopWalsender, Fault::KillApplyWorker, Fault::StopApplyWorker, Fault::Cut];
        for seed in 0..50 {
            let strikes = draw(&faults, &mut StdRng::seed_from_u64(seed)).expect("there is room");
            assert_eq!(strikes.len(), faults.len());
            assert!(strikes.is_sorted_by_key(|strike| strike.phase), "{strikes:?}");
            assert!(strikes.iter().all(|strike| strike.fault.phases().contains(&strike.phase)), "{strikes:?}");
            assert!(strikes.iter().filter(|strike| strike.phase == Phase::Cutover).count() <= 1, "{strikes:?}");
        }
    }

    #[test]
    fn two_that_can_only_come_before_the_beginning_do_not_fit_into_one_round() {
        let faults = [Fault::LongTransaction, Fault::PreparedTransaction];
        assert!(draw(&faults, &mut StdRng::seed_from_u64(1)).is_err());
    }
}
