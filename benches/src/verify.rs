//! `verify.us.*`: what the verifier costs for one chain, with nobody and with a million revoked.
//!
//! Each chain is met for the first time, so that the memory of verified paths cannot help; what it
//! does help is the figure `verify.us.again`. The limit is webpki's path building on the same
//! chains, which reads no member and asks no revocation; with a CRL of 17,000 it is shown too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use shared::cert::{CrlDraft, CrlEntry, Usage};
use shared::feed::Reason;
use shared::id::Serial;
use shared::verify::Verifier;
use webpki::{CertRevocationList, EndEntityCert, KeyUsage, OwnedCertRevocationList};

use crate::harness::{Effort, Figure, Side, micros_each, take_turns};
use crate::world::{Node, World};

const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[webpki::aws_lc_rs::ECDSA_P256_SHA256];

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let world = World::new()?;
    let (rounds, batch) = (effort.pick(5, 40), effort.pick(50, 100));
    let count = (rounds + 1) * batch;
    let nodes =
        (0..count).map(|index| world.node(&format!("node-{index}"))).collect::<Result<Vec<_>>>()?;
    let anchor_der = CertificateDer::from(world.root()?.to_vec());
    let anchor = webpki::anchor_from_trusted_cert(&anchor_der).map_err(anyhow::Error::msg)?;
    let crl = crl(&world, 17_000)?;
    let sets = [world.verifier(0)?, world.verifier(17_000)?, world.verifier(1_000_000)?];
    let mut sides: Vec<Side<'_>> = Vec::new();
    for verifier in &sets {
        sides.push(admit_fresh(verifier, &nodes, batch));
    }
    sides.push(admit_again(&sets, &nodes, batch)?);
    sides.push(bare(&anchor, &nodes, batch, None));
    sides.push(bare(&anchor, &nodes, batch, Some(&crl)));
    let samples = take_turns(rounds, &mut sides)?;
    let [none, some, million, again, plain, with_crl] = samples.as_slice() else {
        anyhow::bail!("six sides");
    };
    let webpki = "webpki verify_for_usage, no revocation (µs)";
    let figure = |name: &str, ours| Figure::new(name, "µs", ours).against(webpki, ours, plain);
    Ok(vec![
        figure("verify.us.revoked_0", none),
        figure("verify.us.revoked_17k", some),
        figure("verify.us.revoked_1m", million),
        figure("verify.us.again", again),
        Figure::new("verify.us.revoked_1m.against_none", "µs", million).against(
            "ours, nobody revoked (µs)",
            million,
            none,
        ),
        Figure::new("verify.us.webpki_crl_17k", "µs", with_crl).against(
            "ours, 17,000 revoked (µs)",
            with_crl,
            some,
        ),
    ])
}

fn admit_fresh<'a>(verifier: &'a Arc<Verifier>, nodes: &'a [Node], batch: usize) -> Side<'a> {
    let mut chunks = nodes.chunks(batch);
    Box::new(move || {
        let chunk = chunks.next().context("no node is left")?;
        let now = host::clock::wall();
        let start = Instant::now();
        for node in chunk {
            verifier.admit(&node.chain(), Usage::Client, None, now)?;
        }
        Ok(micros_each(chunk.len(), start))
    })
}

fn admit_again<'a>(sets: &'a [Arc<Verifier>], nodes: &'a [Node], batch: usize) -> Result<Side<'a>> {
    let verifier = sets.last().context("no verifier")?;
    let node = nodes.first().context("no node")?;
    Ok(Box::new(move || {
        let now = host::clock::wall();
        verifier.admit(&node.chain(), Usage::Client, None, now)?;
        let start = Instant::now();
        for _ in 0..batch * 10 {
            verifier.admit(&node.chain(), Usage::Client, None, now)?;
        }
        Ok(micros_each(batch * 10, start))
    }))
}

fn bare<'a>(
    anchor: &'a TrustAnchor<'a>,
    nodes: &'a [Node],
    batch: usize,
    crl: Option<&'a CertRevocationList<'a>>,
) -> Side<'a> {
    // A CRL costs hundreds of times more; a tenth of the chains says as much.
    let batch = if crl.is_some() { batch / 10 } else { batch };
    let mut chunks = nodes.chunks(batch);
    Box::new(move || {
        let chunk = chunks.next().context("no node is left")?;
        let start = Instant::now();
        for node in chunk {
            path(anchor, node, crl)?;
        }
        Ok(micros_each(chunk.len(), start))
    })
}

fn path(anchor: &TrustAnchor<'_>, node: &Node, crl: Option<&CertRevocationList<'_>>) -> Result<()> {
    let (leaf, above) = node.chain.split_first().context("an empty chain")?;
    let leaf = CertificateDer::from(leaf.as_slice());
    let above: Vec<_> = above.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let end = EndEntityCert::try_from(&leaf).map_err(anyhow::Error::msg)?;
    let seconds = u64::try_from(host::clock::wall().s())?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let crls: Vec<_> = crl.into_iter().collect();
    let options = match crls.is_empty() {
        true => None,
        false => Some(
            webpki::RevocationOptionsBuilder::new(&crls)
                .map_err(|_| anyhow::anyhow!("no CRL"))?
                .with_depth(webpki::RevocationCheckDepth::EndEntity)
                .build(),
        ),
    };
    let anchors = std::slice::from_ref(anchor);
    end.verify_for_usage(ALGORITHMS, anchors, &above, now, KeyUsage::client_auth(), options, None)
        .map_err(anyhow::Error::msg)?;
    Ok(())
}

/// A CRL as a webpki user holds it: parsed once, looked up by serial; its signature is verified
/// again for every chain.
fn crl(world: &World, count: u32) -> Result<CertRevocationList<'static>> {
    let now = host::clock::wall();
    let entries = (0..count)
        .map(|_| {
            let serial = Serial::from_random(host::random::bytes()?);
            Ok(CrlEntry { serial, at: now, reason: Reason::KeyCompromise })
        })
        .collect::<Result<Vec<_>>>()?;
    let (this_update, next_update) = (now.plus_s(-60), now.plus_s(86_400));
    let draft = CrlDraft { number: 1, this_update, next_update, entries };
    let der = world.authority.signer().sign_crl(&draft)?;
    let owned = OwnedCertRevocationList::from_der(&der).map_err(anyhow::Error::msg)?;
    Ok(CertRevocationList::Owned(owned))
}
