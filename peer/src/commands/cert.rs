//! `peer cert` and `peer renew`.

use std::path::Path;

use host::fault::Fault;
use host::terminal::{Table, duration_words, escape};
use peer::bundle::{Bundle, BundleError, Ended};
use peer::config::Stale;
use peer::control::client::strange;
use peer::control::protocol::CertificateStatus;
use peer::control::{Client, Reply, Request};
use peer::daemon::Urgency;
use serde::Serialize;
use serde_json::json;
use shared::cert::{CaCert, NodeCert};
use shared::refusal::Code;
use shared::time::Timestamp;
use shared::verify::Verifier;

use super::{Desk, output};
use crate::cli::RenewArgs;

/// A certificate of the chain.
#[derive(Serialize)]
struct Step {
    of: &'static str,
    subject: String,
    algorithm: String,
    serial: String,
    not_after: Timestamp,
}

/// Something that ends, and what no longer works then.
#[derive(Serialize)]
struct Break {
    at: Timestamp,
    what: &'static str,
    then: &'static str,
}

/// What there is to know of a node's certificate.
struct Report {
    cert: NodeCert,
    chain: Vec<Step>,
    breaks: Vec<Break>,
    live: Option<CertificateStatus>,
}

/// What is on the disk, valid or not.
struct Stock {
    cert: NodeCert,
    issuing: Option<CaCert>,
    roots: Vec<CaCert>,
    feed_until: Option<Timestamp>,
    stale: Stale,
}

pub(super) fn cert(desk: &Desk, bundle: &Path) -> Result<(), Fault> {
    let stock = Stock::read(bundle)?;
    let live = match Client::new(bundle).ask_one(&Request::Status) {
        Ok(Reply::Status(status)) => Some(status.certificate),
        _ => None,
    };
    let report = Report::of(stock, live);
    let now = host::clock::wall();
    if desk.out.is_json() {
        return desk.out.json(&report.value(now)).map_err(output);
    }
    for line in report.head(desk, now) {
        desk.line(&line)?;
    }
    desk.line("")?;
    let mut chain = Table::new(&["CHAIN", "OF", "KEY", "SERIAL", "ENDS"]);
    for Step { of, subject, algorithm, serial, not_after } in &report.chain {
        let ends = desk.out.moment(*not_after, now);
        let (of, algorithm) = ((*of).to_owned(), algorithm.clone());
        chain.row([of, subject.clone(), algorithm, serial.clone(), ends]);
    }
    chain.print(&desk.out).map_err(output)?;
    desk.line("")?;
    let mut breaks = Table::new(&["ENDS", "WHAT", "THEN"]);
    for Break { at, what, then } in &report.breaks {
        breaks.row([desk.out.moment(*at, now), (*what).to_owned(), (*then).to_owned()]);
    }
    breaks.print(&desk.out).map_err(output)
}

pub(super) fn renew(desk: &Desk, args: &RenewArgs) -> Result<(), Fault> {
    let request = Request::Renew { keep_key: args.keep_key };
    let Reply::Renewed { not_after } = Client::new(&args.bundle).ask_one(&request)? else {
        return Err(strange());
    };
    desk.tell(&json!({ "not_after": not_after }), &[format!("renewed, valid until {not_after}")])
}

