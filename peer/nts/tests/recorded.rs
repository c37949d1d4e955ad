//! What chrony 4.3 really said, recorded on a loopback, with the keys of that day.
//!
//! `tests/chrony.rs` talks to a living one; this holds wherever there is none.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong here is seen by whoever runs it"
)]

use std::net::{IpAddr, Ipv4Addr};

use nts::client::{Association, Heard, Protection};
use nts::limits::DATAGRAM_BYTES_MAX;
use nts::ntp::{Header, Leap, Mode, Stamp};
use nts::records::{Grant, Reader};
use nts::server::{Asked, Host, Reading, Server, Settings, Verdict};
use nts::{Fingerprint, Key, Keys, Ring};

const NOW_S: u64 = 1_795_452_690;
const NOW_NS: i64 = NOW_S as i64 * 1_000_000_000;

/// Our ring when chrony came for keys.
const RING: &str = "\
    6e74732d72696e67010100000001000000006b046f106fca8f2ef6a7516b11239682fdd2e133d55a67d689a7\
    44d660feff20eeb64725f04d54f2c6b5a32f0d9d0ac295589eda\
";
/// What it asked with one of our cookies.
const ASKED: &str = "\
    23000620000000000000000000000000000000000000000000000000000000000000000000000000b6c5757b\
    b457fe5a0104002469bb53c722eafe41f0dfd54531d12e71b230dc8776b1c8039e78e2304b685c7302040090\
    0000000141d5a85556b62ead8c09d9e1152accdcf7f946aa409167728578d1285e9a318ed60add68e749ea27\
    515d6b6ec8373a5bdc7a5bbc796c8a0e276f1f8e1fc9591b303d9bd53d2a089c81abd7347fe9304516f6c9ee\
    1d190e1255448ccc6f1a51f1884440067b6b4d583b280492ff3b205996a52493d0390358db40e33835ffb4b3\
    8a680a14eef32c5704040028001000104bac28f10812fd12c739fd967ef8f181263d4940b96a3c12bc9c3034\
    679fcc91\
";
/// What it told us in a key exchange.
const GRANTED: &str = "\
    80010002000080040002000f80070002d5df000500645e7cab73fb9a3bf798078f0cd81986e2d3877bd3b5dc\
    8df6fcb0e05b3b8fa6c6b1219959e215fff54e8463473a080f84b8eef46fecffe81fb7435dd012efccf3cd61\
    ab3b9c9820b4db75c0839e730784dc236c806e552169cd9a4e61029f2f70c8451639000500645e7cab73ce1c\
    c8d313db180f3c630b001aa1fa31c50c0762935a0821cdff8635c2f8b69206085daae82d16a38079e209fb2b\
    88913d84eb0f1c3931644a81549fb819d37c05709d246aacf4a37b0c39cf71c0e03c9721e8d725ba3998ea82\
    c29900687454000500645e7cab735791db419897c6375b3e9adb938f7a260b97fd7a22f923b463d3afc10460\
    39c6beacc11f392ee98dfb34fe794b15e5a3fe5ef7b6b6b822f4fe3828f78d4d061d630cfd1702dc4d9264d7\
    4219bcfc15cf4eb7e7528f12581bc190d0353ee65d64000500645e7cab7312e2278e3f5f92c6269ef552f730\
    c5fb1c9219d39fdb46fee87b7f9e12f8a3b0a21f7e5477997ad83c23621e07adb0ed99b9e5060785f19e57bd\
    946697776284d1f3c4bcfd9f78410b26a622bd27f9867741faaf7c92ee1c48f14c09b0dad61a000500645e7c\
    ab73b54a4aa486e906f6c85cb4fa697742e2182810c53176e8a11e79eff3957906031618f8b872656671a336\
    9b27931f0d6ac662cdf88c22ef2e72781c8b64fa2c013b1abb920f54df88da6851906c25156262c234d8d250\
    35d242efbedaf072230f000500645e7cab73637312e7494d3bb7b8b9474835aa9afa66b4c72306800e01040f\
    aacd6c8e88d482ba5f9fb790e3a20f32f5758ed85ccb7dcd1b78113d5846750ce32e0210ed81dc1e0f1df748\
    70d7c591025c53dc4b92092fba46e41036c8b62455b3dbeb7273000500645e7cab73325ef2ae364332513073\
    c7414f73d930d32989d73a0aa53e1af8e98cf81467f224acba43c4106983ed14861cad0c0ec9dcc15c60b764\
    b664d4072b12373796a0e66e2ac320612fe28197c71a0e81109d66b634033dc4342b9ed19a50a896f2e80005\
    00645e7cab73c5c8f6819e3fd40924e2dc656ce7b89911d0bf14f9e251ef3b07c2650fd1eca45ad9d7692369\
    b094c89d4161602677add5358cd252c96e26cea995088a7909fc6457709b9451a241411398849d406338318d\
    f308c308025c9d7233beb8d7530680000000\
";
/// The key of our questions.
const C2S: &str = "\
    91a2953d20a53a6d6cc45a7459028c9b154dc00a0c62f71fd21af151ce60e82a\
";
/// The key of its answers.
const S2C: &str = "\
    e5d50355a9605fd96aeb69f18c47a766c38434ac0bdf578f7c40c4aee9e93a30\
";
/// The random octets of our question.
const RANDOM: &str = "\
    905682b7e186bfc704d375908341c7df6f74360b32e7275d87d9b3037034b2301711ccb83c3585f85709142b\
    6c462049a6f479ea7f689ece\
";
/// What it answered to that.
const ANSWERED: &str = "\
    240302e600000000000000007f7f0101eeaeed8e82ff7c0c905682b7e186bfc7eeaeed902a88ab51eeaeed90\
    2a8c8e120104002404d375908341c7df6f74360b32e7275d87d9b3037034b2301711ccb83c3585f804040090\
    001000788124ec1022bf74e2dac62f47dc5aac59d6e763364fc812054ae54fb69614cda8d2c622daff153539\
    02093f2a320d0e5f22fc170bb117aa5fdd4e8f8c0ec07bdb13a2f299c149c3ed2f7b23ffbdc2fb2c5719f613\
    43aba55106ccdce0e0b490bb9b8ee36016b7554ccb78f3d8a3d7d6ead7baac22e2e419e2e95f2d33d5546055\
    f28ba1bbe80555c5\
";

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    octets(hex).try_into().unwrap()
}

