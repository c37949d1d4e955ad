//! A crowd that asks the authority over links: there are fewer links than members.

use peer_core::limits::LINKS_MAX;
use peer_core::{Action, LinkId};
use shared::wire::{Body, Renewal, Spread};

use crate::rig::{Authority, actions, now, said_to};

#[test]
fn more_members_than_there_are_links_are_answered_one_after_the_other() {
    let mut authority = Authority::new();
    let mut node = authority.node_in(8, "authority", &["authority"]);
    let mut answered = 0;
    for index in 1..=LINKS_MAX as u64 + 100 {
        let member = authority.enroll(&format!("n{index:03}"), &[]);
        let (link, now) = (LinkId(index), now(index * 10));
        node.handle_timeout(now);
        assert!(member.arrives(&mut node, index, now), "{index} finds no place");
        let ask = Renewal::Ask { id: 1, csr: vec![1] };
        node.handle_body(link, Body::Renewal(ask), now).unwrap();
        let petition = actions(&mut node).into_iter().find_map(|action| match action {
            Action::Renew(petition) => Some(petition),
            _ => None,
        });
        let petition = petition.unwrap();
        node.handle_renewal_answered(petition.link, petition.id, Ok(vec![vec![7]]));
        let said = said_to(link, &actions(&mut node));
        let granted = Renewal::Granted { id: 1, chain: vec![vec![7]] };
        answered += u64::from(said.contains(&Body::Renewal(granted)));
        // What it has asked for is settled.
        node.handle_body(link, Body::Spread(Spread::Wanted(false)), now).unwrap();
    }
    assert_eq!(answered, LINKS_MAX as u64 + 100);
}
