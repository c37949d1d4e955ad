//! What is asked at the door and what is answered: HTTP in, [`Authority`] acts, HTTP out.
//!
//! | request | who may | answer |
//! |---|---|---|
//! | `GET /v1/time` | anybody | the authority's time |
//! | `POST /v1/join` | who holds an invitation's secret | an [`Answer`] |
//! | `POST /v1/renew` | who holds a member's certificate, also if it just ended | a [`Grant`] |
//! | `GET /health` | anybody | 200 or 503 |
//! | `GET /metrics` | members | text for Prometheus |
//!
//! [`Answer`]: shared::join::Answer
//! [`Grant`]: shared::join::Grant
//!
//! **Invariant:** signing happens on threads that may block, at most [`ACTS_MAX`] at once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use host::clock::Clock;
use peer::link::{Bounds, Gate};
use shared::join::{Code, Exporter, Failure, JoinRequest, MEDIA_TYPE, RenewRequest, TimeThere};
use tls::Presented;
use tokio::sync::Semaphore;

use super::counters::Counters;
use super::limits::{ACTS_MAX, ADDRESSES_MAX, BODY_BYTES_MAX, REFUSALS_BURST, REFUSALS_PER_SECOND};
use crate::authority::{Authority, Surroundings};

/// The connection a request came on.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    pub(super) from: SocketAddr,
    pub(super) exporter: Exporter,
    pub(super) presented: Option<Arc<Presented>>,
}

/// What all requests share.
pub(super) struct Desk {
    pub(super) authority: Arc<Authority>,
    pub(super) counters: Counters,
    around: RwLock<Surroundings>,
    grace_s: i64,
    acts: Semaphore,
    /// Lets requests through as long as an address is not refused too often.
    patience: Gate,
    clock: Clock,
    /// Refusals that the log is yet to hear of: how many, and the last.
    unlogged: Mutex<(u64, String)>,
}

impl Desk {
    pub(super) fn new(authority: Arc<Authority>, grace_s: i64, clock: Clock) -> Self {
        let patience = Gate::new(Bounds {
            per_address: usize::MAX,
            overall: usize::MAX,
            burst: REFUSALS_BURST,
            per_second: REFUSALS_PER_SECOND,
            addresses: ADDRESSES_MAX,
        });
        Self {
            authority,
            counters: Counters::new(),
            around: RwLock::default(),
            grace_s,
            acts: Semaphore::new(ACTS_MAX),
            patience,
            clock,
            unlogged: Mutex::default(),
        }
    }

