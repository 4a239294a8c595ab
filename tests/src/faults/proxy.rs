//! A TCP proxy between pg-migrator and a server, that can do to a connection what networks do.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::{Doing, Result};

/// Bytes read at once.
const CHUNK: usize = 16 << 10;
/// Chunks on their way in one direction of one connection.
const IN_FLIGHT: usize = 64;

/// A running proxy. Dropping it ends every connection through it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

/// How connections fare at the moment.
#[derive(Debug)]
struct State {
    target: u16,
    /// New connections are closed at once.
    refusing: AtomicBool,
    /// How long each byte is on its way, milliseconds.
    delay: AtomicU64,
    /// After so many bytes from the server, over all connections, the one that carries the last of them is cut. Negative: never.
    cut_after: AtomicI64,
    cuts: AtomicU64,
    /// Bytes a second from the server, over all connections.
    rate: u64,
    bucket: Semaphore,
    open: Mutex<Vec<Arc<Link>>>,
}

/// What can be done to one connection.
#[derive(Debug)]
struct Link {
    cut: watch::Sender<bool>,
    silent: AtomicBool,
}

impl Link {
    fn cut(&self) {
        self.cut.send_replace(true);
    }

    fn is_cut(&self) -> bool {
        *self.cut.borrow()
    }

    fn is_silent(&self) -> bool {
        self.silent.load(Ordering::SeqCst)
    }
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes everything on to `target`, at no more than `rate` bytes a second towards the
    /// client.
    pub async fn start(target: u16, rate: u64) -> Result<Self> {
        let doing = || "listening as a proxy".to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.doing(doing)?;
        let port = listener.local_addr().doing(doing)?.port();
        let state = Arc::new(State {
            target,
            refusing: AtomicBool::new(false),
            delay: AtomicU64::new(0),
            cut_after: AtomicI64::new(-1),
            cuts: AtomicU64::new(0),
            rate,
            bucket: Semaphore::new(0),
            open: Mutex::new(Vec::new()),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&state)));
        Ok(Self { port, state, listening })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Resets every connection, and lets no new one through until [`Proxy::let_through`].
    pub fn refuse(&self) {
        self.state.refusing.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Takes everything back, but for what has happened to connections.
    pub fn let_through(&self) {
        self.state.refusing.store(false, Ordering::SeqCst);
        self.state.delay.store(0, Ordering::SeqCst);
        self.state.cut_after.store(-1, Ordering::SeqCst);
    }

    /// Resets every connection; new ones get through.
    pub fn cut(&self) -> usize {
        let open = self.links();
        for link in &open {
            link.cut();
        }
        open.len()
    }

    /// From now on nothing comes through the connections that are open, and neither end is told; new ones are not affected.
    pub fn silence(&self) -> usize {
        let open = self.links();
        for link in &open {
            link.silent.store(true, Ordering::SeqCst);
        }
        open.len()
    }

    /// How many connections are open that were silenced: neither end has given them up.
    pub fn silent(&self) -> usize {
        self.links().iter().filter(|link| link.is_silent()).count()
    }

    /// Each byte is on its way for so long.
    pub fn delay(&self, delay: Duration) {
        self.state.delay.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// Cuts the connection that carries the `bytes`th byte from now on, counted from the server.
    pub fn cut_after(&self, bytes: u32) {
        self.state.cut_after.store(i64::from(bytes), Ordering::SeqCst);
    }

    /// How many connections were cut by [`Proxy::cut_after`].
    pub fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::SeqCst)
    }

    fn links(&self) -> Vec<Arc<Link>> {
        self.state.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

async fn listen(listener: TcpListener, state: Arc<State>) {
    tokio::spawn(refill(Arc::downgrade(&state)));
    loop {
        // Nothing but a lack of files can go wrong here, and that passes.
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        if state.refusing.load(Ordering::SeqCst) {
            reset(client);
            continue;
        }
        tokio::spawn(serve(client, Arc::clone(&state)));
    }
}

/// Lets so many bytes through in every hundredth of a second.
async fn refill(state: std::sync::Weak<State>) {
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while let Some(state) = state.upgrade() {
        let share = (state.rate / 100) as usize;
        let room = (4 * share).max(CHUNK).saturating_sub(state.bucket.available_permits());
        state.bucket.add_permits(share.min(room));
        drop(state);
        tick.tick().await;
    }
}

/// Closes a connection without the usual farewell.
fn reset(stream: TcpStream) {
    // A stream that can't be told so is closed as usual: the other end learns as much.
    let _ = stream.set_zero_linger();
    drop(stream);
}

async fn serve(client: TcpStream, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", state.target)).await else {
        reset(client);
        return;
    };
    // Small messages are not to wait for each other; nothing is lost where the system can't.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let link = Arc::new(Link { cut: watch::channel(false).0, silent: AtomicBool::new(false) });
    state.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&link));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pass(from_client, to_server, Arc::clone(&link), Arc::clone(&state), false);
    let down = pass(from_server, to_client, Arc::clone(&link), Arc::clone(&state), true);
    let (up, down) = tokio::join!(up, down);
    state.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, &link));
    if link.is_cut() {
        for (read, write) in [(up.0, down.1), (down.0, up.1)] {
            // They are the halves of one stream.
            if let Ok(stream) = read.reunite(write) {
                reset(stream);
            }
        }
    }
}

