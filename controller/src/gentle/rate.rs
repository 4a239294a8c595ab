//! Bytes a second: one limiter for all workers of a source. GCRA, so that what a wait was too long is made up for, and a turn
//! for each worker, so that none starves.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// What may go at once after a pause: as much as in this time.
const BURST: Duration = Duration::from_millis(100);
/// The limiter counts cells; so many a second make rates exact to the nanosecond.
const CELLS_A_SECOND: u64 = 10_000;

/// Why a rate is wished for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// The configuration.
    Setting,
    /// The source is busy.
    SlowDown,
}

/// Lets bytes pass at the smallest of the rates that were wished for.
#[derive(Debug, Default)]
pub struct Limiter {
    /// Bytes a second; 0 for no limit.
    limit: AtomicU64,
    passed: AtomicU64,
    wishes: Mutex<BTreeMap<(String, Wish), u64>>,
    /// Who holds it is being let through; the others queue up in order.
    turn: tokio::sync::Mutex<Bucket>,
}

/// The limiter of one rate.
#[derive(Debug, Default)]
struct Bucket {
    rate: u64,
    cell: u64,
    burst: u32,
    /// Bytes that passed and are less than a cell.
    rest: u64,
    limiter: Option<DefaultDirectRateLimiter>,
}

impl Limiter {
    /// Sets or takes back what a mapping wishes for, bytes a second.
    pub fn wish(&self, mapping: &str, why: Wish, rate: Option<u64>) {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        match rate {
            Some(rate) => wishes.insert((mapping.to_owned(), why), rate.max(1)),
            None => wishes.remove(&(mapping.to_owned(), why)),
        };
        self.limit.store(wishes.values().min().copied().unwrap_or(0), Ordering::Relaxed);
    }

    /// The rate now, bytes a second; none for no limit.
    pub fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    /// Bytes that were let through so far.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Waits until so many bytes may pass.
    pub async fn pass(&self, bytes: u64) {
        if self.limit().is_some() {
            self.wait(bytes).await;
        }
        self.passed.fetch_add(bytes, Ordering::Relaxed);
    }

    async fn wait(&self, bytes: u64) {
        let mut bucket = self.turn.lock().await;
        let mut left = bytes + bucket.rest;
        // The rate may change while we wait: each piece asks again.
        while let Some(rate) = self.limit() {
            bucket.set(rate);
            let cells = u32::try_from(left / bucket.cell).unwrap_or(u32::MAX).min(bucket.burst);
            let (Some(cells), Some(limiter)) = (NonZeroU32::new(cells), &bucket.limiter) else { break };
            // Never more than the burst, which is what this could complain of.
            let _ = limiter.until_n_ready(cells).await;
            left -= u64::from(cells.get()) * bucket.cell;
        }
        bucket.rest = left % bucket.cell.max(1);
    }
}

impl Bucket {
    fn set(&mut self, rate: u64) {
        if self.rate == rate && self.limiter.is_some() {
            return;
        }
        let cell = (rate / CELLS_A_SECOND).max(1);
        let period = Duration::from_secs_f64(cell as f64 / rate as f64).max(Duration::from_nanos(1));
        let burst = ((BURST.as_nanos() / period.as_nanos()) as u32).max(1);
        let limiter = Quota::with_period(period)
            .zip(NonZeroU32::new(burst))
            .map(|(quota, burst)| RateLimiter::direct(quota.allow_burst(burst)));
        *self = Self { rate, cell, burst, rest: self.rest, limiter };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    /// Passes chunks from several workers for a while; gives how many bytes each passed, and bytes a second of all.
    async fn run(limiter: &Arc<Limiter>, chunks: &[u64], time: Duration) -> (Vec<u64>, f64) {
        let began = Instant::now();
        let workers: Vec<_> = chunks
            .iter()
            .map(|&chunk| {
                let limiter = Arc::clone(limiter);
                tokio::spawn(async move {
                    let mut passed = 0;
                    while began.elapsed() < time {
                        limiter.pass(chunk).await;
                        passed += chunk;
                    }
                    passed
                })
            })
            .collect();
        let mut passed = Vec::new();
        for worker in workers {
            passed.push(worker.await.expect("a worker"));
        }
        let rate = passed.iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64();
        (passed, rate)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_rate_is_kept_and_everybody_gets_a_share() {
        for rate in [300_000, 7_300_000, 333_000_000] {
            let limiter = Arc::new(Limiter::default());
            limiter.wish("m", Wish::Setting, Some(rate));
            let (passed, measured) = run(&limiter, &[131_072, 131_072, 140_000], Duration::from_secs(2)).await;
            let off = measured / rate as f64;
            // Two seconds, a burst of a tenth, and a chunk each under way.
            assert!((0.90..1.10).contains(&off) || rate < 1_000_000 && off < 1.3, "{rate}: {measured} {passed:?}");
            let (least, most) = (passed.iter().min().copied(), passed.iter().max().copied());
            assert!(least.zip(most).is_some_and(|(a, b)| a * 2 >= b), "somebody starves: {passed:?}");
        }
    }

    #[tokio::test]
    async fn the_smallest_wish_counts_and_can_be_taken_back() {
        let limiter = Limiter::default();
        assert_eq!(limiter.limit(), None);
        limiter.wish("a", Wish::Setting, Some(10));
        limiter.wish("b", Wish::Setting, Some(5));
        limiter.wish("a", Wish::SlowDown, Some(3));
        assert_eq!(limiter.limit(), Some(3));
        limiter.wish("a", Wish::SlowDown, None);
        assert_eq!(limiter.limit(), Some(5));
        limiter.wish("b", Wish::Setting, None);
        limiter.wish("a", Wish::Setting, None);
        limiter.pass(u64::from(u32::MAX)).await;
        assert_eq!(limiter.passed(), u64::from(u32::MAX));
    }

    #[tokio::test]
    async fn a_limit_that_is_lifted_frees_who_waits() {
        let limiter = Arc::new(Limiter::default());
        limiter.wish("m", Wish::Setting, Some(1000));
        let waiting = tokio::spawn({
            let limiter = Arc::clone(&limiter);
            async move { limiter.pass(100_000_000).await }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!waiting.is_finished());
        limiter.wish("m", Wish::Setting, None);
        tokio::time::timeout(Duration::from_secs(2), waiting).await.expect("freed").expect("a worker");
    }
}
