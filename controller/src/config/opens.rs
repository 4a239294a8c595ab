//! When a window opens: a cron expression as crontab(5) has it, read into a [`cron::Schedule`].

use std::str::FromStr;

use chrono::{DateTime, TimeZone};
use cron::Schedule;
use serde::Deserialize;

/// `minute hour day-of-month month day-of-week`, with seconds before them if wanted.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Opens(Schedule);

/// Why an expression is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither five fields nor six.
    #[error(
        "{0} fields, where a cron expression has five (minute hour day-of-month month day-of-week), or six with seconds before them"
    )]
    Fields(usize),
    /// A day of the week that there is not.
    #[error("day of the week {0:?}: days are 0 to 7 (0 and 7 are Sunday) or SUN to SAT")]
    Day(String),
    /// Anything else.
    #[error("not a cron expression: {0}")]
    Expression(#[from] cron::error::Error),
}

impl Opens {
    /// The first opening after a moment; none if there is none in this or the next century.
    pub fn after<Z: TimeZone + 'static>(&self, moment: &DateTime<Z>) -> Option<DateTime<Z>> {
        self.0.after(moment).next()
    }
}

impl FromStr for Opens {
    type Err = Error;

    fn from_str(expression: &str) -> Result<Self, Error> {
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let (seconds, fields) = match fields.len() {
            5 => ("0", &fields[..]),
            6 => (fields[0], &fields[1..]),
            other => return Err(Error::Fields(other)),
        };
        let days = fields[4].split(',').map(days).collect::<Result<Vec<_>, _>>()?.join(",");
        Ok(Self(format!("{seconds} {} {days}", fields[..4].join(" ")).parse()?))
    }
}

impl TryFrom<String> for Opens {
    type Error = Error;

    fn try_from(expression: String) -> Result<Self, Error> {
        expression.parse()
    }
}

/// One item of the days of the week, with names for numbers: crontab counts from Sunday = 0 and calls it 7 too, the
/// library counts from Sunday = 1.
fn days(item: &str) -> Result<String, Error> {
    let wrong = || Error::Day(item.to_owned());
    if !item.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(item.to_owned());
    }
    let number = |text: &str| text.parse::<usize>().ok().filter(|day| *day <= 7).ok_or_else(wrong);
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0).ok_or_else(wrong)?),
        None => (item, 1),
    };
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        // crontab's `2/3` is from the second day on.
        None => (number(range)?, if step == 1 { number(range)? } else { 6 }),
    };
    if first > last {
        return Err(wrong());
    }
    let names = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    Ok((first..=last).step_by(step).map(|day| names[day % 7]).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    fn next(expression: &str) -> String {
        // A Wednesday.
        let moment = "2026-03-04T12:00:00Z".parse::<DateTime<Utc>>().expect("a time");
        let opens = expression.parse::<Opens>().expect("an expression").after(&moment).expect("another opening");
        opens.format("%a %Y-%m-%d %H:%M:%S").to_string()
    }

    #[test]
    fn days_of_the_week_are_counted_as_crontab_does() {
        assert_eq!(next("0 22 * * 0"), "Sun 2026-03-08 22:00:00");
        assert_eq!(next("0 22 * * 7"), "Sun 2026-03-08 22:00:00");
        assert_eq!(next("0 22 * * 1-2"), "Mon 2026-03-09 22:00:00");
        assert_eq!(next("0 22 * * 5-7"), "Fri 2026-03-06 22:00:00");
        assert_eq!(next("0 22 * * 1,6"), "Sat 2026-03-07 22:00:00");
        assert_eq!(next("0 22 * * 2-6/4"), "Sat 2026-03-07 22:00:00");
        assert_eq!(next("0 22 * * Sat"), "Sat 2026-03-07 22:00:00");
    }

    #[test]
    fn seconds_may_stand_before_the_five_fields() {
        assert_eq!(next("*/20 * * * * *"), "Wed 2026-03-04 12:00:20");
        assert_eq!(next("*/5 * * * *"), "Wed 2026-03-04 12:05:00");
    }

    #[test]
    fn what_is_no_expression_is_refused_with_the_reason() {
        let reason = |expression: &str| expression.parse::<Opens>().expect_err("must be refused").to_string();
        assert!(reason("0 22 * *").starts_with("4 fields"), "{}", reason("0 22 * *"));
        assert!(reason("0 22 * * 8").contains("0 to 7"), "{}", reason("0 22 * * 8"));
        assert!(reason("0 22 * * 5-1").contains("0 to 7"), "{}", reason("0 22 * * 5-1"));
        assert!(reason("0 25 * * *").starts_with("not a cron expression"), "{}", reason("0 25 * * *"));
    }
}
