//! What a connection waits for, as its messages tell: how many of our requests the server has not answered yet, and whether anything moves.
//! A [`Watched`] stream sits between the encryption and the driver and counts; whoever looks after the connection asks its [`Line`].

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A message's type and its length (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
const HEADER: usize = 5;

/// What is known of a connection.
#[derive(Debug, Default)]
pub struct Line(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The server's process, once it has told.
    pid: Option<i32>,
    /// Requests that are not answered to their end.
    unanswered: u32,
    /// The driver would read more, and there is nothing.
    wants: bool,
    /// The driver would write more, and it is not taken.
    is_full: bool,
    /// A number that changes as long as bytes move.
    moves: u64,
    moved_at: Option<Instant>,
}

/// A connection that waits for its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// The server's process.
    pub pid: i32,
    /// A number that changes as long as bytes move.
    pub moves: u64,
    /// For how long none have.
    pub quiet: Duration,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection is open, and this process serves it.
    pub fn serves(&self, pid: i32) {
        self.lock().pid = Some(pid);
    }

    /// Whether the server is waited for: its answer, or that it takes what we have for it. Not so while we have not taken yet what it sent, nor
    /// while rows that it waits for have not come to us.
    pub fn waits(&self) -> Option<Waits> {
        let state = self.lock();
        let waits = state.unanswered > 0 && state.wants || state.is_full;
        let quiet = state.moved_at.map_or(Duration::ZERO, |at| at.elapsed());
        state.pid.filter(|_| waits).map(|pid| Waits { pid, moves: state.moves, quiet })
    }
}

impl State {
    fn note_move(&mut self) {
        self.moves = self.moves.wrapping_add(1);
        self.moved_at = Some(Instant::now());
    }
}

/// Finds where messages begin in what goes one way.
#[derive(Debug)]
struct Frames {
    header: [u8; HEADER],
    has: usize,
    left: usize,
}

impl Frames {
    /// What the server says.
    fn of_server() -> Self {
        Self { header: [0; HEADER], has: 0, left: 0 }
    }

    /// What we say: the first message is the only one without a type.
    fn of_client() -> Self {
        Self { has: 1, ..Self::of_server() }
    }

    /// Calls `begins` with the type of every message whose header ends in these bytes.
    fn note(&mut self, mut bytes: &[u8], mut begins: impl FnMut(u8)) {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER - self.has).min(bytes.len());
            self.header[self.has..self.has + taken].copy_from_slice(&bytes[..taken]);
            self.has += taken;
            bytes = &bytes[taken..];
            if self.has == HEADER {
                let [tag, length @ ..] = self.header;
                // The length counts itself.
                self.left = (u32::from_be_bytes(length) as usize).saturating_sub(4);
                self.has = 0;
                begins(tag);
            }
        }
    }
}

/// A connection's stream, whose messages are counted.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    line: Arc<Line>,
    said: Frames,
    heard: Frames,
}

