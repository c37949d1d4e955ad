//! `peer mqtt status`, `peer pub` and `peer sub`.

use std::io::Read as _;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use host::fault::Fault;
use host::terminal::{Table, escape};
use mqtt::codec::{Ack, Options, Packet, Publish, Qos, Reason, RetainHandling, Subscribe, Version};
use peer::control::client::strange;
use peer::control::mqtt::MqttStatus;
use peer::control::{Client, Reply, Request, ShortPath};
use peer::mqtt::{CallError, Caller, SOCKET, plain_connect};
use serde_json::json;
use tokio::net::UnixStream;

use super::{Desk, output};
use crate::cli::{BundleArgs, PubArgs, SubArgs};

/// The largest payload that is read from stdin: a packet has no more.
const PAYLOAD_BYTES_MAX: u64 = mqtt::limits::PACKET_BYTES_MAX as u64;
const FIRST: NonZeroU16 = NonZeroU16::MIN;

pub(super) fn status(desk: &Desk, args: &BundleArgs) -> Result<(), Fault> {
    let Reply::Mqtt(status) = Client::new(&args.bundle).ask_one(&Request::Mqtt)? else {
        return Err(strange());
    };
    if desk.out.is_json() {
        return desk.out.json(&status).map_err(output);
    }
    headline(desk, &status)?;
    if !status.ways.is_empty() {
        let mut table = Table::new(&["PEER", "NEXT", "STATE", "FILTERS"]);
        for way in &status.ways {
            let state = if way.reachable { "reachable" } else { "away" };
            table.row([&way.node, &way.next, state, &way.filter_count.to_string()]);
        }
        table.print(&desk.out).map_err(output)?;
    }
    if status.sessions.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["IDENTITY", "CLIENT", "STATE", "QUEUED", "DROPPED", "FILTERS"]);
    for session in &status.sessions {
        let state = if session.connected { "connected" } else { "away" };
        let (queued, dropped) = (session.queued.to_string(), session.dropped.to_string());
        let filters = session.filters.join(" ");
        table.row([&session.identity, &session.client, state, &queued, &dropped, &filters]);
    }
    table.print(&desk.out).map_err(output)
}

fn headline(desk: &Desk, status: &MqttStatus) -> Result<(), Fault> {
    for door in &status.doors {
        desk.line(&format!("{} listens on {}", door.kind, escape(&door.address)))?;
    }
    desk.line(&format!(
        "{} sessions, {} filters asked of other peers, {} retained",
        status.session_count, status.interest, status.retained,
    ))?;
    desk.line(&format!(
        "{} messages from programs, {} from peers, {} denied, {} beyond a quota, {} pauses for one",
        status.received, status.carried, status.denied, status.beyond_quota, status.slowed,
    ))
}

pub(super) fn publish(desk: &Desk, args: &PubArgs) -> Result<(), Fault> {
    let payload = match args.message.as_str() {
        "-" => {
            let mut bytes = Vec::new();
            let stdin = std::io::stdin().lock();
            let read = stdin.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut bytes);
            read.map_err(|error| Fault::failed(format!("stdin: {error}")))?;
            bytes
        }
        text => text.as_bytes().to_vec(),
    };
    let qos = Qos::from_bits(args.qos).unwrap_or_default();
    let message = Publish {
        dup: false,
        qos,
        retain: args.retain,
        topic: args.topic.as_str().into(),
        packet_id: (qos != Qos::AtMostOnce).then_some(FIRST),
        alias: None,
        expiry_s: args.expiry,
        subscription_ids: Vec::new(),
        properties: Bytes::new(),
        payload: payload.into(),
    };
    let bundle = place(args.bundle.as_deref())?;
    let said = block_on(&bundle, async |mut caller| {
        caller.say(&Packet::Publish(message));
        // Its answer tells that what came before was heard.
        caller.say(&Packet::PingReq);
        caller.flush().await?;
        acknowledged(&mut caller, qos).await
    })?;
    if said.is_error() {
        let what = format!("{} was not published: {said}", escape(&args.topic));
        return Err(Fault::refused(what).hint("who may publish: peer policy show BUNDLE"));
    }
    let heard = said != Reason::NoMatchingSubscribers;
    let value = json!({ "topic": args.topic, "heard": heard });
    let nobody = if heard { "" } else { "; nobody is subscribed to it now" };
    desk.tell(&value, &[format!("published {}{nobody}", escape(&args.topic))])
}

