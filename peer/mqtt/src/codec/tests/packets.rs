//! Packets of every kind, made at random but possible.

use std::num::NonZeroU16;

use bytes::Bytes;
use bytestring::ByteString;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::{
    Ack, Auth, ConnAck, Connect, Disconnect, Granted, Options, Packet, Publish, Qos, Reason,
    RetainHandling, SubAck, Subscribe, Unsubscribe, Version, Will,
};
use super::text;

fn words() -> impl Strategy<Value = ByteString> {
    let odd = prop_oneof![Just('\u{feff}'), Just('/'), Just('a'), any::<char>()];
    vec(odd.prop_filter("NUL", |letter| *letter != '\0'), 0..20)
        .prop_map(|letters| letters.into_iter().collect::<String>().into())
}

fn topic() -> impl Strategy<Value = ByteString> {
    words().prop_map(|words| format!("t{}", words.replace(['+', '#'], "_")).into())
}

fn filter() -> impl Strategy<Value = ByteString> {
    let ends = prop_oneof![Just(""), Just("/#"), Just("/+/x"), Just("/+")];
    (topic(), ends, any::<bool>()).prop_map(|(topic, end, shared)| {
        let group = if shared { "$share/g/" } else { "" };
        format!("{group}{topic}{end}").into()
    })
}

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}

fn number() -> impl Strategy<Value = NonZeroU16> {
    any::<NonZeroU16>()
}

/// What is passed on: nothing before MQTT 5.
fn properties(version: Version) -> impl Strategy<Value = Bytes> {
    (option::of(topic()), vec((words(), words()), 0..4), option::of(vec(any::<u8>(), 0..9)))
        .prop_map(move |(response, users, correlation)| {
            let mut bytes = Vec::new();
            if version != Version::V5 {
                return Bytes::new();
            }
            response.iter().for_each(|topic| bytes.extend([&[8][..], &text(topic)].concat()));
            let pair = |(key, value): &(ByteString, ByteString)| [text(key), text(value)].concat();
            users.iter().for_each(|user| bytes.extend([&[0x26][..], &pair(user)].concat()));
            correlation.iter().for_each(|it| bytes.extend([&[9][..], &text(it)].concat()));
            bytes.into()
        })
}

fn payload() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

/// Only in MQTT 5.
fn later<T: std::fmt::Debug>(
    version: Version,
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    option::of(value).prop_map(move |value| value.filter(|_| version == Version::V5))
}

pub(super) fn publish(version: Version, from_server: bool) -> impl Strategy<Value = Publish> {
    let ids = vec(1..=268_435_455_u32, 0..4);
    let more = (later(version, number()), later(version, any::<u32>()), ids, properties(version));
    let plain = (any::<bool>(), qos(), any::<bool>(), topic(), number(), payload());
    (plain, more, any::<bool>()).prop_map(
        move |(
            (dup, qos, retain, topic, number, payload),
            (alias, expiry_s, ids, properties),
            short,
        )| {
            let acknowledged = qos != Qos::AtMostOnce;
            let subscribed = from_server && version == Version::V5;
            Publish {
                dup: dup && acknowledged,
                qos,
                retain,
                topic: if short && alias.is_some() { ByteString::new() } else { topic },
                packet_id: acknowledged.then_some(number),
                alias,
                expiry_s,
                subscription_ids: if subscribed { ids } else { Vec::new() },
                properties,
                payload,
            }
        },
    )
}

fn will(version: Version) -> impl Strategy<Value = Will> {
    let more = (later(version, any::<u32>()), later(version, any::<u32>()), properties(version));
    (qos(), any::<bool>(), topic(), payload(), more).prop_map(
        |(qos, retain, topic, payload, (delay_s, expiry_s, properties))| {
            let delay_s = delay_s.unwrap_or_default();
            Will { qos, retain, delay_s, expiry_s, topic, properties, payload }
        },
    )
}

pub(super) fn connect(version: Version) -> impl Strategy<Value = Connect> {
    let later_numbers = (
        later(version, any::<u32>()),
        later(version, 1..=u16::MAX),
        later(version, 1..=u32::MAX),
        later(version, any::<u16>()),
    );
    let flags = (any::<bool>(), any::<bool>(), later(version, any::<(bool, bool)>()));
    let names = (topic(), option::of(words()), later(version, words()));
    (flags, later_numbers, names, option::of(will(version)), any::<u16>()).prop_map(
        move |((clean, bridge, wants), numbers, (client_id, username, auth_method), will, keep)| {
            let (response, problem) = wants.unwrap_or((false, true));
            let (expiry_s, receive, size, aliases) = numbers;
            let before = if clean { 0 } else { u32::MAX };
            let v5 = version == Version::V5;
            Connect {
                version,
                bridge: bridge && !v5,
                clean_start: clean,
                keep_alive_s: keep,
                session_expiry_s: if v5 { expiry_s.unwrap_or(0) } else { before },
                receive_max: receive.unwrap_or(u16::MAX),
                packet_bytes_max: size,
                alias_max: aliases.unwrap_or(0),
                wants_response_information: response,
                wants_problem_information: problem,
                auth_method,
                client_id,
                will,
                has_password: username.is_some() && bridge,
                username,
            }
        },
    )
}

