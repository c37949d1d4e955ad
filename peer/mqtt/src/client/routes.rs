//! The routes of the topics that one connection published on last.
//!
//! **Invariant:** a route is used only while topics and rights are as they were when it was found.

use std::collections::VecDeque;
use std::sync::Arc;

use bytestring::ByteString;

use crate::limits::ROUTES_MAX;
use crate::route::Route;

#[derive(Debug, Default)]
pub(super) struct Routes {
    version: u64,
    known: VecDeque<(ByteString, Option<Arc<Route>>)>,
}

impl Routes {
    /// The route of a topic, `None` within if it may not be published on; `find` is asked when it
    /// is not known.
    pub(super) fn find(
        &mut self,
        version: u64,
        topic: &ByteString,
        find: impl FnOnce() -> Option<Route>,
    ) -> Option<Arc<Route>> {
        if self.version != version {
            self.known.clear();
            self.version = version;
        }
        if let Some((_, route)) = self.known.iter().find(|(known, _)| known == topic) {
            return route.clone();
        }
        let route = find().map(Arc::new);
        if self.known.len() >= ROUTES_MAX {
            self.known.pop_back();
        }
        // Its own bytes: what was read with it is not held on to.
        self.known.push_front((ByteString::from(&**topic), route.clone()));
        route
    }
}
