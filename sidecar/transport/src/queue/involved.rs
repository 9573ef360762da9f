//! The partners that may read what applications push in a session (PTP section 2, last paragraph).

use std::cmp::Ordering;

use mesh_core::NodeId;

/// The partners that a session involves. Most sessions involve none, so none takes one word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Involved {
    /// In order, without regard to case, as ids compare.
    #[allow(clippy::box_collection, reason = "an idle session must be small")]
    partners: Option<Box<Vec<NodeId>>>,
}

impl Involved {
    pub(crate) fn has(&self, partner: &NodeId) -> bool {
        self.partners.as_ref().is_some_and(|all| search(all, partner).is_ok())
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[NodeId] {
        self.partners.as_ref().map_or(&[], |all| all.as_slice())
    }

    /// Adds a partner; `false` if it was there.
    pub(crate) fn add(&mut self, partner: &NodeId) -> bool {
        let all = self.partners.get_or_insert_default();
        match search(all, partner) {
            Ok(_) => false,
            Err(place) => {
                all.insert(place, partner.clone());
                true
            }
        }
    }
}

fn search(all: &[NodeId], partner: &NodeId) -> Result<usize, usize> {
    all.binary_search_by(|known| compare(known, partner))
}

fn compare(a: &NodeId, b: &NodeId) -> Ordering {
    let folded = |byte: u8| byte.to_ascii_lowercase();
    a.as_str().bytes().map(folded).cmp(b.as_str().bytes().map(folded))
}