fn connack(version: Version) -> impl Strategy<Value = ConnAck> {
    let low = prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce)];
    let numbers =
        (any::<Option<u32>>(), option::of(1..=u16::MAX), option::of(low), option::of(1..=u32::MAX));
    let texts = (option::of(words()), option::of(words()), option::of(words()));
    let more = (any::<Option<u16>>(), any::<Option<u16>>(), any::<[bool; 4]>());
    (numbers, texts, more, 0..6_u8).prop_map(move |(numbers, texts, more, code)| {
        let (session_expiry_s, receive_max, qos_max, packet_bytes_max) = numbers;
        let (client_id, reason_string, response_information) = texts;
        let (alias_max, keep_alive_s, [no_retain, no_wildcards, no_shared, present]) = more;
        let granted = Granted {
            session_expiry_s,
            receive_max,
            qos_max,
            no_retain,
            packet_bytes_max,
            client_id,
            alias_max,
            reason_string,
            keep_alive_s,
            response_information,
            no_wildcards,
            no_shared,
        };
        let v5 = version == Version::V5;
        ConnAck {
            session_present: present && code == 0 && version != Version::V31,
            reason: Reason::of_return_code(code).unwrap(),
            granted: if v5 { granted } else { Granted::default() },
        }
    })
}

fn ack(version: Version, failure: Reason) -> impl Strategy<Value = Ack> {
    let reason = prop_oneof![Just(Reason::Success), Just(failure)];
    (number(), reason, later(version, words())).prop_map(
        move |(packet_id, reason, reason_string)| {
            let reason = if version == Version::V5 { reason } else { Reason::Success };
            Ack { packet_id, reason, reason_string }
        },
    )
}

fn options(version: Version) -> impl Strategy<Value = Options> {
    let handling = [RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never];
    (qos(), any::<(bool, bool)>(), proptest::sample::select(handling.to_vec())).prop_map(
        move |(qos, (no_local, retain_as_published), retain_handling)| {
            let all = Options { qos, no_local, retain_as_published, retain_handling };
            if version == Version::V5 { all } else { Options { qos, ..Options::default() } }
        },
    )
}

fn subscribe(version: Version) -> impl Strategy<Value = Subscribe> {
    let id = later(version, 1..=268_435_455_u32);
    (number(), id, vec((filter(), options(version)), 1..5)).prop_map(|(packet_id, id, filters)| {
        let alone = |(filter, options): (ByteString, Options)| {
            let no_local = options.no_local && !filter.starts_with("$share/");
            (filter, Options { no_local, ..options })
        };
        Subscribe { packet_id, id, filters: filters.into_iter().map(alone).collect() }
    })
}

fn reasons(version: Version, known: [Reason; 3]) -> impl Strategy<Value = SubAck> {
    (number(), vec(proptest::sample::select(known.to_vec()), 1..5)).prop_map(
        move |(packet_id, reasons)| {
            let end = known.contains(&Reason::NoSubscriptionExisted) && version != Version::V5;
            SubAck { packet_id, reasons: if end { Vec::new() } else { reasons } }
        },
    )
}

fn disconnect(version: Version, from_server: bool) -> impl Strategy<Value = Disconnect> {
    let known = prop_oneof![Just(Reason::Success), Just(Reason::QuotaExceeded)];
    let said = (later(version, words()), later(version, words()), later(version, any::<u32>()));
    (known, said).prop_map(move |(reason, (reason_string, reference, expiry_s))| Disconnect {
        reason: if version == Version::V5 { reason } else { Reason::Success },
        session_expiry_s: expiry_s.filter(|_| !from_server),
        reason_string,
        server_reference: reference.filter(|_| from_server),
    })
}

/// What a client sends after its CONNECT.
pub(super) fn of_client(version: Version) -> BoxedStrategy<Packet> {
    let both = both(version);
    let own = prop_oneof![
        publish(version, false).prop_map(Packet::Publish),
        subscribe(version).prop_map(Packet::Subscribe),
        (number(), vec(filter(), 1..5)).prop_map(|(packet_id, filters)| {
            Packet::Unsubscribe(Unsubscribe { packet_id, filters })
        }),
        disconnect(version, false).prop_map(Packet::Disconnect),
        Just(Packet::PingReq),
    ];
    if version != Version::V5 {
        return prop_oneof![both, own].boxed();
    }
    let auth = words().prop_map(|method| {
        Packet::Auth(Auth { reason: Reason::ReAuthenticate, method: Some(method) })
    });
    prop_oneof![4 => both, 5 => own, 1 => auth].boxed()
}

/// What a server sends.
pub(super) fn of_server(version: Version) -> BoxedStrategy<Packet> {
    let granted = [Reason::Success, Reason::GrantedQos2, Reason::Unspecified];
    let ended = [Reason::Success, Reason::NoSubscriptionExisted, Reason::NotAuthorized];
    let own = prop_oneof![
        publish(version, true).prop_map(Packet::Publish),
        connack(version).prop_map(|ack| Packet::ConnAck(Box::new(ack))),
        reasons(version, granted).prop_map(Packet::SubAck),
        reasons(version, ended).prop_map(Packet::UnsubAck),
        Just(Packet::PingResp),
    ];
    if version != Version::V5 {
        return prop_oneof![both(version), own].boxed();
    }
    let leave = disconnect(version, true).prop_map(Packet::Disconnect);
    prop_oneof![4 => both(version), 5 => own, 1 => leave].boxed()
}

fn both(version: Version) -> impl Strategy<Value = Packet> {
    let (quota, unknown) = (Reason::QuotaExceeded, Reason::PacketIdentifierNotFound);
    prop_oneof![
        ack(version, quota).prop_map(Packet::PubAck),
        ack(version, quota).prop_map(Packet::PubRec),
        ack(version, unknown).prop_map(Packet::PubRel),
        ack(version, unknown).prop_map(Packet::PubComp),
    ]
}
