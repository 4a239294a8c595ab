//! A way past the driver for the rows of `COPY … TO STDOUT`.
//!
//! The driver takes from its socket what is there, at most 8 kB at a time, and hands rows over one by one. Beside a server that can
//! fill a socket faster than that, most of a copy's processor time in this program went into being woken up. A tap sits between the
//! encryption and the driver and knows where messages begin and end. While it is open it takes the rows (`CopyData` messages,
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>) out of the stream and gathers them in large chunks. The driver sees a
//! COPY without rows.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Rows are handed over in chunks of this size.
const CHUNK: usize = 128 << 10;
/// So much is read at once, if there is so much.
const READ: usize = 256 << 10;
/// Before the next read of a COPY that has brought `LARGE` bytes: long enough for the server to have written more than a message or two,
/// short enough that neither side's socket buffer runs full or empty.
const NAP: Duration = Duration::from_micros(300);
const LARGE: usize = 256 << 10;
/// A message's type and its length.
const HEADER: usize = 5;

/// Rows that follow each other.
#[derive(Debug)]
pub struct Chunk {
    /// What the `CopyData` messages held, without their headers.
    pub bytes: Bytes,
    /// How many messages began in it: the server sends one a row.
    pub rows: u64,
}

#[derive(Debug, Default)]
struct State {
    /// Rows are taken out of the stream.
    is_open: bool,
    /// Nobody wants them any more.
    is_unwanted: bool,
    chunk: Option<Chunk>,
    taker: Option<Waker>,
    giver: Option<Waker>,
}

/// The end by which a tap is opened.
#[derive(Debug, Clone, Default)]
pub struct Handle(Arc<Mutex<State>>);

impl Handle {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the tap for the one COPY that is begun next. Waits for the end of one that was given up.
    pub async fn open(&self) -> Rows {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.is_open {
                state.taker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            *state = State { is_open: true, ..State::default() };
            Poll::Ready(())
        })
        .await;
        Rows(self.clone())
    }

    /// Hands a chunk over, if the one before was taken.
    fn poll_give(&self, cx: &Context<'_>, chunk: &mut BytesMut, rows: &mut u64) -> Poll<()> {
        let mut state = self.lock();
        if state.is_unwanted {
            chunk.clear();
        } else if state.chunk.is_some() {
            state.giver = Some(cx.waker().clone());
            return Poll::Pending;
        } else if !chunk.is_empty() {
            state.chunk = Some(Chunk { bytes: chunk.split().freeze(), rows: std::mem::take(rows) });
            state.taker.take().into_iter().for_each(Waker::wake);
        }
        Poll::Ready(())
    }

    fn close(&self) {
        let mut state = self.lock();
        state.is_open = false;
        state.taker.take().into_iter().for_each(Waker::wake);
    }
}

/// The rows of one COPY.
#[derive(Debug)]
pub struct Rows(Handle);

impl Rows {
    /// The next rows; none at the end, be it good or bad: the driver knows which.
    pub async fn next(&mut self) -> Option<Chunk> {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if let Some(chunk) = state.chunk.take() {
                state.giver.take().into_iter().for_each(Waker::wake);
                return Poll::Ready(Some(chunk));
            }
            if !state.is_open {
                return Poll::Ready(None);
            }
            state.taker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_unwanted = true;
        state.chunk = None;
        state.giver.take().into_iter().for_each(Waker::wake);
    }
}

/// Where in the stream of messages the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At a message's beginning.
    Header,
    /// So many bytes before the end of one that is the driver's.
    Driver(usize),
    /// So many bytes before the end of a row's.
    Row(usize),
}

/// A stream of a server's messages, with a tap.
#[derive(Debug)]
pub struct Tap<S> {
    stream: S,
    handle: Handle,
    input: Box<[u8]>,
    begin: usize,
    end: usize,
    place: Place,
    chunk: BytesMut,
    rows: u64,
    /// Bytes of the COPY under way.
    taken: usize,
    has_waited: bool,
    nap: Duration,
}

