//! What networks do to connections.

use std::time::Duration;

use rand::Rng as _;

use super::super::round::Round;

/// Cuts in a row.
const CUTS: u32 = 3;
/// How long a cut may take to fall: where few bytes move, many do not come.
const CUT_WITHIN: Duration = Duration::from_secs(2);

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
    let_through(round);
}

pub(super) async fn latency(round: &mut Round<'_>) {
    let delay = Duration::from_millis(round.random.random_range(5..80));
    for proxy in round.arena.proxies() {
        proxy.delay(delay);
    }
    tokio::time::sleep(round.measures.stop * 2).await;
    let_through(round);
}

/// The connections of one way, or of all, say nothing any more, and nobody is told.
pub(super) fn half_open(round: &mut Round<'_>) {
    let which = round.random.random_range(0..4);
    for (number, proxy) in round.arena.proxies().into_iter().enumerate() {
        if which == 3 || which == number {
            proxy.silence();
        }
    }
}

/// From one byte to four million later a connection is cut, some times in a row, on any of the ways.
pub(super) async fn cut_at_byte(round: &mut Round<'_>) {
    for _ in 0..CUTS {
        let bytes = 1 << round.random.random_range(0..22);
        let bytes = round.random.random_range(bytes / 2..=bytes);
        let which = round.random.random_range(0..3);
        let proxy = round.arena.proxies()[which];
        let before = proxy.cuts();
        proxy.cut_after(bytes);
        let begun = tokio::time::Instant::now();
        while proxy.cuts() == before && begun.elapsed() < CUT_WITHIN {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let_through(round);
}

fn let_through(round: &Round<'_>) {
    for proxy in round.arena.proxies() {
        proxy.let_through();
    }
}
