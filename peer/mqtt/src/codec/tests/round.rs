//! Properties: what is written is read back, cut anywhere it is waited for, and nothing panics.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{Decoder, Packet, publish_bytes};
use super::packets::{connect, of_client, of_server};
use super::{ALL, greeting, heard, read, told, written};
use crate::codec::Version;

fn version() -> impl Strategy<Value = Version> {
    proptest::sample::select(&ALL[..])
}

fn conversation() -> impl Strategy<Value = (Version, Packet, Packet, Packet)> {
    version().prop_flat_map(|version| {
        let first = connect(version).prop_map(|said| Packet::Connect(Box::new(said)));
        (Just(version), first, of_client(version), of_server(version))
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back((version, first, asked, told_back) in conversation()) {
        let bytes = written(&first, version);
        prop_assert_eq!(read(Decoder::server(), &bytes), Ok(vec![first]));
        prop_assert_eq!(heard(version, &written(&asked, version)), Ok(asked));
        prop_assert_eq!(told(version, &written(&told_back, version)), Ok(told_back.clone()));
        if let Packet::Publish(publish) = told_back {
            let length = publish_bytes(&publish.outgoing(), version);
            prop_assert_eq!(written(&Packet::Publish(publish), version).len(), length);
        }
    }

    #[test]
    fn what_is_cut_is_waited_for((version, first, asked, told_back) in conversation()) {
        let stream = [written(&first, version), written(&asked, version)].concat();
        let (mut decoder, mut buffer) = (Decoder::server(), BytesMut::new());
        let mut found = Vec::new();
        for octet in &stream {
            buffer.extend_from_slice(&[*octet]);
            found.extend(decoder.decode(&mut buffer).unwrap());
        }
        prop_assert_eq!(found, vec![first, asked]);
        let bytes = written(&told_back, version);
        for cut in 0..bytes.len() {
            prop_assert_eq!(read(Decoder::client(version), &bytes[..cut]), Ok(Vec::new()));
        }
    }

    #[test]
    fn a_flipped_octet_is_an_error_or_another_packet(
        (version, first, asked, told_back) in conversation(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let stream = [written(&first, version), written(&asked, version)].concat();
        for (mut bytes, decoder) in [
            (stream, Decoder::server()),
            ([greeting(version), written(&asked, version)].concat(), Decoder::server()),
            (written(&told_back, version), Decoder::client(version)),
        ] {
            for (at, value) in &flips {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            let _ = read(decoder, &bytes);
        }
    }

    #[test]
    fn any_octets_are_an_error_or_a_packet(
        version in version(),
        bytes in vec(any::<u8>(), 0..300),
    ) {
        let _ = read(Decoder::server(), &bytes);
        let _ = read(Decoder::client(version), &bytes);
        let _ = read(Decoder::server(), &[&greeting(version)[..], &bytes].concat());
    }
}
