//! The command line: one file a command. Data goes to stdout, everything else to stderr.
//!
//! Exit status: 0 done or yes, 1 the answer is no, 2 wrong usage or configuration.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{self, Config};

mod check;
mod plan;
mod request;
mod run;
mod status;
mod terminal;

/// Moves whole PostgreSQL instances onto PostgreSQL 18 while they are in use.
#[derive(Debug, Parser)]
#[command(name = "pg-migrator", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Common {
    /// Configuration file; without it ./pg-migrator.toml
    #[arg(long, env = "PG_MIGRATOR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller: migrate every mapping, serve the dashboard, answer requests
    Run(Common),
    /// Check everything that can be checked before anything is touched; exit 1 if something stands in the way
    Check(Common),
    /// Print the DDL that `run` would execute, in its order
    Plan {
        /// Only this mapping
        mapping: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Print where every mapping and database stands
    Status(Common),
    /// Switch a mapping over: block writes on the source, let the rest be applied, set sequences
    Cutover {
        /// The mapping
        mapping: String,
        /// Undo everything if it takes longer than so many seconds
        #[arg(long, default_value_t = 300.0)]
        timeout: f64,
        #[command(flatten)]
        common: Common,
    },
    /// Clean up after the switch: everything that the ledger names is undone on both sides
    Complete {
        /// The mapping
        mapping: String,
        #[command(flatten)]
        common: Common,
    },
    /// Begin no further copy of a mapping; streams go on
    Pause {
        /// The mapping
        mapping: String,
        #[command(flatten)]
        common: Common,
    },
    /// Take a pause back
    Resume {
        /// The mapping
        mapping: String,
        #[command(flatten)]
        common: Common,
    },
    /// Copy a mapping, one of its databases, or one table once more
    Resync {
        /// The mapping
        mapping: String,
        /// `database`, or `database.schema.table`, or `database."schema"."table"`; without it the whole mapping
        table: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Compare both sides of a mapping
    Verify {
        /// The mapping
        mapping: String,
        #[command(flatten)]
        common: Common,
    },
}

/// The answer of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
}

/// Why a command gave no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error("there is no mapping {0:?} in the configuration")]
    NoMapping(String),
    #[error("{0}")]
    Failed(String),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("PG_MIGRATOR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || terminal::Log { colours }).with_ansi(colours).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("pg-migrator: can't start: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(dispatch(cli.command)) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(Failure::Failed(reason)) => {
            eprintln!("pg-migrator: {}", terminal::paragraph(&reason, "  "));
            ExitCode::from(1)
        }
        Err(failure) => {
            eprintln!("pg-migrator: {}", terminal::paragraph(&failure.to_string(), "  "));
            ExitCode::from(2)
        }
    }
}

async fn dispatch(command: Command) -> Result<Answer, Failure> {
    use request::Ask;
    match command {
        Command::Run(common) => run::run(load(&common)?).await,
        Command::Check(common) => check::run(&load(&common)?, common.json).await,
        Command::Plan { mapping, common } => plan::run(&load(&common)?, mapping.as_deref(), common.json).await,
        Command::Status(common) => status::run(&load(&common)?, common.json).await,
        Command::Cutover { mapping, timeout, common } => {
            request::run(&load(&common)?, &mapping, Ask::Cutover { timeout }, common.json).await
        }
        Command::Complete { mapping, common } => request::run(&load(&common)?, &mapping, Ask::Complete, common.json).await,
        Command::Pause { mapping, common } => request::run(&load(&common)?, &mapping, Ask::Pause, common.json).await,
        Command::Resume { mapping, common } => request::run(&load(&common)?, &mapping, Ask::Resume, common.json).await,
        Command::Resync { mapping, table, common } => {
            request::run(&load(&common)?, &mapping, Ask::Resync { table }, common.json).await
        }
        Command::Verify { mapping, common } => request::run(&load(&common)?, &mapping, Ask::Verify, common.json).await,
    }
}

fn load(common: &Common) -> Result<Config, Failure> {
    Ok(config::load(common.config.as_deref())?)
}

/// Prints to stdout; a reader that has gone away (`| head`) is not our failure. A terminal gets nothing that steers it.
fn print(text: &str) {
    use std::io::Write as _;
    let mut stdout = std::io::stdout();
    let shown = if stdout.is_terminal() { terminal::script(text) } else { text.into() };
    let _ = writeln!(stdout, "{shown}");
}

/// Prints JSON, for programs and people alike.
fn print_json(value: &serde_json::Value) {
    print(&terminal::json(value));
}
