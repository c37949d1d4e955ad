//! `handshake.rate.*`, `chain.bytes.*`, `issue.memory.*` for each algorithm a network may have:
//! what a post-quantum network costs beside a classical one, side by side in one run.
//!
//! Handshakes are against tokio-rustls with the same certificates and cryptography, certificates
//! against rcgen; rcgen has no ML-DSA without an unstable feature, so those are against the
//! signature alone.

use std::time::Instant;

use anyhow::{Result, bail};
use rcgen::KeyPair;
use shared::key::{Algorithm, Encoding, PrivateKey};

use crate::handshake::{Bare, Bench, Ours, both};
use crate::harness::{Effort, Figure, Samples, Side, micros_each, take_turns};
use crate::issue::{issuer, params};
use crate::world::World;

const ALGORITHMS: [Algorithm; 3] = [Algorithm::P256, Algorithm::Ed25519, Algorithm::MlDsa65];

/// A network of one algorithm.
struct Network {
    algorithm: Algorithm,
    world: World,
    ours: Ours,
    bare: Bare,
}

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let networks = ALGORITHMS.into_iter().map(|algorithm| {
        let world = World::with(algorithm)?;
        let (ours, bare) = both(&world)?;
        Ok(Network { algorithm, world, ours, bare })
    });
    let networks = networks.collect::<Result<Vec<Network>>>()?;
    let mut figures = handshakes(&networks, effort)?;
    figures.extend(issuing(&networks, effort)?);
    for network in &networks {
        let bytes: usize = network.world.node("somebody")?.chain.iter().map(Vec::len).sum();
        let bytes = f64::from(u32::try_from(bytes)?);
        let name = network.name("chain.bytes");
        figures.push(Figure::new(&name, "bytes, leaf and issuer", &Samples(vec![bytes])));
    }
    Ok(figures)
}

impl Network {
    fn name(&self, what: &str) -> String {
        format!("{what}.{}", self.algorithm.as_str().replace('-', "_"))
    }
}

fn handshakes(networks: &[Network], effort: Effort) -> Result<Vec<Figure>> {
    let (rounds, batch) = (effort.pick(4, 60), effort.pick(30, 60));
    let bench = Bench::new()?;
    let mut sides: Vec<Side<'_>> = Vec::new();
    for network in networks {
        sides.push(Box::new(|| bench.run(batch, || Ok(&network.ours), Ours::shake)));
        sides.push(Box::new(|| bench.run(batch, || Ok(&network.bare), Bare::shake)));
    }
    let samples = take_turns(rounds, &mut sides)?;
    let pairs = samples.as_chunks::<2>().0.iter().zip(networks);
    let what = "bare tokio-rustls, same certificates (/s)";
    let figure = |([ours, bare], network): (&[Samples; 2], &Network)| {
        let name = network.name("handshake.rate");
        Figure::new(&name, "handshakes/s", ours).against(what, ours, bare)
    };
    Ok(pairs.map(figure).collect())
}

fn issuing(networks: &[Network], effort: Effort) -> Result<Vec<Figure>> {
    let (rounds, batch) = (effort.pick(4, 60), effort.pick(50, 150));
    let mut sides: Vec<Side<'_>> = Vec::new();
    let mut against = Vec::new();
    for network in networks {
        let key = PrivateKey::generate(network.algorithm)?;
        let (public, signer) = (key.public().clone(), key);
        let subject = public.clone();
        sides.push(Box::new(move || {
            let start = Instant::now();
            for _ in 0..batch {
                let draft = network.world.draft("some-node", subject.clone())?;
                network.world.authority.issue_in_memory(&draft)?;
            }
            Ok(micros_each(batch, start))
        }));
        let Some(algorithm) = of_rcgen(network.algorithm) else {
            against.push("the signature alone (µs)");
            sides.push(Box::new(move || {
                let start = Instant::now();
                for _ in 0..batch {
                    signer.sign(Encoding::X509, &[7; 500])?;
                }
                Ok(micros_each(batch, start))
            }));
            continue;
        };
        against.push("rcgen: params and signed_by, not linted (µs)");
        let issuer_key = KeyPair::generate_for(algorithm)?;
        sides.push(Box::new(move || {
            let issuer = issuer(&issuer_key)?;
            let start = Instant::now();
            for _ in 0..batch {
                params()?.signed_by(&public, &issuer)?;
            }
            Ok(micros_each(batch, start))
        }));
    }
    let samples = take_turns(rounds, &mut sides)?;
    let (pairs, rest) = samples.as_chunks::<2>();
    if pairs.len() != networks.len() || !rest.is_empty() {
        bail!("two sides each");
    }
    let all = pairs.iter().zip(networks).zip(against);
    Ok(all
        .map(|(([ours, limit], network), what)| {
            let name = network.name("issue.memory");
            Figure::new(&name, "µs", ours).against(what, ours, limit)
        })
        .collect())
}

const fn of_rcgen(algorithm: Algorithm) -> Option<&'static rcgen::SignatureAlgorithm> {
    match algorithm {
        Algorithm::P256 => Some(&rcgen::PKCS_ECDSA_P256_SHA256),
        Algorithm::Ed25519 => Some(&rcgen::PKCS_ED25519),
        _ => None,
    }
}