/// Passes one direction on until it ends; gives its ends back, so that they can be closed as is fit.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    link: Arc<Link>,
    state: Arc<State>,
    is_down: bool,
) -> (OwnedReadHalf, OwnedWriteHalf) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>, bool)>(IN_FLIGHT);
    let mut cut = link.cut.subscribe();
    let reading = async {
        let mut buffer = vec![0_u8; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if link.is_silent() {
                // It arrives nowhere.
                continue;
            }
            if is_down {
                // The bucket is never closed.
                if let Ok(permits) = state.bucket.acquire_many(length as u32).await {
                    permits.forget();
                }
            }
            let kept = if is_down { kept(&state, length) } else { None };
            let due = Instant::now() + Duration::from_millis(state.delay.load(Ordering::SeqCst));
            let bytes = buffer[..kept.unwrap_or(length)].to_vec();
            if sender.send((due, bytes, kept.is_some())).await.is_err() {
                break;
            }
        }
        drop(sender);
    };
    let writing = async {
        while let Some((due, bytes, is_last)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if link.is_silent() {
                continue;
            }
            if to.write_all(&bytes).await.is_err() {
                // Nobody hears any more: the other end is told.
                link.cut();
                break;
            }
            if is_last {
                link.cut();
            }
        }
        // The other end may be gone; then there is nobody to tell.
        if !link.is_silent() {
            let _ = to.shutdown().await;
        }
    };
    tokio::select! {
        _ = async { tokio::join!(reading, writing) } => {}
        // The sender lives as long as the link.
        _ = cut.wait_for(|cut| *cut) => {}
    }
    (from, to)
}

/// By [`Proxy::cut_after`]: how much of so many bytes from the server still gets through, if the cut falls here.
fn kept(state: &State, length: usize) -> Option<usize> {
    if state.cut_after.load(Ordering::SeqCst) < 0 {
        return None;
    }
    let before = state.cut_after.fetch_sub(length as i64, Ordering::SeqCst);
    if !(0..length as i64).contains(&before) {
        return None;
    }
    state.cut_after.store(-1, Ordering::SeqCst);
    state.cuts.fetch_add(1, Ordering::SeqCst);
    Some(before as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and a connection to it through a proxy.
    async fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
        let target = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    // Ends with the connection.
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        let proxy = Proxy::start(target, 100 << 20).await.expect("started");
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.expect("connected");
        (proxy, stream)
    }

    async fn says(stream: &mut TcpStream, word: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(word).await?;
        let mut answer = vec![0; word.len()];
        let read = tokio::time::timeout(Duration::from_millis(500), stream.read_exact(&mut answer)).await;
        read.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        Ok(answer)
    }

    #[tokio::test]
    async fn passes_bytes_on_and_cuts_where_it_is_told_to() {
        let (proxy, mut stream) = echo().await;
        assert_eq!(says(&mut stream, b"hello").await.expect("passed"), b"hello");
        proxy.cut_after(3);
        stream.write_all(b"again").await.expect("written");
        let mut rest = Vec::new();
        assert!(stream.read_to_end(&mut rest).await.is_err() || rest == b"aga", "{rest:?}");
        assert_eq!(proxy.cuts(), 1);
        let mut next = TcpStream::connect(("127.0.0.1", proxy.port())).await.expect("connected");
        assert_eq!(says(&mut next, b"next").await.expect("only that one was cut"), b"next");
    }

    #[tokio::test]
    async fn a_silenced_connection_stays_open_and_says_nothing() {
        let (proxy, mut stream) = echo().await;
        says(&mut stream, b"hello").await.expect("passed");
        assert_eq!(proxy.silence(), 1);
        let error = says(&mut stream, b"anybody there").await.expect_err("nothing comes");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(proxy.silent(), 1);
        let mut next = TcpStream::connect(("127.0.0.1", proxy.port())).await.expect("connected");
        assert_eq!(says(&mut next, b"next").await.expect("new ones pass"), b"next");
    }

    #[tokio::test]
    async fn refuses_until_it_lets_through() {
        let (proxy, mut stream) = echo().await;
        says(&mut stream, b"hello").await.expect("passed");
        proxy.refuse();
        assert!(says(&mut stream, b"hello").await.is_err());
        let mut refused = TcpStream::connect(("127.0.0.1", proxy.port())).await.expect("accepted at first");
        assert!(says(&mut refused, b"hello").await.is_err());
        proxy.let_through();
        let mut next = TcpStream::connect(("127.0.0.1", proxy.port())).await.expect("connected");
        proxy.delay(Duration::from_millis(100));
        let begun = Instant::now();
        says(&mut next, b"slow").await.expect("passed");
        assert!(begun.elapsed() >= Duration::from_millis(200), "there and back");
    }
}