impl<S> Watched<S> {
    /// Watches a stream that begins with the startup message.
    pub fn new(stream: S, line: Arc<Line>) -> Self {
        Self { stream, line, said: Frames::of_client(), heard: Frames::of_server() }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, out);
        let mut answers = 0;
        // ReadyForQuery ends an answer. So does CopyInResponse: from then on the server waits for our rows, and the Sync behind the Execute
        // is void (<https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY>).
        this.heard.note(&out.filled()[before..], |tag| answers += u32::from(matches!(tag, b'Z' | b'G')));
        let mut state = this.line.lock();
        state.wants = read.is_pending();
        state.unanswered = state.unanswered.saturating_sub(answers);
        if !state.wants {
            state.note_move();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        let mut requests = 0;
        if let Poll::Ready(Ok(count)) = &written {
            // Query and Sync are each answered with a ReadyForQuery.
            this.said.note(&bytes[..*count], |tag| requests += u32::from(matches!(tag, b'Q' | b'S')));
        }
        let mut state = this.line.lock();
        state.is_full = written.is_pending();
        state.unanswered += requests;
        if !state.is_full {
            state.note_move();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    const STARTUP: &[u8] = &[0, 0, 0, 9, 0, 3, 0, 0, 0];

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("messages are small");
        [&[tag], &length.to_be_bytes()[..], body].concat()
    }

    /// A connection that is open, and its server's end.
    async fn open() -> (Watched<DuplexStream>, DuplexStream, Arc<Line>) {
        let (client, server) = tokio::io::duplex(1 << 16);
        let line = Arc::new(Line::default());
        let mut watched = Watched::new(client, Arc::clone(&line));
        watched.write_all(STARTUP).await.expect("there is room");
        line.serves(7);
        (watched, server, line)
    }

    /// What the server says is read, as far as it goes.
    async fn hear(watched: &mut Watched<DuplexStream>, server: &mut DuplexStream, said: &[u8]) {
        server.write_all(said).await.expect("there is room");
        watched.read_exact(&mut vec![0; said.len()]).await.expect("it was said");
        let more = tokio::time::timeout(Duration::from_millis(1), watched.read(&mut [0])).await;
        assert!(more.is_err(), "there is no more");
    }

    async fn say(watched: &mut Watched<DuplexStream>, said: &[Vec<u8>]) {
        // In pieces, so that headers are cut.
        for piece in said.concat().chunks(3) {
            watched.write_all(piece).await.expect("there is room");
        }
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let said = [STARTUP.to_vec(), message(b'p', b"QQQQSSSS"), message(b'Q', b"SELECT 'S'\0"), message(b'S', b"")].concat();
        for size in 1..said.len() {
            let (mut frames, mut found) = (Frames::of_client(), Vec::new());
            said.chunks(size).for_each(|piece| frames.note(piece, |tag| found.push(tag)));
            assert_eq!(found, [0, b'p', b'Q', b'S'], "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn the_server_is_waited_for_until_every_request_is_answered() {
        let (mut watched, mut server, line) = open().await;
        assert_eq!(line.waits(), None, "nothing was asked");
        say(&mut watched, &[message(b'Q', b"one\0"), message(b'P', b"two\0"), message(b'S', b"")]).await;
        hear(&mut watched, &mut server, &message(b'T', b"columns")).await;
        let waits = line.waits().expect("two requests are open");
        assert_eq!(waits.pid, 7);
        hear(&mut watched, &mut server, &message(b'Z', b"I")).await;
        let later = line.waits().expect("one request is open");
        assert_ne!(later.moves, waits.moves, "something has moved");
        hear(&mut watched, &mut server, &message(b'Z', b"I")).await;
        assert_eq!(line.waits(), None);
        hear(&mut watched, &mut server, &message(b'A', b"a notification")).await;
        assert_eq!(line.waits(), None);
    }

    #[tokio::test]
    async fn rows_that_have_not_come_to_us_are_not_the_servers_delay() {
        let (mut watched, mut server, line) = open().await;
        say(&mut watched, &[message(b'B', b""), message(b'E', b""), message(b'S', b"")]).await;
        hear(&mut watched, &mut server, &[message(b'2', b""), message(b'G', b"format")].concat()).await;
        assert_eq!(line.waits(), None, "it waits for us");
        say(&mut watched, &[message(b'd', b"SQZ\n"), message(b'c', b""), message(b'S', b"")]).await;
        hear(&mut watched, &mut server, b"").await;
        assert!(line.waits().is_some(), "all rows are there");
        hear(&mut watched, &mut server, &[message(b'C', b"COPY 1\0"), message(b'Z', b"I")].concat()).await;
        assert_eq!(line.waits(), None);
    }

    #[tokio::test]
    async fn what_was_sent_and_is_not_taken_is_our_own_delay() {
        let (mut watched, mut server, line) = open().await;
        say(&mut watched, &[message(b'Q', b"COPY t TO STDOUT\0")]).await;
        server.write_all(&message(b'd', b"row\n")).await.expect("there is room");
        let mut tag = [0];
        watched.read_exact(&mut tag).await.expect("it was said");
        assert_eq!(line.waits(), None, "the driver has not asked for more");
    }

    #[tokio::test]
    async fn a_server_that_takes_nothing_is_waited_for() {
        let (mut watched, _server, line) = open().await;
        let rows = message(b'd', &vec![0; 1 << 17]);
        let writing = tokio::time::timeout(Duration::from_millis(10), watched.write_all(&rows));
        assert!(writing.await.is_err(), "there is no room for all of it");
        assert!(line.waits().is_some());
    }
}
