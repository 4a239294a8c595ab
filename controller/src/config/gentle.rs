//! Keys that say how gently a source is to be treated.

use std::time::Duration;

use bytesize::ByteSize;
use chrono_tz::Tz;
use serde::Deserialize;

use super::opens::Opens;
use super::{Config, Mapping};

/// A span of time that comes again and again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When it opens: a cron expression, `minute hour day-of-month month day-of-week`, with seconds before them if wanted.
    pub start: Opens,
    /// For how long.
    #[serde(with = "humantime_serde")]
    pub duration: Duration,
    /// The time zone of the expression.
    #[serde(default = "utc")]
    pub time_zone: Tz,
}

fn utc() -> Tz {
    Tz::UTC
}

/// Above which load of the source the copy is slowed down. Its presence turns slowing down on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlowDown {
    /// Sessions of others that are at work, or wait for a lock or for the disk.
    pub active_sessions: u32,
    /// How far a physical standby may be behind in time …
    #[serde(with = "humantime_serde")]
    pub standby_lag: Duration,
    /// … and in WAL.
    pub standby_lag_bytes: ByteSize,
    /// The copy is never slower than this many bytes a second.
    pub at_least: ByteSize,
}

impl Default for SlowDown {
    fn default() -> Self {
        Self {
            active_sessions: 16,
            standby_lag: Duration::from_secs(10),
            standby_lag_bytes: ByteSize::mib(256),
            at_least: ByteSize::mib(1),
        }
    }
}

/// What to do about WAL that piles up on the source for us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalPolicy {
    /// Say so.
    #[default]
    Alert,
    /// Copy no further table until the stream has caught up.
    SlowDown,
    /// Drop the slot: the source goes on, the database has to be copied again.
    DropSlot,
}

/// What is wrong with a mapping's keys, beyond each by itself.
pub(super) fn problems(config: &Config, name: &str, mapping: &Mapping) -> Vec<String> {
    let mut problems = Vec::new();
    if mapping.rate_limit.is_some_and(|limit| limit.as_u64() == 0) {
        problems.push(format!("mappings.{name}.rate_limit must be more than nothing; leave it out for no limit"));
    }
    if mapping.schedule.iter().any(|window| window.duration.is_zero()) {
        problems.push(format!("mappings.{name}.schedule: a window needs a duration"));
    }
    if mapping.slow_down.is_some_and(|s| s.at_least.as_u64() == 0) {
        problems.push(format!("mappings.{name}.slow_down.at_least must be more than nothing: a copy has to come to an end"));
    }
    if mapping.wal_limit.is_some_and(|limit| limit.as_u64() == 0) {
        problems.push(format!("mappings.{name}.wal_limit must be more than nothing; leave it out for no limit"));
    }
    if let Some(standby) = &mapping.copy_from {
        if !config.instances.contains_key(standby) {
            problems.push(format!("mappings.{name}.copy_from: there is no [instances.{standby}]"));
        }
        if *standby == mapping.source || *standby == mapping.destination {
            problems
                .push(format!("mappings.{name}.copy_from is to be a standby of the source, not the source or the destination"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_humane_units() {
        let text = r#"
            source = "a"
            destination = "b"
            rate_limit = "50MB"
            wal_limit = 1000000
            wal_guard = "drop_slot"
            schedule = [{ start = "30 22 * * 1-5", duration = "7h 30m", time_zone = "Europe/Berlin" }]
            slow_down = { active_sessions = 3 }
        "#;
        let read = config::Config::builder().add_source(config::File::from_str(text, config::FileFormat::Toml)).build();
        let mapping: Mapping = read.expect("TOML").try_deserialize().expect("valid keys");
        assert_eq!(mapping.rate_limit, Some(ByteSize(50_000_000)));
        assert_eq!(mapping.wal_limit, Some(ByteSize(1_000_000)));
        assert_eq!(mapping.wal_guard, WalPolicy::DropSlot);
        assert_eq!(mapping.schedule[0].duration, Duration::from_mins(450));
        assert_eq!(mapping.schedule[0].time_zone, Tz::Europe__Berlin);
        assert_eq!(mapping.slow_down.map(|s| (s.active_sessions, s.at_least)), Some((3, ByteSize::mib(1))));
    }

    #[test]
    fn a_schedule_that_is_no_cron_expression_is_refused() {
        let text = "source='a'\ndestination='b'\nschedule = [{ start = '61 * * * *', duration = '1h' }]";
        let read = config::Config::builder().add_source(config::File::from_str(text, config::FileFormat::Toml)).build();
        read.expect("TOML").try_deserialize::<Mapping>().expect_err("there is no minute 61");
    }
}
