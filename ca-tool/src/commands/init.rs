//! `ca-tool init`: a new authority.

use ca_tool::{Authority, Init, Registry};
use host::fault::Fault;
use serde_json::json;
use shared::id::SpkiHash;

use super::Desk;
use crate::cli::InitArgs;

pub(super) fn run(desk: &Desk<'_>, args: &InitArgs) -> Result<(), Fault> {
    let folder = &desk.cli.pki;
    if folder.symlink_metadata().is_ok() {
        return Err(ca_tool::CaError::Exists { path: folder.clone() }.into());
    }
    let passphrase = if args.no_encrypt {
        None
    } else {
        let asked = desk.passphrase().ask_new("new passphrase for the authority's keys");
        let asked = asked.map_err(ca_tool::CaError::from).map_err(Fault::from);
        Some(asked.map_err(|fault| match fault.hint_text() {
            Some(hint) => {
                let hint = format!("{hint}\nor leave the keys unencrypted: --no-encrypt");
                fault.hint(hint)
            }
            None => fault,
        })?)
    };
    Authority::init(folder, &Init::new(args.network.clone(), args.algorithm, passphrase))?;
    let registry = Registry::open(folder, |_| {})?;
    let root = registry.anchors().roots().next().map(|root| root.public.spki_der().to_vec());
    let fingerprint = SpkiHash::of(&root.unwrap_or_default()).to_string();
    let encrypted = if args.no_encrypt { "NOT encrypted" } else { "encrypted" };
    let value = json!({
        "network": args.network, "algorithm": args.algorithm, "root_spki_sha256": fingerprint,
        "pki": folder, "encrypted": !args.no_encrypt,
    });
    let lines = [
        format!("the authority of {} is in {}", args.network, folder.display()),
        format!("root key (SHA-256)  {fingerprint}"),
        format!("keys                {}, {encrypted}", args.algorithm),
        format!(
            "next: ca-tool{0} serve   (and, beside it: ca-tool{0} invite alice)",
            desk.pki_flag()
        ),
    ];
    desk.tell(&value, &lines)
}
