//! Numbers as people read them. Sizes follow `pg_size_pretty`: powers of 1024 under the names kB, MB, GB, TB.

/// A size in bytes: `0 B`, `8.0 kB`, `1.5 GB`, `120 GB`.
pub fn bytes(size: i64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = size.max(0) as f64;
    let mut unit = 0;
    // 999.5 would be shown as 1000: the next unit is easier to read.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.95 { format!("{value:.0} {}", UNITS[unit]) } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A duration in its two largest units: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.05 {
        return "0 s".into();
    }
    if seconds < 9.95 && seconds.fract() != 0.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (large, large_name, small, small_name) = match whole {
        0..60 => return format!("{whole} s"),
        60..3600 => (whole / 60, "min", whole % 60, "s"),
        3600..86_400 => (whole / 3600, "h", whole % 3600 / 60, "min"),
        _ => (whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    };
    if small == 0 { format!("{large} {large_name}") } else { format!("{large} {large_name} {small} {small_name}") }
}

/// A count with thin spaces between thousands: `1 234 567`.
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A server version as `server_version_num` gives it: 150012 is `15.12`, 90624 is `9.6.24`.
pub fn version(number: i32) -> String {
    if number >= 100_000 {
        format!("{}.{}", number / 10_000, number % 10_000)
    } else {
        format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
    }
}

/// How far `done` is of `total`, in thousandths. Only what `is_done` says is done reaches 1000: COPY's form of a table is
/// not the size of its file, so that the two may cross before the end.
pub fn progress(done: i64, total: i64, is_done: bool) -> u16 {
    if is_done {
        return 1000;
    }
    if total <= 0 {
        return 0;
    }
    ((done.max(0) as f64 / total as f64 * 1000.0) as u16).min(990)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_like_pg_size_pretty() {
        let shown: Vec<_> = [-1, 0, 999, 1000, 8192, 102_349, 1_610_612_736, 128_849_018_880, i64::MAX].map(bytes).into();
        assert_eq!(shown, ["0 B", "0 B", "999 B", "1.0 kB", "8.0 kB", "100 kB", "1.5 GB", "120 GB", "8192 PB"]);
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        let shown: Vec<_> =
            [-3.0, 0.0, 0.04, 0.44, 8.0, 9.96, 59.4, 59.6, 185.0, 3600.0, 7805.0, 273_600.0, f64::NAN].map(duration).into();
        assert_eq!(
            shown,
            ["0 s", "0 s", "0 s", "0.4 s", "8 s", "10 s", "59 s", "1 min", "3 min 5 s", "1 h", "2 h 10 min", "3 d 4 h", "0 s"]
        );
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!([0, 12, 999, 1000, -1_234_567].map(count), ["0", "12", "999", "1\u{202f}000", "-1\u{202f}234\u{202f}567"]);
    }

    #[test]
    fn versions_are_named_as_their_servers_name_them() {
        assert_eq!([150_012, 180_000, 90_624].map(version), ["15.12", "18.0", "9.6.24"]);
    }

    #[test]
    fn progress_is_whole_only_when_done() {
        assert_eq!(progress(0, 0, false), 0);
        assert_eq!(progress(50, 100, false), 500);
        assert_eq!(progress(300, 100, false), 990);
        assert_eq!(progress(-5, 100, false), 0);
        assert_eq!(progress(10, 100, true), 1000);
        assert_eq!(progress(0, 0, true), 1000);
    }
}
