//! The `pg-migrator` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pg_migrator::cli::main()
}
