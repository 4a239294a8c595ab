//! As much of an HTTP client as asking the dashboard takes: one request a connection, so that every header is ours.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::error::{Doing, Error, Result};

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header lines, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Reply {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Some(Self { status, headers, body: body.to_owned() })
    }
}

/// `GET path`, under the address's own name.
pub async fn get(address: SocketAddr, path: &str) -> Result<Reply> {
    request(address, "GET", path, &[("Host", &address.to_string())]).await
}

/// Any request, with exactly these headers.
pub async fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Reply> {
    let doing = || format!("asking http://{address}{path}");
    let answer = async {
        let mut stream = send(address, method, path, headers).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.doing(doing)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Reply::parse(&text).ok_or_else(|| Error::Broken(format!("{}: this is no HTTP answer: {text}", doing())))
    };
    tokio::time::timeout(ANSWER_LIMIT, answer).await.map_err(|_| Error::Timeout {
        what: doing(),
        waited: ANSWER_LIMIT,
        state: "there was no whole answer".to_owned(),
    })?
}

/// An endless answer, read as it comes.
#[derive(Debug)]
pub struct Listening {
    stream: TcpStream,
    heard: String,
}

impl Listening {
    /// Asks for an event stream.
    pub async fn to(address: SocketAddr, path: &str) -> Result<Self> {
        let stream = send(address, "GET", path, &[("Host", &address.to_string())]).await?;
        Ok(Self { stream, heard: String::new() })
    }

    /// Listens until a text has come, and forgets what came before it.
    pub async fn until(&mut self, text: &str) -> Result<()> {
        let begun = Instant::now();
        let mut bytes = vec![0; 64 * 1024];
        loop {
            if let Some(place) = self.heard.find(text) {
                self.heard.drain(..place + text.len());
                return Ok(());
            }
            let left = ANSWER_LIMIT.saturating_sub(begun.elapsed());
            let read = tokio::time::timeout(left, self.stream.read(&mut bytes)).await;
            let state = match read {
                Ok(Ok(0)) => "the stream has ended".to_owned(),
                Ok(Ok(read)) => {
                    self.heard.push_str(&String::from_utf8_lossy(&bytes[..read]));
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("only this came: {}", self.heard),
            };
            return Err(Error::Timeout { what: format!("{text:?} in the event stream"), waited: begun.elapsed(), state });
        }
    }

    /// Listens until the stream ends by itself.
    pub async fn to_the_end(mut self) -> Result<()> {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(ANSWER_LIMIT, self.stream.read_to_end(&mut rest)).await;
        match read {
            Ok(read) => read.map(drop).doing(|| "listening to an event stream".to_owned()),
            Err(_) => Err(Error::Timeout {
                what: "the end of an event stream".to_owned(),
                waited: ANSWER_LIMIT,
                state: "it went on".to_owned(),
            }),
        }
    }
}

async fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<TcpStream> {
    let doing = || format!("asking http://{address}{path}");
    let mut stream = TcpStream::connect(address).await.doing(doing)?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.extend([*name, ": ", *value, "\r\n"]);
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.doing(doing)?;
    Ok(stream)
}
