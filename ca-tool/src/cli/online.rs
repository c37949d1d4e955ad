//! Arguments of the commands around an authority that is online: serving and inviting.

use std::net::{IpAddr, SocketAddr};

use ca_tool::Enrolment;
use clap::{Args, ValueEnum};
use shared::cert::PEER_ROLES;
use shared::name::{Label, NodeName};

use super::{address, duration, listen};

/// `serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where new nodes and late ones come to.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:7443", value_parser = listen)]
    pub(crate) listen: String,
    /// Where they reach that, if it is elsewhere; goes into join strings.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) advertise: Vec<String>,
    /// Where members link with it; none: it only dials them.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:7400", value_parser = mesh)]
    pub(crate) mesh: String,
    /// A loopback address for Prometheus, without TLS: GET /metrics and /health.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// How long after its end a certificate may still be renewed.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = duration)]
    pub(crate) grace: i64,
    /// How log lines look; what is logged says CONCLAVE_LOG.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) log: Log,
}

fn mesh(text: &str) -> Result<String, String> {
    if text == "none" { Ok(text.to_owned()) } else { listen(text) }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Log {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `invite`
#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// The node's name: a-z, 0-9 and -.
    #[arg(value_name = "NODE", value_parser = NodeName::parse)]
    pub(crate) node: NodeName,
    /// How long the string may be used.
    #[arg(long = "ttl", value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub(crate) open: i64,
    /// Whoever comes waits for `ca-tool approve`.
    #[arg(long)]
    pub(crate) hold: bool,
    /// Where the authority answers, instead of where it serves.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) at: Vec<String>,
    /// What the node is to be.
    #[command(flatten)]
    pub(crate) wish: WishArgs,
    /// How long its certificates live: 12h, 7d.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) life: Option<i64>,
}

/// One node.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The node.
    #[arg(value_name = "NODE", value_parser = NodeName::parse)]
    pub(crate) node: NodeName,
}

/// What a node is to be.
#[derive(Debug, Args)]
pub(crate) struct WishArgs {
    /// Groups, with commas between them.
    #[arg(long, value_delimiter = ',', value_parser = Label::parse)]
    pub(crate) groups: Vec<Label>,
    /// Roles, such as relay.
    #[arg(long, value_delimiter = ',', value_parser = Label::parse)]
    pub(crate) roles: Vec<Label>,
    /// The certificate profile.
    #[arg(long, default_value = "node", value_parser = Label::parse)]
    pub(crate) profile: Label,
    /// More DNS names, inside the network.
    #[arg(long, value_delimiter = ',')]
    pub(crate) dns: Vec<String>,
    /// IP addresses.
    #[arg(long, value_delimiter = ',')]
    pub(crate) ip: Vec<IpAddr>,
}

/// Letters that two roles differ by if one of them is likely to be a slip.
const SLIP_LETTERS: usize = 2;

impl WishArgs {
    /// What is to be said of roles that are nearly one that peers know.
    pub(crate) fn slips(&self) -> Vec<String> {
        let near = |role: &Label| {
            let slip = |known: &&str| {
                let letters = strsim::damerau_levenshtein(role.as_str(), known);
                (1..=SLIP_LETTERS).contains(&letters)
            };
            let known = PEER_ROLES.into_iter().find(slip)?;
            Some(format!("peers do not know the role {role}: did you mean {known}?"))
        };
        self.roles.iter().filter_map(near).collect()
    }

    /// For a node, with the profile's own length of life.
    pub(crate) fn wish(&self, node: &NodeName) -> Enrolment {
        Enrolment {
            node: node.clone(),
            groups: self.groups.iter().cloned().collect(),
            roles: self.roles.iter().cloned().collect(),
            dns: self.dns.clone(),
            ips: self.ip.clone(),
            profile: self.profile.clone(),
            life_s: None,
        }
    }
}