    pub(super) fn around(&self) -> Surroundings {
        self.around.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Learns something of the network.
    pub(super) fn meet(&self, learn: impl FnOnce(&mut Surroundings)) {
        learn(&mut self.around.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// How many refusals nobody has logged yet, and the last of them.
    pub(super) fn take_unlogged(&self) -> Option<(u64, String)> {
        let mut unlogged = self.unlogged.lock().unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::take(&mut *unlogged)).filter(|(count, _)| *count > 0)
    }

    /// Does something that blocks.
    pub(super) async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let busy =
            || Failure::new(Code::Unavailable, "the authority is stopping", self.authority.now());
        let _leave = self.acts.acquire().await.map_err(|_| busy())?;
        tokio::task::spawn_blocking(act).await.map_err(|_| busy())?
    }

    fn refuse(&self, failure: &Failure, channel: &Channel) -> Response {
        self.counters.refused(failure.code);
        let from = channel.from;
        tracing::debug!(%from, code = %failure.code, "refused: {}", failure.text);
        let culpable = matches!(
            failure.code,
            Code::UnknownInvitation | Code::WrongProof | Code::UsedInvitation | Code::Malformed
        );
        if culpable {
            // Costs the address one of its tries; the pass itself bounds nothing.
            drop(self.patience.enter(from.ip(), self.clock.now().tick));
            let mut unlogged = self.unlogged.lock().unwrap_or_else(PoisonError::into_inner);
            unlogged.0 += 1;
            unlogged.1 = format!("{} from {from}", failure.code);
        }
        let mut response = cbor(status_of(failure.code), failure.to_bytes());
        if failure.code.is_passing() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    fn failure(&self, code: Code, text: &str) -> Failure {
        Failure::new(code, text, self.authority.now())
    }

    /// An address that was refused too often waits.
    fn check_patience(&self, channel: &Channel) -> Result<(), Failure> {
        let has_tries = self.patience.has_leave(channel.from.ip(), self.clock.now().tick);
        let text = "too many requests from this address were refused";
        if has_tries { Ok(()) } else { Err(self.failure(Code::Quota, text)) }
    }

    async fn join(self: &Arc<Self>, channel: &Channel, body: Bytes) -> Result<Response, Failure> {
        self.check_patience(channel)?;
        let request = JoinRequest::from_bytes(&body)
            .ok_or_else(|| self.failure(Code::Malformed, "the request cannot be read"))?;
        let (desk, channel) = (Arc::clone(self), channel.clone());
        let joined = self
            .act(move || {
                let around = desk.around();
                let from = channel.from.to_string();
                let joined = desk.authority.join(&request, &channel.exporter, &from, &around)?;
                if !joined.again {
                    desk.counters.joined();
                    let node = &joined.issued.node;
                    tracing::info!(%node, %from, serial = %joined.issued.serial, "joined");
                }
                Ok(joined)
            })
            .await?;
        Ok(cbor(StatusCode::OK, joined.answer.to_bytes()))
    }

    async fn renew(self: &Arc<Self>, channel: &Channel, body: Bytes) -> Result<Response, Failure> {
        self.check_patience(channel)?;
        let presented = channel.presented.clone().ok_or_else(|| {
            self.failure(Code::NoCertificate, "to renew, present the certificate there is")
        })?;
        let request = RenewRequest::from_bytes(&body)
            .ok_or_else(|| self.failure(Code::Malformed, "the request cannot be read"))?;
        let (desk, from) = (Arc::clone(self), channel.from);
        let grant = self
            .act(move || {
                let chain: Vec<&[u8]> = presented.chain.iter().map(Vec::as_slice).collect();
                let (around, grace_s) = (desk.around(), desk.grace_s);
                let renewed =
                    desk.authority.renew_presented(&chain, &request.csr, grace_s, &around);
                let (issued, grant) = renewed?;
                desk.counters.renewed();
                let (node, serial) = (&issued.node, &issued.serial);
                tracing::info!(%node, %from, %serial, "renewed");
                Ok(grant)
            })
            .await?;
        Ok(cbor(StatusCode::OK, grant.to_bytes()))
    }

    /// Whether the authority can do its work: its own certificate and its feed have not ended.
    fn health(&self) -> Result<(), String> {
        let now = self.authority.now();
        let ends = self.authority.signer().cert().not_after;
        let due = self.authority.feed_next_update().map_err(|error| error.to_string())?;
        if self.authority.is_broken() {
            return Err("nothing can be recorded any more".to_owned());
        }
        if ends <= now {
            return Err(format!("the issuing certificate ended at {ends}"));
        }
        if due <= now {
            return Err(format!("the feed should have been signed again by {due}"));
        }
        Ok(())
    }
}

/// What is answered where.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/v1/time", get(time))
        .route("/v1/join", post(join))
        .route("/v1/renew", post(renew))
        .route("/health", get(health))
        .route("/metrics", get(metrics_for_members))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(desk)
}

/// What is answered on a loopback address without TLS: what needs no secret.
pub(super) fn loopback_router(desk: Arc<Desk>) -> Router {
    Router::new().route("/health", get(health)).route("/metrics", get(metrics)).with_state(desk)
}

async fn time(State(desk): State<Arc<Desk>>) -> Response {
    cbor(StatusCode::OK, TimeThere { at: desk.authority.now() }.to_bytes())
}

async fn join(
    State(desk): State<Arc<Desk>>,
    Extension(channel): Extension<Channel>,
    body: Bytes,
) -> Response {
    let answered = desk.join(&channel, body).await;
    answered.unwrap_or_else(|failure| desk.refuse(&failure, &channel))
}

async fn renew(
    State(desk): State<Arc<Desk>>,
    Extension(channel): Extension<Channel>,
    body: Bytes,
) -> Response {
    let answered = desk.renew(&channel, body).await;
    answered.unwrap_or_else(|failure| desk.refuse(&failure, &channel))
}

async fn health(State(desk): State<Arc<Desk>>) -> Response {
    match desk.health() {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => {
            tracing::warn!("not healthy: {why}");
            (StatusCode::SERVICE_UNAVAILABLE, "not healthy\n").into_response()
        }
    }
}

async fn metrics_for_members(
    State(desk): State<Arc<Desk>>,
    Extension(channel): Extension<Channel>,
) -> Response {
    let presented = channel.presented.as_ref();
    if presented.is_some_and(|presented| desk.authority.is_member(&presented.chain)) {
        return metrics(State(desk)).await;
    }
    let text = "present a member's certificate, or use --metrics on a loopback address";
    desk.refuse(&desk.failure(Code::NoCertificate, text), &channel)
}

async fn metrics(State(desk): State<Arc<Desk>>) -> Response {
    let here = Arc::clone(&desk);
    let text = tokio::task::spawn_blocking(move || here.counters.text(&here.authority)).await;
    let Ok(Ok(text)) = text else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

fn cbor(status: StatusCode, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

const fn status_of(code: Code) -> StatusCode {
    match code {
        Code::UnknownInvitation => StatusCode::NOT_FOUND,
        Code::ExpiredInvitation | Code::WithdrawnInvitation => StatusCode::GONE,
        Code::UsedInvitation | Code::NameTaken => StatusCode::CONFLICT,
        Code::Waiting => StatusCode::ACCEPTED,
        Code::Malformed | Code::BadKey => StatusCode::BAD_REQUEST,
        Code::NoCertificate => StatusCode::UNAUTHORIZED,
        Code::WrongProof | Code::Denied | Code::Revoked | Code::Suspended | Code::TooLate => {
            StatusCode::FORBIDDEN
        }
        Code::Quota => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}
