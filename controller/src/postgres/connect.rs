//! Connections: one way to open them, always labelled, always with keepalives, never with a stray timeout.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, poll_fn};
use postgres_openssl::MakeTlsConnector;
use secrecy::ExposeSecret as _;
use tokio::sync::mpsc;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage, Socket};
use tracing::Instrument as _;

use super::fitting::{Fitted, Fitting, Plain, PlainStream};
use super::line::Line;
use super::tap::Handle;
use super::{ServerVersion, attend, quote, retry, tls};
use crate::config::{Instance, SslMode};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server can't be reached or refused us.
    #[error("can't connect to {instance} ({host}:{port}), database {database}: {}", retry::message(.source))]
    Connect {
        /// Name in the configuration.
        instance: String,
        /// Where it was looked for.
        host: String,
        /// Its port.
        port: u16,
        /// The database asked for.
        database: String,
        /// What the driver or the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The server took the connection and said nothing.
    #[error("{instance} ({host}:{port}), database {database}, takes connections and does not answer")]
    Silent {
        /// Name in the configuration.
        instance: String,
        /// Where it is.
        host: String,
        /// Its port.
        port: u16,
        /// The database asked for.
        database: String,
    },
    /// The certificates can't be used.
    #[error("the TLS settings of {instance} can't be used: {source}")]
    Tls {
        /// Name in the configuration.
        instance: String,
        /// What OpenSSL said.
        #[source]
        source: openssl::error::ErrorStack,
    },
    /// The server answered oddly to the first statements.
    #[error("can't set up a session on {instance}, database {database}: {}", retry::message(.source))]
    Setup {
        /// Name in the configuration.
        instance: String,
        /// The database connected to.
        database: String,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
}

impl Error {
    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { source, .. } | Self::Setup { source, .. } => retry::is_transient(source),
            Self::Silent { .. } => true,
            Self::Tls { .. } => false,
        }
    }
}

/// An instance and its name, ready to be connected to on behalf of a mapping.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Name in the configuration.
    pub name: String,
    /// How to reach it.
    pub instance: Instance,
    /// `application_name` of every session: by it a restarted controller finds what its predecessor left running.
    pub application_name: String,
    /// Who looks after other sessions does so in turn: so that this takes one session at a time, no more.
    pub(super) looks: Arc<tokio::sync::Mutex<()>>,
}

/// An open session: the driver's client, and the version of the server behind it.
#[derive(Debug)]
pub struct Session {
    client: Client,
    version: ServerVersion,
    pid: i32,
    tap: Option<Handle>,
}

impl Session {
    /// The server's version.
    pub fn version(&self) -> ServerVersion {
        self.version
    }

    /// Its backend's process id on the server.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The way past the driver for rows, if the session was opened with one.
    pub fn tap(&self) -> Option<&Handle> {
        self.tap.as_ref()
    }

    /// Waits for no lock for longer than a moment: whatever somebody on the source has locked, we look again later, and nobody waits behind
    /// us.
    pub async fn wait_for_no_lock(&self) -> Result<(), tokio_postgres::Error> {
        self.batch_execute("SET lock_timeout = '5s'").await
    }

