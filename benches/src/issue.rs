//! `issue.memory`: a certificate from draft to signature with our linter, against rcgen alone.

use std::time::Instant;

use anyhow::Result;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber,
};
use shared::key::{Algorithm, Encoding, PrivateKey};

use crate::harness::{Effort, Figure, Side, micros_each, take_turns};
use crate::world::{NETWORK, World};

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let world = World::new()?;
    let (rounds, batch) = (effort.pick(5, 60), effort.pick(100, 300));
    let key = PrivateKey::generate(Algorithm::P256)?;
    let issuer_key = KeyPair::generate()?;
    let issuer = issuer(&issuer_key)?;
    let mut sides: Vec<Side<'_>> = vec![
        Box::new(|| {
            let start = Instant::now();
            for _ in 0..batch {
                let draft = world.draft("some-node", key.public().clone())?;
                world.authority.issue_in_memory(&draft)?;
            }
            Ok(micros_each(batch, start))
        }),
        Box::new(|| {
            let start = Instant::now();
            for _ in 0..batch {
                params()?.signed_by(key.public(), &issuer)?;
            }
            Ok(micros_each(batch, start))
        }),
        Box::new(|| {
            let start = Instant::now();
            for _ in 0..batch {
                key.sign(Encoding::X509, &[7; 500])?;
            }
            Ok(micros_each(batch, start))
        }),
    ];
    let samples = take_turns(rounds, &mut sides)?;
    let [ours, bare, signature] = samples.as_slice() else { anyhow::bail!("three sides") };
    let what = "rcgen: params and signed_by, P-256, not linted (µs)";
    Ok(vec![
        Figure::new("issue.memory", "µs", ours).against(what, ours, bare),
        Figure::new("issue.memory.signature", "µs", signature).against(what, signature, bare),
    ])
}

/// A CA of rcgen's.
pub(crate) fn issuer(key: &KeyPair) -> Result<Issuer<'static, &KeyPair>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "issuing");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(Issuer::new(params, key))
}

/// What a user of rcgen writes to get the same certificate.
pub(crate) fn params() -> Result<CertificateParams> {
    let now = host::clock::wall();
    let mut params = CertificateParams::default();
    params.not_before = now.plus_s(-300).calendar();
    params.not_after = now.plus_s(7 * 86_400).calendar();
    params.serial_number = Some(SerialNumber::from_slice(&host::random::bytes::<16>()?));
    params.distinguished_name.push(DnType::OrganizationName, NETWORK);
    params.distinguished_name.push(DnType::CommonName, "some-node");
    params.subject_alt_names = vec![
        SanType::DnsName(format!("some-node.{NETWORK}").try_into()?),
        SanType::URI(format!("spiffe://{NETWORK}/node/some-node").try_into()?),
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}
