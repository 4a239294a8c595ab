//! Gentleness toward a source: how fast it is read, over how many sessions, and when.
//!
//! In: the settings of the mappings, and what the source's load looks like. Out: limits that every copy of that source keeps,
//! whatever mapping it is of: [`rate`] for bytes, [`room`] for sessions, [`window`] for times of the day; [`pace`] says how
//! much slower to be while the source is busy. What WAL is kept for us is in [`crate::monitor::wal_guard`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Config;

pub mod hold;
pub mod load;
pub mod pace;
pub mod rate;
pub mod room;
pub mod window;

/// The limits of one source instance, shared by all its mappings.
#[derive(Debug)]
pub struct Source {
    /// Bytes a second.
    pub rate: rate::Limiter,
    /// Sessions.
    pub room: Arc<room::Room>,
}

/// The limits of every source instance that takes part, by its name.
pub fn sources(config: &Config) -> BTreeMap<String, Arc<Source>> {
    let names = config.mappings.values().map(|mapping| &mapping.source);
    names
        .map(|name| {
            let mappings = || config.mappings.iter().filter(move |(_, mapping)| mapping.source == *name);
            let rate = rate::Limiter::default();
            for (mapping, settings) in mappings() {
                rate.wish(mapping, rate::Wish::Setting, settings.rate_limit.map(|limit| limit.as_u64()));
            }
            let room = room::Room::new(mappings().filter_map(|(_, settings)| settings.max_source_connections).min());
            (name.clone(), Arc::new(Source { rate, room: Arc::new(room) }))
        })
        .collect()
}
