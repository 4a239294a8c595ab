//! What befalls a server: it is stopped, killed, started again; and its processes one by one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Cluster, START_LIMIT, output_of};
use crate::error::{Doing, Error, Result};

/// How long the processes of a server may take to end when their postmaster has.
const END_LIMIT: Duration = Duration::from_secs(30);

impl Cluster {
    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Its postmaster's process id, as it has written it down itself.
    pub fn postmaster(&self) -> Result<i32> {
        let path = self.data().join("postmaster.pid");
        let text = fs::read_to_string(&path).doing(|| format!("reading {}", path.display()))?;
        let first = text.lines().next().unwrap_or_default();
        first.trim().parse().map_err(|_| Error::Broken(format!("{} begins with {first:?}", path.display())))
    }

    /// Whether its postmaster runs.
    pub fn is_alive(&self) -> bool {
        self.postmaster().is_ok_and(is_alive)
    }

    /// Starts it again after its end, and waits until it answers. Processes that a killed postmaster left behind hold its shared
    /// memory: they are waited for first.
    pub async fn start_again(&mut self) -> Result<()> {
        let begun = Instant::now();
        while !self.processes().is_empty() {
            if begun.elapsed() > END_LIMIT {
                let state = format!("these are left: {:?}", self.processes());
                return Err(Error::Timeout { what: "a server's end".to_owned(), waited: begun.elapsed(), state });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let guard = self.guard.stdin.as_mut().ok_or_else(|| Error::Broken("the server's guard is gone".to_owned()))?;
        std::io::Write::write_all(guard, b"again\n").doing(|| "asking for a server once more".to_owned())?;
        self.wait_until_it_is_back().await
    }

    /// Waits until it answers: after a crash it may first have to recover.
    pub async fn wait_until_it_is_back(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let Err(error) = self.value("postgres", "SELECT 1").await else { return Ok(()) };
            if begun.elapsed() > START_LIMIT {
                let what = format!("PostgreSQL {} to answer again", self.major);
                let state = format!("{error}\n{}", self.log()?);
                return Err(Error::Timeout { what, waited: begun.elapsed(), state });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All its processes: a server's processes live in the folder of its data.
    fn processes(&self) -> Vec<i32> {
        let data = self.data();
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data))
            .collect()
    }
}

/// Sends a signal, by its name without SIG, to a process of ours or of a server's.
pub fn signal(pid: i32, name: &str) -> Result<()> {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).arg(pid.to_string());
    output_of(kill).map(drop)
}

/// Whether a process exists and is more than an entry that nobody has read yet.
pub fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}
