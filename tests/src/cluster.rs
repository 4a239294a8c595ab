//! One real PostgreSQL server: initialised, started, stopped and removed.
//!
//! The server hangs on a pipe: a small shell beside it waits for the end of its standard input, which comes when the
//! [`Cluster`] is dropped and just as well when the test process is killed. Then it stops the server and removes its
//! folder. The shell has a session of its own, so that killing the test's process group leaves it alive to do so.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio_postgres::{Client, NoTls};

use crate::error::{Doing, Error, Result};

pub mod control;
mod standby;
mod template;

/// How long a server may take until it answers. Generous: two cores may be busy compiling.
const START_LIMIT: Duration = Duration::from_mins(1);

/// Starts the server ($2…) and stops it at the end of stdin; then removes the folder ($1). A line that arrives before asks for
/// the server once more: the one before has ended, as somebody wished.
const GUARD: &str = r#"
folder=$1; shift
"$@" </dev/null &
server=$!
while read -r again; do
    wait "$server" 2>/dev/null
    "$@" </dev/null &
    server=$!
done
# A server that is stopped hears nothing else.
kill -CONT "$server" 2>/dev/null
kill -QUIT "$server" 2>/dev/null
wait "$server" 2>/dev/null
rm -rf "$folder"
"#;

/// A running server.
#[derive(Debug)]
pub struct Cluster {
    major: u32,
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
    password: String,
    guard: Child,
}

/// What a server is started with.
#[derive(Debug)]
pub struct ClusterBuilder {
    major: u32,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    parent: Option<PathBuf>,
}

impl Cluster {
    /// A server of this major version, with the harness's settings.
    pub async fn start(major: u32) -> Result<Self> {
        Self::of(major).start().await
    }

    /// A server of this major version, to be given more settings.
    pub fn of(major: u32) -> ClusterBuilder {
        ClusterBuilder { major, settings: Vec::new(), environment: Vec::new(), parent: None }
    }