impl Stock {
    fn read(folder: &Path) -> Result<Self, Fault> {
        match Bundle::open(folder) {
            Ok(bundle) => {
                let feed_until = bundle.feed.head().map(|head| head.next_update);
                let chain = &bundle.identity.chain;
                Self::of(bundle.cert, chain, &bundle.verifier, feed_until, bundle.config.stale)
            }
            Err(BundleError::Refused { refusal, .. }) if refusal.code == Code::Expired => {
                let Ended { cert, identity, verifier, config, .. } = Ended::open(folder)?;
                Self::of(cert, &identity.chain, &verifier, None, config.stale)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn of(
        cert: NodeCert,
        chain: &[Vec<u8>],
        verifier: &Verifier,
        feed_until: Option<Timestamp>,
        stale: Stale,
    ) -> Result<Self, Fault> {
        let issuing = chain.get(1).and_then(|der| CaCert::read(der).ok());
        let anchors = verifier.anchors().map_err(|error| Fault::failed(error.to_string()))?;
        let above = |root: &&CaCert| {
            issuing.as_ref().is_none_or(|issuing| issuing.issuer_dn == root.subject_dn)
        };
        let roots = anchors.roots().filter(above).cloned().collect();
        Ok(Self { cert, issuing, roots, feed_until, stale })
    }
}

impl Report {
    fn of(stock: Stock, live: Option<CertificateStatus>) -> Self {
        let Stock { cert, issuing, roots, feed_until, stale } = stock;
        let mut chain = vec![Step {
            of: "node",
            subject: cert.network.dns_of(&cert.node),
            algorithm: cert.public.algorithm().to_string(),
            serial: cert.serial.to_string(),
            not_after: cert.not_after,
        }];
        chain.extend(issuing.iter().map(|cert| step("issuing", cert)));
        chain.extend(roots.iter().map(|cert| step("root", cert)));
        let mut breaks = vec![Break {
            at: cert.not_after,
            what: "the certificate",
            then: "nobody links with this node",
        }];
        let then = match stale {
            Stale::Warn => "a warning: the authority has not signed it again",
            Stale::Refuse => "every link is cut: node.yaml says so",
        };
        breaks.extend(feed_until.map(|at| Break { at, what: "the feed", then }));
        let then = "no certificate under it is valid: ca-tool doctor, at the authority";
        let what = "the issuing certificate";
        breaks.extend(issuing.map(|cert| Break { at: cert.not_after, what, then }));
        let then = "the network ends unless nodes trust another root";
        breaks.extend(roots.iter().map(|root| Break {
            at: root.not_after,
            what: "the root",
            then,
        }));
        breaks.sort_by_key(|one| one.at);
        Self { cert, chain, breaks, live }
    }

    fn urgency(&self, now: Timestamp) -> String {
        let usual = || Urgency::of(self.cert.not_before, self.cert.not_after, now);
        self.live.as_ref().map_or_else(|| usual().as_str().to_owned(), |live| live.urgency.clone())
    }

    fn value(&self, now: Timestamp) -> serde_json::Value {
        json!({
            "node": self.cert.node,
            "network": self.cert.network,
            "serial": self.cert.serial.to_string(),
            "spki": self.cert.spki.to_string(),
            "not_before": self.cert.not_before,
            "not_after": self.cert.not_after,
            "urgency": self.urgency(now),
            "running": self.live.is_some(),
            "renewal": self.live.as_ref().and_then(|live| live.renewal),
            "setback": self.live.as_ref().and_then(|live| live.setback.clone()),
            "chain": self.chain,
            "breaks": self.breaks,
        })
    }

    fn head(&self, desk: &Desk, now: Timestamp) -> Vec<String> {
        let until = self.cert.not_after;
        let left_s = until.ms_since(now) / 1000;
        let left = match self.urgency(now).as_str() {
            "ended" => format!("nothing: it ENDED at {until}"),
            "late" => format!("{} (until {until}), NOT RENEWED IN TIME", duration_words(left_s)),
            _ => format!("{} (until {until})", duration_words(left_s)),
        };
        let renewal = self.live.as_ref().and_then(|live| live.renewal);
        let renewal = renewal.map(|at| desk.out.moment(at, now));
        let renewal = renewal.unwrap_or_else(|| "by the peer, while it runs".to_owned());
        let mut lines = vec![
            format!("node         {}", self.cert.network.dns_of(&self.cert.node)),
            format!("left         {left}"),
            format!("renewal      {renewal}"),
        ];
        let setback = self.live.as_ref().and_then(|live| live.setback.as_ref());
        lines.extend(setback.map(|why| format!("last try     {}", escape(why))));
        lines.push(format!("key          SHA-256 {}", self.cert.spki));
        lines
    }
}

fn step(of: &'static str, cert: &CaCert) -> Step {
    Step {
        of,
        subject: cert.subject_text.clone(),
        algorithm: cert.public.algorithm().to_string(),
        serial: cert.serial.to_string(),
        not_after: cert.not_after,
    }
}
