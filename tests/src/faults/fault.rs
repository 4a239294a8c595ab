//! What can go wrong.

use std::fmt;
use std::time::Duration;

use super::phase::Phase;

/// A fault. How each is made to happen is in [`super::strike`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // `describe` says what each is
pub enum Fault {
    KillController,
    KillSourceBackend,
    KillWalsender,
    KillApplyWorker,
    KillSource,
    KillDestination,
    StopController,
    StopSourceBackend,
    StopWalsender,
    StopApplyWorker,
    StopSource,
    StopDestination,
    Cut,
    Latency,
    HalfOpen,
    CutAtByte,
    RestartSource,
    RestartDestination,
    PasswordChanged,
    DiskFull,
    SlotInvalidated,
    RoleTimeouts,
    ConnectionsUsedUp,
    PlantedRow,
    Ddl,
    LongTransaction,
    PreparedTransaction,
    HugeTransaction,
}

/// How hard a round's faults strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measures {
    /// How long something is stopped, unreachable or refused.
    pub stop: Duration,
    /// Rows of the huge transaction.
    pub rows: u32,
    /// How long a round may take to recover.
    pub limit: Duration,
}

impl Measures {
    /// For tests that run at every change: short. Nobody's timeouts are over before something goes on.
    pub const SHORT: Self = Self { stop: Duration::from_secs(2), rows: 50_000, limit: Duration::from_secs(150) };
    /// The full measure: a minute, and two million rows.
    pub const FULL: Self = Self { stop: Duration::from_mins(1), rows: 2_000_000, limit: Duration::from_mins(5) };
}

/// Phases in which the stream's own processes run.
const STREAMING: &[Phase] = &[Phase::CatchUp, Phase::Stream, Phase::Cutover];

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 28] = [
        Self::KillController,
        Self::KillSourceBackend,
        Self::KillWalsender,
        Self::KillApplyWorker,
        Self::KillSource,
        Self::KillDestination,
        Self::StopController,
        Self::StopSourceBackend,
        Self::StopWalsender,
        Self::StopApplyWorker,
        Self::StopSource,
        Self::StopDestination,
        Self::Cut,
        Self::Latency,
        Self::HalfOpen,
        Self::CutAtByte,
        Self::RestartSource,
        Self::RestartDestination,
        Self::PasswordChanged,
        Self::DiskFull,
        Self::SlotInvalidated,
        Self::RoleTimeouts,
        Self::ConnectionsUsedUp,
        Self::PlantedRow,
        Self::Ddl,
        Self::LongTransaction,
        Self::PreparedTransaction,
        Self::HugeTransaction,
    ];

    /// What happens, in the words of reports.
    pub fn describe(self) -> &'static str {
        match self {
            Self::KillController => "kill -9 of the controller",
            Self::KillSourceBackend => "kill -9 of a source backend of ours",
            Self::KillWalsender => "kill -9 of the walsender",
            Self::KillApplyWorker => "kill -9 of the apply worker",
            Self::KillSource => "kill -9 of the source's postmaster",
            Self::KillDestination => "kill -9 of the destination's postmaster",
            Self::StopController => "SIGSTOP of the controller",
            Self::StopSourceBackend => "SIGSTOP of a source backend of ours",
            Self::StopWalsender => "SIGSTOP of the walsender",
            Self::StopApplyWorker => "SIGSTOP of the apply worker",
            Self::StopSource => "SIGSTOP of the source's postmaster",
            Self::StopDestination => "SIGSTOP of the destination's postmaster",
            Self::Cut => "connections reset, then none for a while",
            Self::Latency => "latency",
            Self::HalfOpen => "half-open connections",
            Self::CutAtByte => "cut at byte N",
            Self::RestartSource => "restart of the source",
            Self::RestartDestination => "restart of the destination",
            Self::PasswordChanged => "role password changed and restored",
            Self::DiskFull => "disk full on the destination",
            Self::SlotInvalidated => "slot invalidated",
            Self::RoleTimeouts => "timeouts set on our role",
            Self::ConnectionsUsedUp => "connections used up",
            Self::PlantedRow => "row planted on the destination",
            Self::Ddl => "DDL on the source",
            Self::LongTransaction => "long transaction before the slot",
            Self::PreparedTransaction => "prepared transaction before the slot",
            Self::HugeTransaction => "huge transaction in flight",
        }
    }

    /// Whether it strikes the harder, the greater the measures.
    pub fn is_measured(self) -> bool {
        matches!(
            self,
            Self::StopController
                | Self::StopSourceBackend
                | Self::StopWalsender
                | Self::StopApplyWorker
                | Self::StopSource
                | Self::StopDestination
                | Self::Cut
                | Self::HugeTransaction
        )
    }

    /// When it may strike.
    pub fn phases(self) -> &'static [Phase] {
        match self {
            Self::KillWalsender | Self::StopWalsender | Self::KillApplyWorker | Self::StopApplyWorker => STREAMING,
            Self::DiskFull => &[Phase::Copy, Phase::Index, Phase::CatchUp, Phase::Stream],
            Self::SlotInvalidated | Self::PlantedRow => &[Phase::CatchUp, Phase::Stream],
            Self::Ddl => &[Phase::Schema, Phase::Copy, Phase::Index, Phase::CatchUp, Phase::Stream],
            Self::LongTransaction | Self::PreparedTransaction => &[Phase::Before],
            Self::HugeTransaction => &[Phase::Copy, Phase::CatchUp, Phase::Stream],
            _ => &Phase::ALL,
        }
    }

    /// The first major version of a source that it can strike.
    pub fn since(self) -> u32 {
        match self {
            // max_slot_wal_keep_size.
            Self::SlotInvalidated => 13,
            _ => 10,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.describe())
    }
}