/// Hears what became of a message.
async fn acknowledged(caller: &mut Caller<UnixStream>, qos: Qos) -> Result<Reason, CallError> {
    let mut reason = None;
    loop {
        match caller.next().await? {
            Packet::PubAck(ack) | Packet::PubComp(ack) => {
                return Ok(reason.unwrap_or(ack.reason));
            }
            Packet::PubRec(ack) if ack.reason.is_error() => return Ok(ack.reason),
            Packet::PubRec(ack) => {
                reason = Some(ack.reason);
                let release =
                    Ack { packet_id: FIRST, reason: Reason::Success, reason_string: None };
                caller.say(&Packet::PubRel(release));
                caller.flush().await?;
            }
            Packet::PingResp if qos == Qos::AtMostOnce => return Ok(Reason::Success),
            Packet::Disconnect(said) => return Err(CallError::Refused(said.reason)),
            _ => {}
        }
    }
}

pub(super) fn subscribe(desk: &Desk, args: &SubArgs) -> Result<(), Fault> {
    let options = Options {
        qos: Qos::from_bits(args.qos).unwrap_or_default(),
        no_local: false,
        retain_as_published: true,
        retain_handling: RetainHandling::Always,
    };
    let filters = args.filter.iter().map(|filter| (filter.as_str().into(), options)).collect();
    let subscribe = Packet::Subscribe(Subscribe { packet_id: FIRST, id: None, filters });
    let bundle = place(args.bundle.as_deref())?;
    let mut left = args.count.unwrap_or(u64::MAX);
    let refused = block_on(&bundle, async |mut caller| {
        caller.say(&subscribe);
        caller.flush().await?;
        while left > 0 {
            match caller.next().await? {
                Packet::Publish(message) => {
                    if show(desk, &message).is_err() {
                        return Ok(None);
                    }
                    left -= 1;
                    answer(&mut caller, &message);
                    caller.flush().await?;
                }
                Packet::SubAck(ack) => {
                    if let Some(reason) = ack.reasons.iter().find(|reason| reason.is_error()) {
                        return Ok(Some(*reason));
                    }
                }
                Packet::PubRel(ack) => {
                    caller.say(&Packet::PubComp(ack));
                    caller.flush().await?;
                }
                Packet::Disconnect(said) => return Err(CallError::Refused(said.reason)),
                _ => {}
            }
        }
        Ok(None)
    })?;
    match refused {
        None => Ok(()),
        Some(reason) => Err(Fault::refused(format!("the subscription was refused: {reason}"))
            .hint("who may subscribe: peer policy show BUNDLE")),
    }
}

fn answer(caller: &mut Caller<UnixStream>, message: &Publish) {
    let Some(packet_id) = message.packet_id else { return };
    let ack = Ack { packet_id, reason: Reason::Success, reason_string: None };
    let exactly_once = message.qos == Qos::ExactlyOnce;
    caller.say(&if exactly_once { Packet::PubRec(ack) } else { Packet::PubAck(ack) });
}

fn show(desk: &Desk, message: &Publish) -> Result<(), Fault> {
    let text = String::from_utf8_lossy(&message.payload);
    let value = json!({
        "topic": &*message.topic,
        "payload": text,
        "qos": message.qos.bits(),
        "retain": message.retain,
    });
    desk.tell(&value, &[format!("{} {}", escape(&message.topic), escape(&text))])
}

/// The bundle that was named, or the only one in this folder.
fn place(named: Option<&Path>) -> Result<PathBuf, Fault> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let here = std::fs::read_dir(".").map_err(|error| Fault::failed(error.to_string()))?;
    let paths = here.filter_map(|entry| Some(entry.ok()?.path()));
    let mut bundles = paths.filter(|path| path.extension().is_some_and(|end| end == "bundle"));
    match (bundles.next(), bundles.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Fault::usage("there is no bundle here").hint("name one: --bundle PLACE")),
        _ => Err(Fault::usage("there are several bundles here").hint("name one: --bundle PLACE")),
    }
}

/// Connects to the peer of a bundle over its Unix socket, and does something.
fn block_on<T>(
    bundle: &Path,
    act: impl AsyncFnOnce(Caller<UnixStream>) -> Result<T, CallError>,
) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::failed(format!("no runtime: {error}")))?;
    let closed = |error: std::io::Error| {
        Fault::failed(format!("{}: no MQTT is spoken there: {error}", bundle.display()))
            .hint("run it with `--mqtt 127.0.0.1:1883`, or have `mqtt: {unix: true}` in node.yaml")
    };
    runtime.block_on(async {
        let short = ShortPath::to(bundle, SOCKET).map_err(closed)?;
        let stream = UnixStream::connect(&short.path).await.map_err(closed)?;
        let connect = plain_connect(Version::V5, "");
        let failed = |error: CallError| Fault::failed(error.to_string());
        let (caller, _) = Caller::connect(stream, connect).await.map_err(failed)?;
        act(caller).await.map_err(failed)
    })
}
