//! Streams that fail again and again at the same place: told from one that was cut off and goes on. Pure.

use crate::postgres::Lsn;

/// So many failures without a step forward are no passing trouble: the worker has read and tried the same change again.
const FAILURES: i64 = 2;

/// One stream, as seen from tick to tick.
#[derive(Debug, Default, Clone, Copy)]
pub struct Failing {
    /// Failures counted by the server when the stream was last seen to move, and where it was then.
    since: Option<(i64, Lsn)>,
}

impl Failing {
    /// Notes the failures that the server has counted of the worker, and the position that it has applied. Whether it fails
    /// at the same place over and over.
    pub fn note(&mut self, failures: i64, applied: Lsn) -> bool {
        match self.since {
            // A count that went down was reset.
            Some((before, at)) if at == applied && failures >= before => failures - before >= FAILURES,
            _ => {
                self.since = Some((failures, applied));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_twice_at_the_same_place_is_failing() {
        let mut stream = Failing::default();
        assert!(!stream.note(7, Lsn(100)), "failures of the past are past");
        assert!(!stream.note(8, Lsn(100)));
        assert!(stream.note(9, Lsn(100)));
        assert!(stream.note(9, Lsn(100)));
    }

    #[test]
    fn a_step_forward_or_a_reset_count_begins_anew() {
        let mut stream = Failing::default();
        assert!(!stream.note(0, Lsn(100)));
        assert!(!stream.note(1, Lsn(100)));
        assert!(!stream.note(2, Lsn(200)));
        assert!(!stream.note(3, Lsn(200)));
        assert!(!stream.note(0, Lsn(200)));
        assert!(!stream.note(1, Lsn(200)));
        assert!(stream.note(2, Lsn(200)));
    }
}