    /// The driver's client alone.
    pub fn into_client(self) -> Client {
        self.client
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// A session is open within this time, or not at all.
pub(crate) const OPEN_LIMIT: Duration = Duration::from_secs(45);

/// After how many seconds of silence a peer is asked whether it is there, how often it is asked again, and how often in all. On Linux the
/// limit below decides instead of the last number, where it is set.
const KEEPALIVES: (u64, u64, u32) = (15, 5, 6);
/// Seconds after which a connection is given up whose peer acknowledges nothing, neither data nor questions.
const UNACKNOWLEDGED: u64 = 45;

/// What holds in every session: it is our own role's, names are always qualified, nothing of a role's or database's own settings cuts us
/// short or changes how values are printed and read, and a server notices when we are gone.
const SESSION: &str = "
    SET ROLE NONE;
    SET search_path = '';
    SET client_min_messages = warning;
    SET statement_timeout = 0;
    SET lock_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SET default_transaction_read_only = off;
    SET default_transaction_isolation = 'read committed';
    SET row_security = off;
    SET array_nulls = on;
    SET DateStyle = 'ISO, MDY';
    SET IntervalStyle = 'postgres';
    SET extra_float_digits = 3;
    SET bytea_output = 'hex';
    SET lc_monetary = 'C';
    SET xmloption = content;
    SET standard_conforming_strings = on;
    SET quote_all_identifiers = off;";

impl Endpoint {
    /// An instance of this name in the configuration.
    pub fn new(name: &str, instance: Instance, application_name: String) -> Self {
        Self { name: name.to_owned(), instance, application_name, looks: Arc::default() }
    }

    /// Opens a session.
    pub async fn connect(&self, database: &str) -> Result<Session, Error> {
        self.open(database, None, None).await
    }

    /// Opens a session for copying from, whose rows can be taken past the driver. For a thread of its own: while much is being read, it
    /// is put to sleep for moments.
    pub async fn connect_tapped(&self, database: &str) -> Result<Session, Error> {
        // The driver puts nothing of ours into a socket in the file system.
        let tap = (!self.instance.host.starts_with('/')).then(Handle::default);
        self.open(database, None, tap).await
    }

    /// Opens a session whose notifications arrive in `notified` (their payloads).
    pub async fn connect_listening(&self, database: &str, notified: mpsc::UnboundedSender<String>) -> Result<Session, Error> {
        self.open(database, Some(notified), None).await
    }

    async fn open(
        &self,
        database: &str,
        notified: Option<mpsc::UnboundedSender<String>>,
        tap: Option<Handle>,
    ) -> Result<Session, Error> {
        // The driver's own limit ends with the TCP connection: a server that stands still accepts it and says no more.
        let opening = self.open_at_leisure(database, notified, tap);
        tokio::time::timeout(OPEN_LIMIT, opening).await.unwrap_or_else(|_| {
            Err(Error::Silent {
                instance: self.name.clone(),
                host: self.instance.host.clone(),
                port: self.instance.port,
                database: database.to_owned(),
            })
        })
    }

    async fn open_at_leisure(
        &self,
        database: &str,
        notified: Option<mpsc::UnboundedSender<String>>,
        tap: Option<Handle>,
    ) -> Result<Session, Error> {
        let line = Arc::<Line>::default();
        let mut client = match tap {
            Some(tap) => {
                Session { tap: Some(tap.clone()), ..self.open_raw(database, notified, &line, (Arc::clone(&line), tap)).await? }
            }
            None => self.open_raw(database, notified, &line, Arc::clone(&line)).await?,
        };
        let version = client.version;
        let (idle, interval, count) = KEEPALIVES;
        let mut setup = format!(
            "{SESSION} SET tcp_keepalives_idle = {idle}; SET tcp_keepalives_interval = {interval}; SET tcp_keepalives_count = {count};"
        );
        if version.at_least(11) {
            // Catalog queries over many tables look costly to the planner: compiling them takes longer than running them.
            setup.push_str("SET jit = off;");
        }
        if version.at_least(12) {
            setup.extend(["SET tcp_user_timeout = '", &UNACKNOWLEDGED.to_string(), "s';"]);
        }
        if version.at_least(14) {
            setup.push_str("SET client_connection_check_interval = '5s';");
            setup.push_str("SET idle_session_timeout = 0;");
        }
        if version.at_least(17) {
            setup.push_str("SET transaction_timeout = 0;");
        }
        setup.push_str("SELECT pg_catalog.pg_backend_pid()");
        let answers = client.simple_query(&setup).await.map_err(|source| Error::Setup {
            instance: self.name.clone(),
            database: database.to_owned(),
            source,
        })?;
        let pid = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        client.pid = pid.unwrap_or_default();
        line.serves(client.pid);
        Ok(client)
    }

    async fn open_raw<F>(
        &self,
        database: &str,
        notified: Option<mpsc::UnboundedSender<String>>,
        line: &Arc<Line>,
        fitting: F,
    ) -> Result<Session, Error>
    where
        F: Fitting,
        F::Stream<PlainStream>: TlsStream + Unpin + Send + 'static,
        F::Stream<Encrypted>: TlsStream + Unpin + Send + 'static,
    {
        let mode = tls::effective_mode(&self.instance);
        let given_up = || attend::given_up(self.clone(), Arc::clone(line));
        let mut config = self.driver_config(database);
        if self.instance.host.starts_with('/') {
            // The driver puts nothing of ours into a socket in the file system, and nothing is in between there that could forget an end.
            config.ssl_mode(tokio_postgres::config::SslMode::Disable);
            return connect_with(&config, NoTls, notified, given_up())
                .await
                .map_err(|source| self.no_connection(database, source));
        }
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
        let mut plain = config.clone();
        plain.ssl_negotiation(tokio_postgres::config::SslNegotiation::Direct);
        let without =
            || connect_with(&plain, Fitted { connector: Plain, fitting: fitting.clone() }, notified.clone(), given_up());
        let connector = self.tls_connector(mode)?;
        let with = || connect_with(&config, Fitted { connector, fitting: fitting.clone() }, notified.clone(), given_up());
        let session = match mode {
            SslMode::Disable => without().await,
            SslMode::Allow => match without().await {
                Ok(session) => Ok(session),
                // The server may insist on encryption: that is what this mode is for. The second try's answer counts.
                Err(error) => {
                    tracing::debug!(instance = self.name, %error, "no plain connection, trying TLS");
                    with().await
                }
            },
            SslMode::Prefer => match with().await {
                // The server does not encrypt.
                Err(error) if error.as_db_error().is_none() => without().await,
                answer => answer,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => with().await,
        };
        session.map_err(|source| self.no_connection(database, source))
    }

    fn no_connection(&self, database: &str, source: tokio_postgres::Error) -> Error {
        Error::Connect {
            instance: self.name.clone(),
            host: self.instance.host.clone(),
            port: self.instance.port,
            database: database.to_owned(),
            source,
        }
    }

    fn tls_connector(&self, mode: SslMode) -> Result<MakeTlsConnector, Error> {
        tls::connector(&self.instance, mode).map_err(|source| Error::Tls { instance: self.name.clone(), source })
    }

    fn driver_config(&self, database: &str) -> tokio_postgres::Config {
        let (idle, interval, count) = KEEPALIVES;
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.instance.host)
            .port(self.instance.port)
            .user(&self.instance.user)
            .dbname(database)
            .application_name(&self.application_name)
            .connect_timeout(Duration::from_secs(10))
            // A connection that is half open is noticed within a minute.
            .keepalives_idle(Duration::from_secs(idle))
            .keepalives_interval(Duration::from_secs(interval))
            .keepalives_retries(count)
            .tcp_user_timeout(Duration::from_secs(UNACKNOWLEDGED));
        if let Some(password) = &self.instance.password {
            config.password(password.expose_secret());
        }
        config
    }

    /// The connection string by which the *destination's* server reaches this instance. It may hold a password: it goes
    /// into statements only in sessions made by [`Endpoint::connect_quiet`], and is never logged.
    pub fn conninfo(&self, database: &str, application_name: &str) -> secrecy::SecretString {
        let seen = &self.instance.from_destination;
        let (idle, interval, count) = KEEPALIVES;
        let mut parts = vec![
            ("host", seen.host.clone().unwrap_or_else(|| self.instance.host.clone())),
            ("port", seen.port.unwrap_or(self.instance.port).to_string()),
            ("user", self.instance.user.clone()),
            ("dbname", database.to_owned()),
            ("application_name", application_name.to_owned()),
            ("sslmode", tls::effective_mode(&self.instance).as_str().to_owned()),
            ("connect_timeout", "10".to_owned()),
            ("keepalives_idle", idle.to_string()),
            ("keepalives_interval", interval.to_string()),
            ("keepalives_count", count.to_string()),
            // Milliseconds. Keepalives alone do not end a connection on which data waits to be acknowledged.
            ("tcp_user_timeout", (UNACKNOWLEDGED * 1000).to_string()),
        ];
        let rootcert = seen.sslrootcert.clone().or_else(|| self.instance.sslrootcert.as_ref().map(|p| p.display().to_string()));
        if let Some(file) = rootcert {
            parts.push(("sslrootcert", file));
        }
        if let Some(passfile) = &seen.passfile {
            parts.push(("passfile", passfile.clone()));
        } else if let Some(password) = &self.instance.password {
            parts.push(("password", password.expose_secret().to_owned()));
        }
        let words: Vec<String> = parts.iter().map(|(key, value)| format!("{key}={}", quote::conninfo_value(value))).collect();
        secrecy::SecretString::from(words.join(" "))
    }

    /// Opens a session in which a statement may carry a password: nothing of it reaches the server's log,
    /// `pg_stat_activity` or `pg_stat_statements`. Needs a superuser.
    pub async fn connect_quiet(&self, database: &str) -> Result<Session, Error> {
        let client = self.connect(database).await?;
        client
            .batch_execute(
                "SET log_statement = none; SET log_min_duration_statement = -1; SET log_min_error_statement = panic;
                 SET log_duration = off; SET log_parameter_max_length = 0; SET log_parameter_max_length_on_error = 0;
                 SET log_min_duration_sample = -1; SET log_transaction_sample_rate = 0;
                 SET track_activities = off; SET pg_stat_statements.track_utility = off; SET pg_stat_statements.track = none;
                 SET auto_explain.log_min_duration = -1; SET auto_explain.log_parameter_max_length = 0;
                 SET pgaudit.log = 'none'; SET pgaudit.log_parameter = off;
                 SET debug_print_parse = off; SET debug_print_rewritten = off; SET debug_print_plan = off;",
            )
            .await
            .map_err(|source| Error::Setup { instance: self.name.clone(), database: database.to_owned(), source })?;
        Ok(client)
    }
}

/// What the connector for encryption makes.
type Encrypted = postgres_openssl::TlsStream<Socket>;

/// Opens a connection and drives it in a task of its own until the client is dropped, the server leaves, or it is given up.
async fn connect_with<T>(
    config: &tokio_postgres::Config,
    tls: T,
    notified: Option<mpsc::UnboundedSender<String>>,
    given_up: BoxFuture<'static, ()>,
) -> Result<Session, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket> + Send + 'static,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, mut connection) = config.connect(tls).await?;
    let version = parse_version(connection.parameter("server_version").unwrap_or_default());
    let driving = async move {
        loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(notification))) => {
                    if let Some(notified) = &notified {
                        // Nobody listens any more: then nobody needs to know.
                        let _ = notified.send(notification.payload().to_owned());
                    }
                }
                Some(Ok(_)) => {}
                // Every pending and later call on the client fails with this same cause: it is reported there.
                Some(Err(error)) => {
                    tracing::debug!(%error, "connection lost");
                    break;
                }
                None => break,
            }
        }
    };
    let driven = async move {
        tokio::select! {
            () = driving => {}
            // What is waited for on it fails with the driver.
            () = given_up => tracing::warn!("a connection is given up: no answer comes, no server works on one, and its end was not told"),
        }
    };
    tokio::spawn(driven.in_current_span());
    Ok(Session { client, version, pid: 0, tap: None })
}

