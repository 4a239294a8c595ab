//! What is put between the encryption and the driver: to the driver it is part of what encrypts, or stands in its place where nothing is
//! encrypted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::TryFutureExt as _;
use futures_util::future::{MapOk, Ready, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

use super::line::{Line, Watched};
use super::tap::{Handle, Tap};

/// Something that is put into a connection's stream.
pub(super) trait Fitting: Clone + Send + 'static {
    /// The stream behind it.
    type Stream<S>;

    /// Puts it into a stream that begins with the startup message.
    fn fit<S>(self, stream: S) -> Self::Stream<S>;
}

/// Every connection is watched.
impl Fitting for Arc<Line> {
    type Stream<S> = Watched<S>;

    fn fit<S>(self, stream: S) -> Watched<S> {
        Watched::new(stream, self)
    }
}

/// Behind what watches it there may be a tap.
impl Fitting for (Arc<Line>, Handle) {
    type Stream<S> = Tap<Watched<S>>;

    fn fit<S>(self, stream: S) -> Tap<Watched<S>> {
        Tap::new(Watched::new(stream, self.0), self.1)
    }
}

/// A connector with a fitting behind what it makes.
#[derive(Clone)]
pub(super) struct Fitted<C, F> {
    pub connector: C,
    pub fitting: F,
}

impl<C, F> MakeTlsConnect<Socket> for Fitted<C, F>
where
    C: MakeTlsConnect<Socket>,
    F: Fitting,
    F::Stream<C::Stream>: TlsStream + Unpin,
{
    type Stream = F::Stream<C::Stream>;
    type TlsConnect = Fitted<C::TlsConnect, F>;
    type Error = C::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        Ok(Fitted { connector: self.connector.make_tls_connect(domain)?, fitting: self.fitting.clone() })
    }
}

type WithFitting<S, F> = Box<dyn FnOnce(S) -> <F as Fitting>::Stream<S> + Send>;

impl<C, F> TlsConnect<Socket> for Fitted<C, F>
where
    C: TlsConnect<Socket>,
    F: Fitting,
    F::Stream<C::Stream>: TlsStream + Unpin,
{
    type Stream = F::Stream<C::Stream>;
    type Error = C::Error;
    type Future = MapOk<C::Future, WithFitting<C::Stream, F>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let fitting = self.fitting;
        self.connector.connect(socket).map_ok(Box::new(|stream| fitting.fit(stream)))
    }
}

impl<S: TlsStream + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.get_ref().channel_binding()
    }
}

impl<S: TlsStream + Unpin> TlsStream for Tap<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.get_ref().channel_binding()
    }
}

/// Encrypts nothing. The driver asks the server for encryption unless it is told to begin with it "directly".
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain;

impl MakeTlsConnect<Socket> for Plain {
    type Stream = PlainStream;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, _: &str) -> Result<Self, io::Error> {
        Ok(Self)
    }
}

impl TlsConnect<Socket> for Plain {
    type Stream = PlainStream;
    type Error = io::Error;
    type Future = Ready<io::Result<PlainStream>>;

    fn connect(self, socket: Socket) -> Self::Future {
        ready(Ok(PlainStream(socket)))
    }
}

/// A socket as it is.
#[derive(Debug)]
pub(super) struct PlainStream(Socket);

impl TlsStream for PlainStream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for PlainStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

impl AsyncWrite for PlainStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
