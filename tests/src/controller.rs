//! The `pg-migrator` binary under test: its configuration, its daemon, its commands.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cluster::control::signal;
use crate::cluster::{Cluster, keep_log, output_of, rows};
use crate::error::{Doing, Error, Result};

/// The control database that the scenarios use: the default one.
pub const CONTROL: &str = "migrator";

/// How long a command may take; `cutover` has a time limit of 300 s of its own.
const ANSWER_LIMIT: Duration = Duration::from_secs(330);

/// A configuration file to be.
#[derive(Debug, Clone, Default)]
pub struct ConfigFile {
    top: String,
    instances: String,
    mappings: String,
    dashboard: Option<u16>,
}

/// One `[mappings.…]` section.
#[derive(Debug, Clone)]
pub struct Mapping {
    name: String,
    source: String,
    destination: String,
    lines: Vec<String>,
}

impl Mapping {
    /// A mapping of one instance onto another, all databases, with two workers of each kind. It need not be calm for long to be ready.
    pub fn new(name: &str, source: &str, destination: &str) -> Self {
        let lines = ["copy_workers = 2", "index_workers = 2", "stable_for = \"500ms\""].map(str::to_owned).to_vec();
        Self { name: name.to_owned(), source: source.to_owned(), destination: destination.to_owned(), lines }
    }

    /// A mapping of one instance onto another with nothing but defaults.
    pub fn bare(name: &str, source: &str, destination: &str) -> Self {
        Self { lines: Vec::new(), ..Self::new(name, source, destination) }
    }

    /// Only these databases.
    #[must_use]
    pub fn databases(self, include: &[&str]) -> Self {
        let names: Vec<String> = include.iter().map(|name| toml_string(name)).collect();
        self.line(&format!("databases = {{ include = [{}] }}", names.join(", ")))
    }

    /// Another line of the section.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }
}

impl ConfigFile {
    /// An empty configuration with a quick tick and no dashboard.
    pub fn new() -> Self {
        Self { top: "tick = \"500ms\"\n".to_owned(), ..Self::default() }
    }

    /// Another line before the sections.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.top.push_str(line);
        self.top.push('\n');
        self
    }

    /// Serves the dashboard on this port of 127.0.0.1.
    #[must_use]
    pub fn dashboard(mut self, port: u16) -> Self {
        self.dashboard = Some(port);
        self
    }

    /// A running server as an instance, reached as its superuser.
    #[must_use]
    pub fn instance(self, name: &str, cluster: &Cluster) -> Self {
        self.instance_at(name, cluster.port(), cluster.user(), cluster.password())
    }

    /// An instance by port, user and password.
    #[must_use]
    pub fn instance_at(mut self, name: &str, port: u16, user: &str, password: &str) -> Self {
        // Writing to a String can't fail.
        let _ = write!(
            self.instances,
            "\n[instances.{}]\nhost = \"127.0.0.1\"\nport = {port}\nuser = {}\npassword = {}\nsslmode = \"disable\"\ndatabase = \"postgres\"\n",
            toml_string(name),
            toml_string(user),
            toml_string(password),
        );
        self
    }

    /// Another line of the instance added last.
    #[must_use]
    pub fn instance_line(mut self, line: &str) -> Self {
        self.instances.push_str(line);
        self.instances.push('\n');
        self
    }

    /// The time between two looks, instead of a quick one.
    #[must_use]
    pub fn tick(mut self, tick: &str) -> Self {
        self.top = self.top.split_inclusive('\n').filter(|line| !line.starts_with("tick =")).collect();
        self.line(&format!("tick = \"{tick}\""))
    }

    /// A mapping.
    #[must_use]
    pub fn mapping(mut self, mapping: &Mapping) -> Self {
        let _ = write!(
            self.mappings,
            "\n[mappings.{}]\nsource = {}\ndestination = {}\n{}\n",
            toml_string(&mapping.name),
            toml_string(&mapping.source),
            toml_string(&mapping.destination),
            mapping.lines.join("\n"),
        );
        self
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let dashboard = match self.dashboard {
            Some(port) => format!("enabled = true\nlisten = \"127.0.0.1:{port}\"\n"),
            None => "enabled = false\n".to_owned(),
        };
        format!("{}\n[dashboard]\n{dashboard}{}{}", self.top, self.instances, self.mappings)
    }
}

