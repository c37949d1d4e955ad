//! The policy in the daemon: read at the start, saved when it changes, explained when asked.

use host::fault::Fault;
use host::files;
use peer_core::Node;
use shared::limits::STATEMENT_BYTES_MAX;
use shared::name::NodeName;
use shared::time::Now;

use super::control::Desk;
use super::driver::Driver;
use super::fabric::Fabric;
use super::view::{Answer, Ask};
use crate::bundle::Bundle;
use crate::control::policy::{PolicyStatus, QUESTIONS, Question, Why};

/// Takes the bundle's policy. One that cannot be believed is no reason to go on without: it may
/// have forbidden something.
pub(super) fn recall(bundle: &Bundle, node: &mut Node, now: Now) -> Result<(), Fault> {
    let path = bundle.paths.policy();
    if !path.exists() {
        return Ok(());
    }
    let bytes = files::read_bounded(&path, STATEMENT_BYTES_MAX).map_err(Fault::from)?;
    node.handle_policy(&bytes, now).map_err(|error| {
        Fault::failed(format!("{}: {error}", path.display())).hint(
            "remove the file to fetch the policy anew from the next peer or `ca-tool publish`",
        )
    })
}

impl<F: Fabric> Driver<F> {
    pub(super) fn why(&self, from: &NodeName, to: &NodeName, question: &Question) -> Option<Why> {
        let decision = self.node.why(from, to, question.request())?;
        Some(Why {
            from: from.clone(),
            to: to.clone(),
            action: String::new(),
            allowed: decision.allowed,
            rule: decision.by.map(|(index, _)| index + 1),
            name: decision.by.map(|(_, name)| name.to_string()),
            number: self.node.policy().number,
        })
    }
}

impl Desk {
    pub(super) async fn policy(&self) -> Result<PolicyStatus, Fault> {
        match self.ask(Ask::Policy).await? {
            Answer::Policy(policy) => Ok(PolicyStatus::from(&*policy)),
            _ => Err(Fault::failed("the driver answered something else")),
        }
    }

    pub(super) async fn why(
        &self,
        from: Option<NodeName>,
        to: NodeName,
        action: String,
    ) -> Result<Why, Fault> {
        let unknown = || {
            Fault::usage(format!("{} is nothing a policy knows", host::terminal::escape(&action)))
                .hint(format!("ask for {QUESTIONS}"))
        };
        let question = Question::parse(&action).ok_or_else(unknown)?;
        let from = from.unwrap_or_else(|| self.node().clone());
        let strangers = format!("{from} or {to} is not known here");
        match self.ask(Ask::Why { from, to, question }).await? {
            Answer::Why(Some(why)) => Ok(Why { action, ..*why }),
            Answer::Why(None) => {
                Err(Fault::failed(strangers).hint("who is known: peer nodes BUNDLE"))
            }
            _ => Err(Fault::failed("the driver answered something else")),
        }
    }
}