impl<S> Tap<S> {
    /// Puts a tap into a stream that begins with a message's first byte. The thread that drives it may be put to sleep for moments.
    pub fn new(stream: S, handle: Handle) -> Self {
        Self {
            stream,
            handle,
            input: vec![0; READ].into_boxed_slice(),
            begin: 0,
            end: 0,
            place: Place::Header,
            chunk: BytesMut::new(),
            rows: 0,
            taken: 0,
            has_waited: false,
            nap: NAP,
        }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Sorts what was read, the driver's into `out`. Ready when there is nothing left to sort, or no room in `out`.
    fn poll_sort(&mut self, cx: &Context<'_>, out: &mut ReadBuf<'_>) -> Poll<()> {
        loop {
            let input = &self.input[self.begin..self.end];
            match self.place {
                Place::Header => {
                    let Some((&[tag, a, b, c, d], _)) = input.split_first_chunk::<HEADER>() else { return Poll::Ready(()) };
                    let length = u32::from_be_bytes([a, b, c, d]) as usize;
                    let is_open = self.handle.lock().is_open;
                    if is_open && tag == b'd' {
                        self.begin += HEADER;
                        self.rows += 1;
                        self.place = Place::Row(length.saturating_sub(4));
                        continue;
                    }
                    // CopyDone or ErrorResponse: no row of this COPY will come.
                    if is_open && matches!(tag, b'c' | b'E') {
                        ready!(self.handle.poll_give(cx, &mut self.chunk, &mut self.rows));
                        self.handle.close();
                        (self.chunk, self.rows, self.taken) = (BytesMut::new(), 0, 0);
                    }
                    self.place = Place::Driver(length + 1);
                }
                Place::Driver(0) | Place::Row(0) => self.place = Place::Header,
                Place::Driver(left) => {
                    let count = left.min(input.len()).min(out.remaining());
                    if count == 0 {
                        return Poll::Ready(());
                    }
                    out.put_slice(&input[..count]);
                    self.begin += count;
                    self.place = Place::Driver(left - count);
                }
                Place::Row(left) => {
                    if self.chunk.len() >= CHUNK {
                        ready!(self.handle.poll_give(cx, &mut self.chunk, &mut self.rows));
                    }
                    let count = left.min(input.len()).min(CHUNK - self.chunk.len());
                    if count == 0 {
                        return Poll::Ready(());
                    }
                    if self.chunk.capacity() < CHUNK {
                        // A small table's rows need no large buffer.
                        let room = if self.taken < LARGE { count } else { CHUNK - self.chunk.len() };
                        self.chunk.reserve(room);
                    }
                    self.chunk.extend_from_slice(&input[..count]);
                    self.begin += count;
                    self.taken += count;
                    self.place = Place::Row(left - count);
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        loop {
            let sorted = this.poll_sort(cx, out);
            if out.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            ready!(sorted);
            // What is left is part of a header.
            this.input.copy_within(this.begin..this.end, 0);
            this.end -= this.begin;
            this.begin = 0;
            if this.has_waited && this.taken >= LARGE && !this.nap.is_zero() {
                std::thread::sleep(this.nap);
            }
            this.has_waited = false;
            let mut room = ReadBuf::new(&mut this.input[this.end..]);
            let read = Pin::new(&mut this.stream).poll_read(cx, &mut room);
            let count = room.filled().len();
            this.has_waited = read.is_pending();
            ready!(read)?;
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            this.end += count;
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> Drop for Tap<S> {
    fn drop(&mut self) {
        self.handle.close();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("messages are small");
        [&[tag], &length.to_be_bytes()[..], body].concat()
    }

    /// What a server says, written in pieces of so many bytes.
    async fn tapped(pieces: usize, said: Vec<u8>, open: bool) -> (Vec<u8>, Vec<u8>, u64) {
        let (mut server, client) = tokio::io::duplex(pieces);
        let handle = Handle::default();
        let rows = if open { Some(handle.open().await) } else { None };
        let mut tap = Tap::new(client, handle);
        tap.nap = Duration::ZERO;
        let writing = async move { server.write_all(&said).await.expect("the other end reads") };
        let driver = async {
            let mut seen = Vec::new();
            tap.read_to_end(&mut seen).await.expect("the other end writes");
            drop(tap);
            seen
        };
        let taking = async {
            let (mut bytes, mut count) = (Vec::new(), 0);
            if let Some(mut rows) = rows {
                while let Some(chunk) = rows.next().await {
                    assert!(chunk.bytes.len() <= CHUNK);
                    bytes.extend_from_slice(&chunk.bytes);
                    count += chunk.rows;
                }
            }
            (bytes, count)
        };
        let ((), seen, (bytes, count)) = tokio::join!(writing, driver, taking);
        (seen, bytes, count)
    }

    #[tokio::test]
    async fn rows_are_taken_out_and_all_else_is_the_drivers() {
        for (pieces, size) in [(1, 50), (3, 50), (4, 50), (5, 50), (6, 50), (1000, 3 * CHUNK + 7), (10 * CHUNK, 3 * CHUNK + 7)] {
            let large = vec![b'x'; size];
            let said = [
                message(b'2', b""),
                message(b'H', &[0, 0, 1, 0, 0]),
                message(b'd', b"one\n"),
                message(b'N', b"a notice"),
                message(b'd', &large),
                message(b'd', b"two\n"),
                message(b'c', b""),
                message(b'C', b"COPY 3\0"),
                message(b'Z', b"T"),
                // After the end of the COPY nothing is taken out.
                message(b'd', b"not ours"),
            ];
            let wanted: Vec<u8> = [0, 1, 3, 6, 7, 8, 9].into_iter().flat_map(|i: usize| said[i].clone()).collect();
            let (seen, bytes, rows) = tapped(pieces, said.concat(), true).await;
            assert!(seen == wanted, "pieces of {pieces}");
            assert!(bytes == [&b"one\n"[..], &large, b"two\n"].concat(), "pieces of {pieces}");
            assert_eq!(rows, 3);
        }
    }

    #[tokio::test]
    async fn a_closed_tap_changes_nothing() {
        let said = [message(b'd', b"one\n"), message(b'c', b""), message(b'Z', b"I")].concat();
        let (seen, bytes, _) = tapped(7, said.clone(), false).await;
        assert!(seen == said && bytes.is_empty());
    }

    #[tokio::test]
    async fn an_error_ends_the_rows_and_reaches_the_driver() {
        let said = [message(b'd', b"one\n"), message(b'E', b"SERROR\0\0"), message(b'Z', b"E")];
        let (seen, bytes, _) = tapped(64, said.concat(), true).await;
        assert_eq!(bytes, b"one\n");
        assert_eq!(seen, said[1..].concat());
    }

    #[tokio::test]
    async fn rows_that_nobody_wants_are_dropped_before_the_next_copy() {
        let (mut server, client) = tokio::io::duplex(1 << 20);
        let handle = Handle::default();
        let mut tap = Tap::new(client, handle.clone());
        drop(handle.open().await);
        let given_up = [message(b'd', &vec![b'a'; 300_000]), message(b'c', b"")].concat();
        server.write_all(&given_up).await.expect("there is room");
        let mut seen = [0; 5];
        tap.read_exact(&mut seen).await.expect("the end of the COPY comes through");
        let mut rows = handle.open().await;
        server.write_all(&[message(b'd', b"next\n"), message(b'c', b"")].concat()).await.expect("there is room");
        let (read, chunk) = tokio::join!(tap.read_exact(&mut seen), rows.next());
        read.expect("the end of the COPY comes through");
        assert_eq!(chunk.expect("a row").bytes, &b"next\n"[..]);
    }
}
