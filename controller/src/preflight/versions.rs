//! Server versions: sources 10 to 17, destination 18.

use super::instance_finding;
use crate::finding::{Code, Finding, Severity};
use crate::postgres::ServerVersion;

pub(super) fn source(version: ServerVersion) -> Vec<Finding> {
    if version < ServerVersion::OLDEST_SOURCE {
        return vec![instance_finding(
            Severity::Error,
            Code::SourceVersion,
            "source",
            format!("the source is PostgreSQL {version}; logical replication began with 10"),
            "upgrade the source to PostgreSQL 10 or later first, or move it with pg_dump",
        )];
    }
    if version.at_least(ServerVersion::DESTINATION_MAJOR) {
        return vec![instance_finding(
            Severity::Error,
            Code::SourceVersion,
            "source",
            format!("the source is PostgreSQL {version}; sources are 10 to {}", ServerVersion::DESTINATION_MAJOR - 1),
            "check that source and destination of the mapping are not the wrong way round",
        )];
    }
    Vec::new()
}

pub(super) fn destination(version: ServerVersion) -> Vec<Finding> {
    if version.major() == ServerVersion::DESTINATION_MAJOR {
        return Vec::new();
    }
    vec![instance_finding(
        Severity::Error,
        Code::DestinationVersion,
        "destination",
        format!("the destination is PostgreSQL {version}; it has to be {}", ServerVersion::DESTINATION_MAJOR),
        format!("give an instance of PostgreSQL {} as the destination", ServerVersion::DESTINATION_MAJOR),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_10_to_17_and_the_destination_is_18() {
        for supported in [100_000, 100_023, 179_999] {
            assert!(source(ServerVersion(supported)).is_empty());
        }
        for refused in [0, 90_624, 180_000, 190_000] {
            assert_eq!(source(ServerVersion(refused))[0].code, "source_version");
        }
        assert!(destination(ServerVersion(180_006)).is_empty());
        for refused in [170_010, 190_000] {
            assert_eq!(destination(ServerVersion(refused))[0].code, "destination_version");
        }
    }
}
