//! What networks do to connections.

use std::time::{Duration, Instant};

use rand::Rng as _;

use super::super::proxy::Proxy;
use super::super::round::Round;
use crate::error::{Error, Result};

/// Cuts in a row.
const CUTS: u32 = 3;
/// How long a cut may take to fall: where few bytes move, many do not come.
const CUT_WITHIN: Duration = Duration::from_secs(2);
/// In this time there are connections, and something comes over one of them.
const STRUCK_WITHIN: Duration = Duration::from_secs(30);

/// Everything is reset, twice; and for a while nothing gets through.
pub(super) async fn cut(round: &mut Round<'_>) {
    for proxy in round.arena.proxies() {
        proxy.cut();
    }
    let wait = round.random.random_range(0..1000);
    tokio::time::sleep(Duration::from_millis(wait)).await;
    for proxy in round.arena.proxies() {
        proxy.refuse();
    }
    tokio::time::sleep(round.measures.stop).await;
    round.arena.let_through();
}

pub(super) async fn latency(round: &mut Round<'_>) {
    let delay = Duration::from_millis(round.random.random_range(5..80));
    for proxy in round.arena.proxies() {
        proxy.delay(delay);
    }
    tokio::time::sleep(round.measures.stop * 2).await;
    round.arena.let_through();
}

/// The connections of one way, or of all, say nothing any more, and nobody is told. Where there are none yet, those of the next way.
pub(super) async fn half_open(round: &mut Round<'_>) -> Result<()> {
    let which = round.random.random_range(0..4);
    let begun = Instant::now();
    loop {
        let proxies = round.arena.proxies();
        if which == proxies.len() {
            if proxies.map(Proxy::silence).iter().sum::<usize>() > 0 {
                return Ok(());
            }
        } else if (0..proxies.len()).any(|turn| proxies[(which + turn) % proxies.len()].silence() > 0) {
            return Ok(());
        }
        if begun.elapsed() > STRUCK_WITHIN {
            return Err(Error::Broken("there was no connection to silence".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// From one byte to four million later a connection is cut, some times in a row, on any of the ways. If none of the cuts has fallen, the
/// next byte that comes over any of the ways is the last of its connection.
pub(super) async fn cut_at_byte(round: &mut Round<'_>) -> Result<()> {
    let mut fallen = false;
    for _ in 0..CUTS {
        let bytes = 1 << round.random.random_range(0..22);
        let bytes = round.random.random_range(bytes / 2..=bytes);
        let which = round.random.random_range(0..3);
        let proxy = round.arena.proxies()[which];
        proxy.cut_after(bytes);
        fallen |= cut_has_fallen(round, CUT_WITHIN).await;
    }
    if !fallen {
        for proxy in round.arena.proxies() {
            proxy.cut_after(1);
        }
        fallen = cut_has_fallen(round, STRUCK_WITHIN).await;
    }
    round.arena.let_through();
    if fallen { Ok(()) } else { Err(Error::Broken("no connection was cut: nothing came over any of the ways".to_owned())) }
}

/// Waits for a cut of those that are to come.
async fn cut_has_fallen(round: &Round<'_>, limit: Duration) -> bool {
    let count = || round.arena.proxies().map(Proxy::cuts).iter().sum::<u64>();
    let (before, begun) = (count(), Instant::now());
    while count() == before && begun.elapsed() < limit {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    count() != before
}
