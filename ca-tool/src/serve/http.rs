//! The door: TCP, TLS with an optional certificate, HTTP/1.1, all of it with a bound.
//!
//! **Invariant:** whoever stalls, floods or knocks and goes away costs one bounded slot for a
//! bounded time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use host::clock::Clock;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use peer::link::{Bounds, Gate, Pass};
use shared::join::EXPORTER_LABEL;
use tls::ALPN_HTTP;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::desk::{Channel, Desk};
use super::limits::{
    ADDRESSES_MAX, BUFFER_BYTES_MAX, CONNECTION, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS,
    HANDSHAKE, HANDSHAKES_BURST, HANDSHAKES_PER_SECOND, HEAD,
};

/// How long an accept that failed is not tried again: out of file descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections on the loopback address: Prometheus uses one.
const LOOPBACK_MAX: usize = 16;

/// The door and who keeps it.
pub(super) struct Door {
    pub(super) desk: Arc<Desk>,
    pub(super) router: Router,
    pub(super) tls: Arc<tls::Listener>,
    gate: Gate,
    clock: Clock,
    stop: watch::Receiver<bool>,
}

impl Door {
    pub(super) fn new(
        desk: Arc<Desk>,
        tls: Arc<tls::Listener>,
        clock: Clock,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let gate = Gate::new(Bounds {
            per_address: CONNECTIONS_PER_ADDRESS,
            overall: CONNECTIONS_MAX,
            burst: HANDSHAKES_BURST,
            per_second: HANDSHAKES_PER_SECOND,
            addresses: ADDRESSES_MAX,
        });
        let router = super::desk::router(Arc::clone(&desk));
        Self { desk, router, tls, gate, clock, stop }
    }

    /// Lets connections in until it is told to stop, then waits for those that are in.
    pub(super) async fn keep(self: Arc<Self>, listener: TcpListener) {
        let mut stop = self.stop.clone();
        let mut inside = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                () = told(&mut stop) => break,
                Some(_) = inside.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((tcp, from)) => {
                        let Some(pass) = self.enter(from) else { continue };
                        inside.spawn(Arc::clone(&self).receive(tcp, from, pass));
                    }
                    Err(error) => {
                        tracing::warn!("a connection could not be accepted: {error}");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
        while inside.join_next().await.is_some() {}
    }

    fn enter(&self, from: SocketAddr) -> Option<Pass> {
        let entered = self.gate.enter(from.ip(), self.clock.now().tick);
        if entered.is_err() {
            self.desk.counters.turned_away("quota");
        }
        entered.ok()
    }

    /// One connection; the pass is held to its end.
    async fn receive(self: Arc<Self>, tcp: TcpStream, from: SocketAddr, pass: Pass) {
        self.desk.counters.connected();
        let served = tokio::time::timeout(CONNECTION, self.converse(tcp, from)).await;
        let cause = match served {
            Ok(Ok(())) => None,
            Ok(Err(cause)) => Some(cause),
            Err(_) => Some("slow"),
        };
        if let Some(cause) = cause {
            self.desk.counters.turned_away(cause);
            tracing::debug!(%from, "a connection ended: {cause}");
        }
        self.desk.counters.disconnected();
        drop(pass);
    }

    async fn converse(&self, tcp: TcpStream, from: SocketAddr) -> Result<(), &'static str> {
        // Requests are small and answers are one write: nothing is to wait for more.
        let _ = tcp.set_nodelay(true);
        let (config, verdict) = self.tls.open_config(ALPN_HTTP).map_err(|_| "tls")?;
        let shaken = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(tcp)).await;
        let stream = shaken.map_err(|_| "handshake-slow")?.map_err(|_| "handshake")?;
        let mut exporter = [0; 32];
        let (_, connection) = stream.get_ref();
        connection
            .export_keying_material(&mut exporter, EXPORTER_LABEL, None)
            .map_err(|_| "exporter")?;
        let presented = verdict.take().ok().map(Arc::new);
        let channel = Channel { from, exporter, presented };
        serve(stream, self.router.clone(), channel, self.stop.clone()).await
    }
}

/// Waits until everything is to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// HTTP/1.1 on one stream until it ends, stalls, or everything stops.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    channel: Channel,
    mut stop: watch::Receiver<bool>,
) -> Result<(), &'static str> {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(channel.clone());
        let mut router = router.clone();
        async move { router.call(request.map(Body::new)).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(|_| "http")
}

/// The same without TLS, for Prometheus on this machine.
pub(super) async fn keep_loopback(
    listener: TcpListener,
    desk: Arc<Desk>,
    mut stop: watch::Receiver<bool>,
) {
    let router = super::desk::loopback_router(desk);
    let mut inside = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = told(&mut stop) => break,
            Some(_) = inside.join_next() => continue,
            accepted = listener.accept(), if inside.len() < LOOPBACK_MAX => accepted,
        };
        let Ok((tcp, from)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let channel = Channel { from, exporter: [0; 32], presented: None };
        let served = serve(tcp, router.clone(), channel, stop.clone());
        inside.spawn(async move {
            let _ = tokio::time::timeout(CONNECTION, served).await;
        });
    }
    while inside.join_next().await.is_some() {}
}
