//! The source's load: what its own sessions do, and how far its standbys are behind.

use std::time::Duration;

use tokio_postgres::Client;

use crate::config::SlowDown;

/// What a source is busy with, apart from us.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Sessions of others that are at work, or wait for a lock or for the disk.
    pub active_sessions: u32,
    /// How far the slowest physical standby is behind in time.
    pub standby_lag: Duration,
    /// And in bytes of WAL.
    pub standby_lag_bytes: u64,
}

/// Looks.
pub async fn measure(source: &Client) -> Result<Load, tokio_postgres::Error> {
    let row = source.query_one(include_str!("load.sql"), &[]).await?;
    Ok(Load {
        active_sessions: u32::try_from(row.get::<_, i64>("active_sessions")).unwrap_or_default(),
        standby_lag: Duration::try_from_secs_f64(row.get("standby_lag")).unwrap_or_default(),
        standby_lag_bytes: u64::try_from(row.get::<_, i64>("standby_lag_bytes")).unwrap_or_default(),
    })
}

impl Load {
    /// What is above its limit, in words; none if nothing is.
    pub fn excess(&self, limits: &SlowDown) -> Option<String> {
        let mut excess = Vec::new();
        if self.active_sessions > limits.active_sessions {
            excess
                .push(format!("{} sessions are active on the source, at most {}", self.active_sessions, limits.active_sessions));
        }
        if self.standby_lag > limits.standby_lag {
            let (lag, limit) = (self.standby_lag.as_secs(), humantime::format_duration(limits.standby_lag));
            excess.push(format!("a standby of the source is {lag} s behind, at most {limit}"));
        }
        if self.standby_lag_bytes > limits.standby_lag_bytes.as_u64() {
            let lag = bytesize::ByteSize(self.standby_lag_bytes);
            excess.push(format!("a standby of the source is {lag} behind, at most {}", limits.standby_lag_bytes));
        }
        if excess.is_empty() { None } else { Some(excess.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_looked_at_and_named() {
        let limits = SlowDown::default();
        let calm = Load { active_sessions: 16, standby_lag: Duration::from_secs(10), standby_lag_bytes: 256 << 20 };
        assert_eq!(calm.excess(&limits), None);
        let told = |load: Load| load.excess(&limits).unwrap_or_default();
        assert!(told(Load { active_sessions: 17, ..calm }).contains("17 sessions"));
        assert!(told(Load { standby_lag: Duration::from_secs(11), ..calm }).contains("11 s behind"));
        assert!(told(Load { standby_lag_bytes: 512 << 20, ..calm }).contains("512.0 MiB behind"));
    }
}
