//! MQTT over WebSocket (MQTT 5.0 §6, RFC 6455), for programs of this machine that are pages.
//!
//! A browser lets any page on the web connect to this machine, and says where the page comes from:
//! only pages of this machine itself are let in.
//!
//! **Invariant:** packets travel in binary frames, whatever their boundaries; a text frame ends the
//! connection.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::limits::{HANDSHAKE, MQTT_FRAME_BYTES, MQTT_PIPE_BYTES};

/// What is spoken inside (§6.0).
const PROTOCOL: &str = "mqtt";

/// Shakes hands; gives the octets inside, and what carries them until either side ends.
pub(super) async fn accept<S>(stream: S) -> Result<(DuplexStream, impl Future<Output = ()>), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bound = Some(mqtt::limits::PACKET_BYTES_MAX as usize + MQTT_FRAME_BYTES);
    let config = WebSocketConfig::default().max_message_size(bound).max_frame_size(bound);
    let accepted = tokio_tungstenite::accept_hdr_async_with_config(stream, judge, Some(config));
    let late = |_| Error::Io(std::io::ErrorKind::TimedOut.into());
    let web = timeout(HANDSHAKE, accepted).await.map_err(late)??;
    let (inside, outside) = tokio::io::duplex(MQTT_PIPE_BYTES);
    Ok((inside, carry(web, outside)))
}

/// Lets in what speaks MQTT and comes from no page elsewhere.
#[allow(clippy::result_large_err, reason = "the shape of tungstenite's callback")]
fn judge(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let refuse = |status| {
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = status;
        Err(refusal)
    };
    let header = |name| request.headers().get(name).map(HeaderValue::to_str);
    match header("origin") {
        None => {}
        Some(Ok(origin)) if is_local(origin) => {}
        Some(_) => return refuse(StatusCode::FORBIDDEN),
    }
    let offered = header("sec-websocket-protocol").and_then(Result::ok).unwrap_or_default();
    if !offered.split(',').any(|name| name.trim() == PROTOCOL) {
        return refuse(StatusCode::BAD_REQUEST);
    }
    let spoken = HeaderValue::from_static(PROTOCOL);
    response.headers_mut().insert("sec-websocket-protocol", spoken);
    Ok(response)
}

/// Whether a page's origin (RFC 6454) is this machine.
fn is_local(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    let host = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if port.is_empty() || port.starts_with(':') => address,
        Some(_) => return false,
        None => host.split_once(':').map_or(host, |(host, _)| host),
    };
    matches!(scheme, "http" | "https") && matches!(host, "localhost" | "127.0.0.1" | "::1")
}

/// Moves octets between the frames and the endpoint until one of them ends.
async fn carry<S>(mut web: WebSocketStream<S>, outside: DuplexStream)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from, mut to) = tokio::io::split(outside);
    let mut said = vec![0; MQTT_FRAME_BYTES];
    loop {
        tokio::select! {
            frame = web.next() => match frame {
                Some(Ok(Message::Binary(octets))) => {
                    if to.write_all(&octets).await.is_err() {
                        break;
                    }
                }
                // Answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => break,
            },
            read = from.read(&mut said) => match read {
                Ok(length @ 1..) => {
                    let octets = said.get(..length).unwrap_or_default().to_vec();
                    if web.send(Message::binary(octets)).await.is_err() {
                        break;
                    }
                }
                _ => break,
            },
        }
    }
    let _ = timeout(HANDSHAKE, web.close(None)).await;
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

    use super::*;

    async fn shake(headers: &[(&str, &str)]) -> bool {
        let (ours, theirs) = tokio::io::duplex(65_536);
        let mut request = "ws://localhost/mqtt".into_client_request().unwrap();
        for (name, value) in headers {
            let name: tokio_tungstenite::tungstenite::http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (server, client) =
            tokio::join!(accept(ours), tokio_tungstenite::client_async(request, theirs));
        assert_eq!(server.is_ok(), client.is_ok());
        server.is_ok()
    }

    #[tokio::test]
    async fn only_mqtt_is_spoken_and_only_by_pages_of_this_machine() {
        const MQTT: (&str, &str) = ("sec-websocket-protocol", "mqtt");
        assert!(shake(&[MQTT]).await);
        assert!(shake(&[MQTT, ("origin", "http://localhost:8000")]).await);
        assert!(shake(&[MQTT, ("origin", "http://[::1]:8000")]).await);
        assert!(!shake(&[]).await);
        assert!(!shake(&[("sec-websocket-protocol", "chat")]).await);
        for origin in ["http://evil.example", "null", "http://localhost.evil.example", "file://"] {
            assert!(!shake(&[MQTT, ("origin", origin)]).await, "{origin}");
        }
    }

    #[tokio::test]
    async fn octets_pass_in_binary_frames_and_text_ends_it() {
        let (ours, theirs) = tokio::io::duplex(65_536);
        let mut request = "ws://localhost/mqtt".into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mqtt"));
        let (server, client) =
            tokio::join!(accept(ours), tokio_tungstenite::client_async(request, theirs));
        let ((mut inside, carrying), (mut web, _)) = (server.unwrap(), client.unwrap());
        let carrying = tokio::spawn(carrying);
        // A packet may be cut anywhere.
        web.send(Message::binary(b"\xc0".to_vec())).await.unwrap();
        web.send(Message::binary(b"\x00".to_vec())).await.unwrap();
        let mut heard = [0; 2];
        inside.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, *b"\xc0\x00");
        inside.write_all(b"\xd0\x00").await.unwrap();
        assert_eq!(web.next().await.unwrap().unwrap(), Message::binary(b"\xd0\x00".to_vec()));
        web.send(Message::text("hello")).await.unwrap();
        assert_eq!(inside.read(&mut heard).await.unwrap(), 0);
        while let Some(Ok(_)) = web.next().await {}
        carrying.await.unwrap();
    }
}
