//! `handshake.rate*`: full mutual handshakes a second over loopback TCP, both ends in one thread,
//! until the first application byte has come back.
//!
//! Ours is what a link does: a configuration and a verdict for each connection, our verifier, the
//! member taken out on both sides. The limit is tokio-rustls as its documentation shows it: two
//! configurations made once, webpki's verifiers, the same certificates, suites and key exchange,
//! and no tickets, because ours gives none.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use shared::verify::Verifier;
use tls::{Dialler, Listener};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::{Effort, Figure, Samples, Side, rate, take_turns};
use crate::world::{NETWORK, Node, World};

/// The name the listening node has in the bare handshakes.
const SERVER: &str = "listener";

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let world = World::new()?;
    let (rounds, batch) = (effort.pick(4, 60), effort.pick(50, 100));
    let bench = Bench::new()?;
    let (dialler, listener) = (world.node("dialler")?, world.node(SERVER)?);
    let none = Ours::new(&dialler, &listener, &world.verifier(0)?)?;
    let million = Ours::new(&dialler, &listener, &world.verifier(1_000_000)?)?;
    let bare = Bare::new(&world, &dialler, &listener, &none.provider()?)?;
    let (mut ours_fresh, mut bare_fresh) = strangers(&world, (rounds + 1) * batch)?;
    let mut sides: Vec<Side<'_>> = vec![
        Box::new(|| bench.run(batch, || Ok(&none), Ours::shake)),
        Box::new(|| bench.run(batch, || Ok(&million), Ours::shake)),
        Box::new(|| bench.run(batch, || Ok(&bare), Bare::shake)),
        Box::new(|| bench.run(batch, || ours_fresh.next().context("no more"), Ours::shake)),
        Box::new(|| bench.run(batch, || bare_fresh.next().context("no more"), Bare::shake)),
    ];
    let samples = take_turns(rounds, &mut sides)?;
    figures(&samples)
}

fn figures(samples: &[Samples]) -> Result<Vec<Figure>> {
    let [none, million, bare, fresh, bare_fresh] = samples else { anyhow::bail!("five sides") };
    let what = "bare tokio-rustls, same certificates (/s)";
    let figure = |name: &str, ours| Figure::new(name, "handshakes/s", ours);
    let strangers = "bare tokio-rustls, new certificates each time (/s)";
    Ok(vec![
        figure("handshake.rate", none).against(what, none, bare),
        figure("handshake.rate.revoked_1m", million).against(what, million, bare),
        figure("handshake.rate.revoked_1m.against_none", million).against(
            "ours, nobody revoked (/s)",
            million,
            none,
        ),
        figure("handshake.rate.fresh", fresh).against(strangers, fresh, bare_fresh),
    ])
}

type Fresh<T> = std::vec::IntoIter<T>;

/// Pairs of nodes that meet once: what a verifier remembers of other chains is of no use.
fn strangers(world: &World, count: usize) -> Result<(Fresh<Ours>, Fresh<Bare>)> {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let verifier = world.verifier(0)?;
    for index in 0..count {
        let dialler = world.node(&format!("dialler-{index}"))?;
        let listener = world.node(SERVER)?;
        let pair = Ours::new(&dialler, &listener, &verifier)?;
        bare.push(Bare::new(world, &dialler, &listener, &pair.provider()?)?);
        ours.push(pair);
    }
    Ok((ours.into_iter(), bare.into_iter()))
}

/// A listening socket and a thread to run both ends in.
pub(crate) struct Bench {
    socket: TcpListener,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    pub(crate) fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let socket = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        Ok(Self { socket, runtime })
    }

    /// Connects so many times, one after the other; handshakes a second.
    pub(crate) fn run<T>(
        &self,
        count: usize,
        mut next: impl FnMut() -> Result<T>,
        shake: impl AsyncFn(&T, TcpStream, TcpStream) -> Result<()>,
    ) -> Result<f64> {
        let start = Instant::now();
        self.runtime.block_on(async {
            for _ in 0..count {
                let ends = next()?;
                let address = self.socket.local_addr()?;
                let (near, far) = tokio::join!(TcpStream::connect(address), self.socket.accept());
                let (near, far) = (near?, far?.0);
                // Thousands of connections a second would otherwise use up the ports.
                near.set_zero_linger()?;
                near.set_nodelay(true)?;
                far.set_nodelay(true)?;
                shake(&ends, near, far).await?;
            }
            anyhow::Ok(())
        })?;
        Ok(rate(count, start))
    }
}

