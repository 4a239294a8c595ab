//! Windows: times in which tables may be copied. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::config::Window;

/// Whether tables may be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// They may.
    Open,
    /// They may not.
    Closed {
        /// When the next window opens, in the time zone of that window; none if no window will ever open.
        opens: Option<DateTime<Tz>>,
    },
}

/// Whether one of the windows is open; without windows it always is.
pub fn at(windows: &[Window], now: DateTime<Utc>) -> Opening {
    if windows.is_empty() || windows.iter().any(|window| is_open(window, now)) {
        return Opening::Open;
    }
    let next = |window: &Window| window.start.after(&now.with_timezone(&window.time_zone));
    Opening::Closed { opens: windows.iter().filter_map(next).min() }
}

/// A window is open if it opened less than its duration ago.
fn is_open(window: &Window, now: DateTime<Utc>) -> bool {
    let duration = TimeDelta::from_std(window.duration).unwrap_or(TimeDelta::MAX);
    let Some(earliest) = now.checked_sub_signed(duration) else { return true };
    window.start.after(&earliest.with_timezone(&window.time_zone)).is_some_and(|opened| opened <= now)
}

impl Opening {
    /// What is waited for, in words; none if nothing is.
    pub fn waiting_for(&self) -> Option<String> {
        match self {
            Self::Open => None,
            Self::Closed { opens: Some(opens) } => {
                Some(format!("the copy window, opens at {}", opens.format("%Y-%m-%d %H:%M:%S %Z")))
            }
            Self::Closed { opens: None } => Some("the copy window, which never opens again: look at schedule".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn window(start: &str, hours: u64, time_zone: Tz) -> Window {
        Window { start: start.parse().expect("a cron expression"), duration: Duration::from_hours(hours), time_zone }
    }

    fn opening(windows: &[Window], now: &str) -> String {
        let now = now.parse::<DateTime<Utc>>().expect("a time");
        at(windows, now).waiting_for().unwrap_or_else(|| "open".to_owned())
    }

    #[test]
    fn without_windows_it_is_always_open() {
        assert_eq!(opening(&[], "2026-03-02T12:00:00Z"), "open");
    }

    #[test]
    fn a_window_goes_on_after_midnight_and_ends_with_its_duration() {
        // Monday to Friday.
        let windows = [window("0 22 * * 1-5", 8, Tz::UTC)];
        assert_eq!(opening(&windows, "2026-03-06T21:59:59Z"), "the copy window, opens at 2026-03-06 22:00:00 UTC");
        assert_eq!(opening(&windows, "2026-03-06T22:00:00Z"), "open");
        assert_eq!(opening(&windows, "2026-03-07T05:59:59Z"), "open");
        assert_eq!(opening(&windows, "2026-03-07T06:00:00Z"), "the copy window, opens at 2026-03-09 22:00:00 UTC");
    }

    #[test]
    fn the_time_zone_is_that_of_the_expression_and_follows_its_clock_changes() {
        let windows = [window("0 22 * * *", 1, Tz::Europe__Berlin)];
        assert_eq!(opening(&windows, "2026-01-10T20:30:00Z"), "the copy window, opens at 2026-01-10 22:00:00 CET");
        assert_eq!(opening(&windows, "2026-01-10T21:30:00Z"), "open");
        assert_eq!(opening(&windows, "2026-07-10T20:30:00Z"), "open");
    }

    #[test]
    fn the_first_of_several_windows_counts() {
        let windows = [window("0 22 * * *", 1, Tz::UTC), window("0 3 * * *", 1, Tz::UTC)];
        assert_eq!(opening(&windows, "2026-03-02T03:30:00Z"), "open");
        assert_eq!(opening(&windows, "2026-03-02T23:30:00Z"), "the copy window, opens at 2026-03-03 03:00:00 UTC");
    }
}