/// Reads `15.18 (Debian 15.18-0+deb12u1)`, `18.1`, `19beta1`, `9.6.24`: what servers report as `server_version`.
fn parse_version(text: &str) -> ServerVersion {
    let numbers: Vec<i32> = text
        .split(|c: char| !c.is_ascii_digit())
        .take_while(|part| !part.is_empty())
        .take(2)
        .filter_map(|part| part.parse().ok())
        .collect();
    match numbers.as_slice() {
        [] => ServerVersion(0),
        [major, rest @ ..] if *major >= 10 => ServerVersion(major * 10_000 + rest.first().copied().unwrap_or(0)),
        [major, rest @ ..] => ServerVersion(major * 10_000 + rest.first().copied().unwrap_or(0) * 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_gone_is_noticed_within_a_minute() {
        let (idle, interval, count) = KEEPALIVES;
        assert!(idle + interval * u64::from(count) <= 60, "by keepalives alone");
        // Linux looks at the limit whenever it asks: at worst just before it is over.
        assert!(UNACKNOWLEDGED + interval <= 60);
        assert!(idle < UNACKNOWLEDGED, "it is given up only after it was asked");
    }

    #[test]
    fn versions_are_read_as_servers_report_them() {
        assert_eq!(parse_version("15.18 (Debian 15.18-0+deb12u1)"), ServerVersion(150_018));
        assert_eq!(parse_version("10.23"), ServerVersion(100_023));
        assert_eq!(parse_version("19beta1"), ServerVersion(190_000));
        assert_eq!(parse_version("9.6.24"), ServerVersion(90_600));
    }
}