struct Here;

impl Host for Here {
    fn random(&mut self, room: &mut [u8]) {
        room.fill(1);
    }

    fn admits(&mut self, fingerprint: &Fingerprint) -> bool {
        fingerprint.is_none()
    }

    fn now(&mut self) -> Stamp {
        Stamp::from_unix_ns(NOW_NS)
    }
}

#[test]
fn its_question_is_answered() {
    let ring = Ring::from_octets(&octets(RING)).unwrap();
    let datagram = octets(ASKED);
    let asked = Asked {
        datagram: &datagram,
        from: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: Stamp::from_unix_ns(NOW_NS),
        now_s: NOW_S,
        now_ms: 0,
    };
    let mut server = Server::new(Settings::default(), 1);
    let mut out = [0; DATAGRAM_BYTES_MAX];
    let clock = Reading::unsynchronised(-23);
    let verdict = server.handle(&asked, &clock, &ring, &mut Here, &mut out);
    let fingerprint = Fingerprint::NONE;
    assert_eq!(verdict, Verdict::Sealed { len: datagram.len(), cookies: 1, fingerprint });
    let header = Header::read(&out).unwrap();
    assert_eq!((header.mode, header.leap, header.stratum), (Mode::Server, Leap::Unknown, 16));
}

#[test]
fn its_keys_and_its_answer_are_taken() {
    let mut reader = Reader::default();
    let said = octets(GRANTED);
    let pieces: Vec<bool> = said.chunks(7).map(|some| reader.take(some).unwrap()).collect();
    assert_eq!(pieces.last(), Some(&true));
    let grant = Grant::read(&reader).unwrap();
    assert_eq!((grant.cookies.len(), grant.cookies[0].len()), (8, 100));
    let keys = Keys { c2s: Key::new(array(C2S)), s2c: Key::new(array(S2C)) };
    let mut association = Association::new(Protection::Nts);
    association.keyed(keys, grant.cookies);
    let mut out = [0; DATAGRAM_BYTES_MAX];
    association.ask(NOW_NS, &array(RANDOM), &mut out).unwrap();
    let heard = association.hear(&octets(ANSWERED), NOW_NS);
    let Ok(Heard::Sample(sample)) = heard else { panic!("{heard:?}") };
    assert!(sample.is_authentic);
    assert_eq!((sample.stratum, sample.reference_id.octets()), (3, [127, 127, 1, 1]));
    assert!((sample.t2_ns - NOW_NS).abs() < 60_000_000_000);
    assert_eq!(association.cookies(), 8);
}