/// What a command gave.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A configuration file on disk, and the daemon that runs by it, if it runs.
#[derive(Debug)]
pub struct Controller {
    folder: TempDir,
    daemon: Option<Child>,
    starts: u32,
}

impl Controller {
    /// Writes the configuration; nothing is started yet.
    pub fn new(config: &ConfigFile) -> Result<Self> {
        let folder = TempDir::with_prefix("pgm-controller-").doing(|| "creating a folder for the controller".to_owned())?;
        let controller = Self { folder, daemon: None, starts: 0 };
        let path = controller.config_path();
        fs::write(&path, config.text()).doing(|| format!("writing {}", path.display()))?;
        Ok(controller)
    }

    /// Writes the configuration and starts `pg-migrator run`.
    pub fn started(config: &ConfigFile) -> Result<Self> {
        let mut controller = Self::new(config)?;
        controller.start()?;
        Ok(controller)
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("pg-migrator.toml")
    }

    /// What the daemon wrote, over all its lives.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("run.log")
    }

    /// What the daemon wrote, over all its lives.
    pub fn log(&self) -> Result<String> {
        match fs::read(self.log_path()) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).doing(|| format!("reading {}", self.log_path().display())),
        }
    }

    /// Starts `pg-migrator run`. It ends with the thread that starts it, so call this from a scenario's own thread.
    pub fn start(&mut self) -> Result<()> {
        let path = self.log_path();
        let log = fs::OpenOptions::new().create(true).append(true).open(&path).doing(|| format!("opening {}", path.display()))?;
        let errors = log.try_clone().doing(|| format!("opening {}", path.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(binary()?).arg("run").arg("--config").arg(self.config_path());
        self.environment(&mut command);
        let daemon =
            command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().doing(|| "starting pg-migrator run".to_owned())?;
        self.daemon = Some(daemon);
        self.starts += 1;
        Ok(())
    }

    /// The daemon's process id.
    pub fn id(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// Whether the daemon runs.
    pub fn is_running(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|daemon| matches!(daemon.try_wait(), Ok(None)))
    }

    /// Sends the daemon a signal, by its name without SIG.
    pub fn signal(&self, name: &str) -> Result<()> {
        let pid = self.id().ok_or_else(|| Error::Broken("there is no controller".to_owned()))?;
        let pid = i32::try_from(pid).map_err(|_| Error::Broken(format!("{pid} is no process id")))?;
        signal(pid, name)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().doing(|| "killing the controller".to_owned())?;
            daemon.wait().doing(|| "waiting for the controller's end".to_owned())?;
        }
        Ok(())
    }

    /// Asks the daemon to end, as a service manager does, and waits for it.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let mut terminate = Command::new("kill");
        terminate.args(["-TERM", &daemon.id().to_string()]);
        output_of(terminate)?;
        let begun = Instant::now();
        while daemon.try_wait().doing(|| "waiting for the controller's end".to_owned())?.is_none() {
            if begun.elapsed() > Duration::from_secs(20) {
                daemon.kill().doing(|| "killing the controller".to_owned())?;
                daemon.wait().doing(|| "waiting for the controller's end".to_owned())?;
                return Err(Error::Broken("the controller did not end within 20 s of SIGTERM".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// How often the daemon was started.
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// Runs `pg-migrator <words> --config …` to its end.
    pub async fn ask(&self, words: &[&str]) -> Result<Answer> {
        let mut command = Command::new(binary()?);
        command.args(words).arg("--config").arg(self.config_path());
        self.environment(&mut command);
        command.stdin(Stdio::null());
        let doing = || format!("running pg-migrator {}", words.join(" "));
        let output = tokio::process::Command::from(command).kill_on_drop(true).output();
        let output = tokio::time::timeout(ANSWER_LIMIT, output)
            .await
            .map_err(|_| Error::Timeout { what: doing(), waited: ANSWER_LIMIT, state: "it had not ended".to_owned() })?
            .doing(doing)?;
        Ok(Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn environment(&self, command: &mut Command) {
        // Nothing from the caller's environment may change what is tested.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("PG_MIGRATOR") || (name.starts_with("PG") && name != "PG_CONFIG") {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", "1").current_dir(self.folder.path());
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "info,pg_migrator=debug");
        }
    }

    /// Waits until a query in the control database gives `t`. Whatever fails on the way counts as "not yet": the control
    /// database is made by the controller, and the controller may be dead for a while.
    pub async fn wait_for(&mut self, destination: &Cluster, condition: &str, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        let sql = format!("SELECT {condition}");
        let mut client = None;
        loop {
            if client.is_none() {
                client = destination.connect(CONTROL).await.ok();
            }
            let answer = match &client {
                Some(open) => rows(open, &sql).await,
                None => Err(Error::Broken("the control database does not exist yet".to_owned())),
            };
            let state = match answer {
                Ok(found) => match found.first().and_then(|row| row.first()) {
                    Some(value) if value == "t" => return Ok(()),
                    other => format!("it was {other:?}"),
                },
                Err(error) => {
                    client = None;
                    error.to_string()
                }
            };
            let ended = self.daemon.is_some() && !self.is_running();
            if ended || begun.elapsed() > limit {
                let state = if ended { format!("the controller has ended; {state}") } else { state };
                return Err(Error::Timeout {
                    what: condition.to_owned(),
                    waited: begun.elapsed(),
                    state: format!("{state}\n{}", self.report(destination).await),
                });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a mapping may be cut over.
    pub async fn wait_until_ready(&mut self, destination: &Cluster, mapping: &str, limit: Duration) -> Result<()> {
        self.wait_for(destination, &format!("migrator.cutover_ready({})", literal(mapping)), limit).await
    }

    /// Asks for something through the CLI, and fails unless its exit code is 0.
    pub async fn must(&self, words: &[&str]) -> Result<Answer> {
        let answer = self.ask(words).await?;
        if answer.code == 0 {
            return Ok(answer);
        }
        Err(Error::Program {
            program: format!("pg-migrator {}", words.join(" ")),
            status: format!("exit code {}", answer.code),
            output: format!("{}\n{}\nthe daemon's log ends:\n{}", answer.stdout, answer.stderr, self.log_end()),
        })
    }

    /// How things stand, for a scenario that fails.
    pub async fn report(&self, destination: &Cluster) -> String {
        let mut report = String::new();
        for sql in [
            "SELECT mapping, database, status, phase, tables_synced || '/' || tables_total, lag_bytes, updated_at FROM migrator.status()",
            "SELECT mapping, ready, blockers FROM migrator.cutover_ready()",
            "SELECT mapping, database, severity, code, object, reason, fix, statement FROM migrator.findings WHERE resolved_at IS NULL LIMIT 20",
            "SELECT mapping, kind, succeeded, report FROM migrator.requests",
        ] {
            match destination.rows(CONTROL, sql).await {
                Ok(rows) => rows.iter().for_each(|row| {
                    let _ = writeln!(report, "  {}", row.join(" | "));
                }),
                Err(error) => {
                    let _ = writeln!(report, "  {error}");
                }
            }
        }
        let _ = write!(report, "the daemon's log ends:\n{}", self.log_end());
        report
    }

    /// The last lines of the daemon's log.
    pub fn log_end(&self) -> String {
        let log = self.log().unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // A failure to kill means that it is dead already.
        let _ = self.kill();
        keep_log(&self.log_path(), &format!("controller-{}.log", self.folder.path().file_name().unwrap_or_default().display()));
    }
}

/// The binary under test: `PG_MIGRATOR_BIN`, else the one that cargo built beside this program.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PG_MIGRATOR_BIN") {
        return Ok(PathBuf::from(path));
    }
    let here = std::env::current_exe().doing(|| "looking for pg-migrator".to_owned())?;
    here.ancestors()
        .skip(1)
        .map(|folder| folder.join("pg-migrator"))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::Broken("pg-migrator is not built: cargo build -p pg-migrator, or set PG_MIGRATOR_BIN".to_owned()))
}

/// A string literal of SQL.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An identifier of SQL.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A basic string of TOML; JSON's escapes are a subset of its.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a file exists and holds a text.
pub fn file_contains(path: &Path, text: &str) -> Result<bool> {
    let bytes = fs::read(path).doing(|| format!("reading {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).contains(text))
}