/// Both ends as a peer has them.
pub(crate) struct Ours {
    pub(crate) dialler: Dialler,
    pub(crate) listener: Listener,
}

impl Ours {
    fn new(dialler: &Node, listener: &Node, verifier: &Arc<Verifier>) -> Result<Self> {
        let clock: tls::Clock = Arc::new(host::clock::wall);
        Ok(Self {
            dialler: Dialler::new(&dialler.identity()?, Arc::clone(verifier), Arc::clone(&clock))?,
            listener: Listener::new(&listener.identity()?, Arc::clone(verifier), clock)?,
        })
    }

    fn provider(&self) -> Result<Arc<CryptoProvider>> {
        Ok(Arc::clone(self.dialler.config(None)?.0.crypto_provider()))
    }

    pub(crate) async fn shake(
        this: &impl AsRef<Self>,
        near: TcpStream,
        far: TcpStream,
    ) -> Result<()> {
        let this = this.as_ref();
        let dial = async {
            let (config, verdict) = this.dialler.config(None)?;
            let stream = TlsConnector::from(config).connect(tls::server_name(), near).await?;
            verdict.take()?;
            ask(stream).await
        };
        let listen = async {
            let (config, verdict) = this.listener.config()?;
            let stream = TlsAcceptor::from(config).accept(far).await?;
            verdict.take()?;
            answer(stream).await
        };
        tokio::try_join!(dial, listen).map(|_| ())
    }
}

/// Both ends as the documentation of tokio-rustls has them.
pub(crate) struct Bare {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
}

impl Bare {
    fn new(
        world: &World,
        dialler: &Node,
        listener: &Node,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self> {
        let roots = roots(world)?;
        let mut client = client_config(&roots, dialler, provider)?;
        client.alpn_protocols = vec![shared::wire::ALPN.to_vec()];
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).build()?;
        let (chain, key) = presented(listener);
        let mut server = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![shared::wire::ALPN.to_vec()];
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }

    pub(crate) async fn shake(
        this: &impl AsRef<Self>,
        near: TcpStream,
        far: TcpStream,
    ) -> Result<()> {
        let this = this.as_ref();
        let dial = async {
            let connector = TlsConnector::from(Arc::clone(&this.client));
            ask(connector.connect(server_name()?, near).await?).await
        };
        let listen =
            async { answer(TlsAcceptor::from(Arc::clone(&this.server)).accept(far).await?).await };
        tokio::try_join!(dial, listen).map(|_| ())
    }
}

impl AsRef<Self> for Ours {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsRef<Self> for Bare {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The name of the listening node, as webpki's verifier wants it.
pub(crate) fn server_name() -> Result<ServerName<'static>> {
    Ok(ServerName::try_from(format!("{SERVER}.{NETWORK}"))?)
}

/// The two ways, with the same two nodes.
pub(crate) fn both(world: &World) -> Result<(Ours, Bare)> {
    let (dialler, listener) = (world.node("dialler")?, world.node(SERVER)?);
    let ours = Ours::new(&dialler, &listener, &world.verifier(0)?)?;
    let bare = Bare::new(world, &dialler, &listener, &ours.provider()?)?;
    Ok((ours, bare))
}

fn roots(world: &World) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(world.root()?.to_vec()))?;
    Ok(Arc::new(roots))
}

fn client_config(
    roots: &Arc<RootCertStore>,
    node: &Node,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientConfig> {
    let (chain, key) = presented(node);
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(Arc::clone(roots))
        .with_client_auth_cert(chain, key)?;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What a program with a node's certificate dials with, if it knows nothing of us.
pub(crate) fn stranger(world: &World, node: &Node) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(Arc::new(client_config(&roots(world)?, node, &provider)?))
}

fn presented(node: &Node) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = node.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivatePkcs8KeyDer::from(node.key.pkcs8().to_vec());
    (chain, PrivateKeyDer::Pkcs8(key))
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<u8> {
    stream.write_all(&[7]).await?;
    stream.flush().await?;
    Ok(stream.read_u8().await?)
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<u8> {
    let octet = stream.read_u8().await?;
    stream.write_all(&[octet]).await?;
    stream.flush().await?;
    Ok(octet)
}