    /// Its major version: 10 … 18.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Where it listens.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's name.
    pub fn user(&self) -> &'static str {
        "postgres"
    }

    /// The superuser's password; drawn at random, and another one for each version.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The server's folder of programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The server's log.
    pub fn log(&self) -> Result<String> {
        let path = self.folder.join("server.log");
        let bytes = fs::read(&path).doing(|| format!("reading {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A connection of the superuser to a database.
    pub async fn connect(&self, database: &str) -> Result<Client> {
        self.connect_as(self.user(), &self.password, database).await
    }

    /// A connection of any role to a database.
    pub async fn connect_as(&self, role: &str, password: &str, database: &str) -> Result<Client> {
        let mut config = tokio_postgres::Config::new();
        config
            .host(self.host())
            .port(self.port)
            .user(role)
            .password(password)
            .dbname(database)
            .application_name("scenario")
            .connect_timeout(Duration::from_secs(10));
        let doing = || format!("connecting to database {database:?} of the PostgreSQL {} server as {role:?}", self.major);
        let (client, connection) = config.connect(NoTls).await.doing(doing)?;
        // A broken connection shows at the next use of the client; nothing more is to be learnt here.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Runs statements in a database.
    pub async fn run(&self, database: &str, sql: &str) -> Result<()> {
        let client = self.connect(database).await?;
        client.batch_execute(sql).await.doing(|| format!("running in {database:?} of PostgreSQL {}: {}", self.major, head(sql)))
    }

    /// The rows of a query, each value in its text form, `NULL` where it is null.
    pub async fn rows(&self, database: &str, sql: &str) -> Result<Vec<Vec<String>>> {
        let client = self.connect(database).await?;
        rows(&client, sql).await
    }

    /// The first column of a query's rows.
    pub async fn column(&self, database: &str, sql: &str) -> Result<Vec<String>> {
        Ok(self.rows(database, sql).await?.into_iter().filter_map(|row| row.into_iter().next()).collect())
    }

    /// The first value of a query's first row.
    pub async fn value(&self, database: &str, sql: &str) -> Result<String> {
        let first = self.column(database, sql).await?.into_iter().next();
        first.ok_or_else(|| Error::Broken(format!("no row came from: {}", head(sql))))
    }

    /// A program with the connection of the superuser in its environment, never in its arguments.
    pub fn program(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        command
            .env("PGHOST", self.host())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", self.user())
            .env("PGPASSWORD", &self.password)
            .env("PGSSLMODE", "disable")
            .env("PGCLIENTENCODING", "UTF8");
        command
    }

    /// Databases that a user could have made: neither templates nor `postgres`.
    pub async fn databases(&self) -> Result<Vec<String>> {
        self.column(
            "postgres",
            "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY datname::text COLLATE \"C\"",
        )
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        keep_log(&self.folder.join("server.log"), &format!("postgresql-{}-{}.log", self.major, self.port));
        // The end of the pipe is what the guard waits for.
        drop(self.guard.stdin.take());
        // Nothing can be done about a failure here; the guard stands on its own.
        let _ = self.guard.wait();
    }
}

impl ClusterBuilder {
    /// A line of `postgresql.conf`; later ones win.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A variable of the server's environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts the server's folder into this one, instead of where the system keeps temporary ones.
    #[must_use]
    pub fn inside(mut self, folder: &Path) -> Self {
        self.parent = Some(folder.to_owned());
        self
    }

    /// Initialises and starts the server, and waits until it answers.
    pub async fn start(self) -> Result<Cluster> {
        let bin = server_bin(self.major)?;
        let mut last = None;
        // Another process may take the port between our look and the server's start.
        for _ in 0..3 {
            match self.start_once(&bin).await {
                Err(Error::Program { output, .. }) if output.contains("could not bind") => last = Some(output),
                other => return other,
            }
        }
        Err(Error::Broken(format!("no free port found for a server: {}", last.unwrap_or_default())))
    }

    async fn start_once(&self, bin: &Path) -> Result<Cluster> {
        let folder = make_folder(self.major, self.parent.as_deref())?;
        let port = free_port()?;
        let password = match self.initialise(bin, &folder, port) {
            Ok(password) => password,
            Err(error) => {
                // The first error is the one to report.
                let _ = fs::remove_dir_all(&folder);
                return Err(error);
            }
        };
        Cluster::launch(self.major, bin, folder, port, password, &self.environment).await
    }

    /// Makes the data and the settings of a server. Gives the superuser's password.
    fn initialise(&self, bin: &Path, folder: &Path, port: u16) -> Result<String> {
        give_to_server_user(folder)?;
        let password = template::lay_out(bin, folder)?;
        let mut conf = String::from(
            "listen_addresses = '127.0.0.1'\n\
             fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n\
             shared_buffers = 64MB\nmax_wal_size = 4GB\ncheckpoint_timeout = 30min\n\
             wal_level = logical\nmax_connections = 200\n\
             max_wal_senders = 40\nmax_replication_slots = 40\nmax_worker_processes = 40\n\
             max_logical_replication_workers = 30\nmax_prepared_transactions = 5\n\
             wal_receiver_status_interval = 1s\nwal_retrieve_retry_interval = 200ms\n\
             log_min_messages = warning\nlog_line_prefix = '%m [%p] %q%a %d '\n",
        );
        // Writing to a String can't fail.
        let _ = writeln!(conf, "port = {port}\nunix_socket_directories = '{}'", folder.display());
        if self.major >= 18 {
            conf.push_str("max_active_replication_origins = 40\n");
        }
        for (name, value) in &self.settings {
            let _ = writeln!(conf, "{name} = '{}'", value.replace('\'', "''"));
        }
        let path = folder.join("data/postgresql.auto.conf");
        fs::write(&path, conf).doing(|| format!("writing {}", path.display()))?;
        Ok(password)
    }
}

impl Cluster {
    /// Starts the server whose data is in a folder, and waits until it answers.
    async fn launch(
        major: u32,
        bin: &Path,
        folder: PathBuf,
        port: u16,
        password: String,
        environment: &[(String, String)],
    ) -> Result<Self> {
        let log = folder.join("server.log");
        let output = fs::File::create(&log).doing(|| format!("creating {}", log.display()))?;
        let errors = output.try_clone().doing(|| format!("creating {}", log.display()))?;
        let mut guard = Command::new("setsid");
        guard.args(["sh", "-c", GUARD, "guard"]).arg(&folder);
        for word in as_server_user() {
            guard.arg(word);
        }
        guard.arg(bin.join("postgres")).arg("-D").arg(folder.join("data"));
        let guard = guard
            .current_dir("/")
            .env("LC_ALL", "C.UTF-8")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .doing(|| "starting a server".to_owned())?;
        let cluster = Self { major, bin: bin.to_owned(), folder, port, password, guard };
        cluster.wait_until_it_answers().await?;
        Ok(cluster)
    }

    async fn wait_until_it_answers(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let Err(error) = self.connect("postgres").await else { return Ok(()) };
            let log = self.log()?;
            let dead = !self.folder.join("data/postmaster.pid").exists() && log.contains("FATAL");
            if dead || begun.elapsed() > START_LIMIT {
                return Err(Error::Program {
                    program: format!("PostgreSQL {}", self.major),
                    status: error.to_string(),
                    output: log,
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Copies a log into the folder that `PG_MIGRATOR_KEEP_LOGS` names, if it names one, before the log goes away.
pub fn keep_log(log: &Path, name: &str) {
    if let Some(folder) = std::env::var_os("PG_MIGRATOR_KEEP_LOGS")
        && let Err(error) = fs::copy(log, Path::new(&folder).join(name))
    {
        eprintln!("{} was not kept: {error}", log.display());
    }
}

/// The rows of a query, each value in its text form, `NULL` where it is null.
pub async fn rows(client: &Client, sql: &str) -> Result<Vec<Vec<String>>> {
    let messages = client.simple_query(sql).await.doing(|| format!("asking {}", head(sql)))?;
    let mut rows = Vec::new();
    for message in messages {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            rows.push((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect());
        }
    }
    Ok(rows)
}

/// Whether a server of this major version is on this machine.
pub fn has_server(major: u32) -> bool {
    server_bin(major).is_ok()
}

/// The folder of the servers that this project builds.
fn cache() -> String {
    std::env::var("PG_MIGRATOR_CACHE").unwrap_or_else(|_| "/opt/pg-migrator".to_owned())
}

/// The folder of programs of the server of this major version.
pub fn server_bin(major: u32) -> Result<PathBuf> {
    let cache = cache();
    let mut candidates = Vec::new();
    if major == 18 {
        // The same order as find_pg18 in scripts/lib.sh: the extension is installed into the first of these.
        if let Some(folder) = std::env::var_os("PG_CONFIG").and_then(|path| PathBuf::from(path).parent().map(Path::to_owned)) {
            candidates.push(folder);
        }
        candidates.push("/usr/lib/postgresql/18/bin".into());
        candidates.push(format!("{cache}/pg18/bin").into());
    } else {
        candidates.push(format!("{cache}/old/{major}/bin").into());
        candidates.push(format!("/usr/lib/postgresql/{major}/bin").into());
    }
    candidates
        .into_iter()
        .find(|folder| folder.join("postgres").exists())
        .ok_or_else(|| Error::Broken(format!("there is no PostgreSQL {major} on this machine: run scripts/setup.sh --tests")))
}

/// A program of the PostgreSQL 18 installation: `pg_dump`, `pg_dumpall`, `psql`.
pub fn tool18(name: &str) -> Result<PathBuf> {
    Ok(server_bin(18)?.join(name))
}

/// Runs a program to its end; its standard output if it succeeded.
pub fn output_of(mut command: Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().doing(|| format!("running {program}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Program {
        program,
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A port of 127.0.0.1 that nothing listens on; below the range that the system gives to outgoing connections.
pub fn free_port() -> Result<u16> {
    for _ in 0..1000 {
        let port = rand::rng().random_range(15_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Broken("no free port on 127.0.0.1 between 15000 and 30000".to_owned()))
}

/// The beginning of a text, to be named in an error.
pub fn head(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &flat[..end]),
        None => flat,
    }
}

fn server_user() -> String {
    std::env::var("PG_MIGRATOR_SERVER_USER").unwrap_or_else(|_| "postgres".to_owned())
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    // Root owns /proc/self only when root runs this process.
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// The words before a server program: postgres refuses to run as root.
fn as_server_user() -> Vec<String> {
    if !is_root() {
        return Vec::new();
    }
    let user = server_user();
    ["setpriv", "--reuid", &user, "--regid", &user, "--init-groups", "--"].map(str::to_owned).to_vec()
}

fn server_command(program: &Path) -> Command {
    let mut words = as_server_user().into_iter();
    let mut command = match words.next() {
        Some(first) => {
            let mut command = Command::new(first);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    command
}

fn make_folder(major: u32, parent: Option<&Path>) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
    let folder = tempfile::Builder::new()
        .prefix(&format!("pgm-{major}-"))
        .tempdir_in(parent)
        .doing(|| "creating a folder for a server".to_owned())?
        // From here on the guard removes it.
        .keep();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).doing(|| format!("opening {}", folder.display()))?;
    Ok(folder)
}

fn give_to_server_user(folder: &Path) -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut chown = Command::new("chown");
    chown.arg("-R").arg(format!("{}:", server_user())).arg(folder);
    output_of(chown).map(drop)
}
