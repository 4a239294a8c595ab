//! Connections with a [`Tap`]: to the driver it is what encrypts, or stands in its place where nothing is encrypted.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::TryFutureExt as _;
use futures_util::future::{MapOk, Ready, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

use super::tap::{Handle, Tap};

/// Puts a tap behind what another connector makes.
#[derive(Clone)]
pub(super) struct Tapped<C> {
    pub connector: C,
    pub handle: Handle,
}

impl<C: MakeTlsConnect<Socket>> MakeTlsConnect<Socket> for Tapped<C> {
    type Stream = Tap<C::Stream>;
    type TlsConnect = Tapped<C::TlsConnect>;
    type Error = C::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        Ok(Tapped { connector: self.connector.make_tls_connect(domain)?, handle: self.handle.clone() })
    }
}

type WithTap<S> = Box<dyn FnOnce(S) -> Tap<S> + Send>;

impl<C: TlsConnect<Socket>> TlsConnect<Socket> for Tapped<C> {
    type Stream = Tap<C::Stream>;
    type Error = C::Error;
    type Future = MapOk<C::Future, WithTap<C::Stream>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let handle = self.handle;
        self.connector.connect(socket).map_ok(Box::new(|stream| Tap::new(stream, handle)))
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
