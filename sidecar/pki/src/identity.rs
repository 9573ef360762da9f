//! The names that a node carries in its certificates (PTP section 12.3).

use crate::error::PkiError;

/// The domain under which the standard names every node.
const DOMAIN: &str = "trustbe.cn";

/// The longest label that DNS allows (RFC 1035 section 2.3.4); the node id is one label of the node's name.
const LABEL_MAX: usize = 63;

/// Who a certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node's id.
    pub node_id: String,
    /// The institution's name, in any script.
    pub name: String,
}

impl Identity {
    /// The DNS name of the node: `<node_id>.trustbe.cn`, in the case of the node id. Compare without regard to case.
    pub fn dns_name(&self) -> String {
        node_dns_name(&self.node_id)
    }

    /// The mail address that a root carries.
    pub(crate) fn root_mail(&self) -> String {
        format!("{}@{DOMAIN}", self.node_id)
    }

    /// The mail address that a leaf carries.
    pub(crate) fn leaf_mail(&self) -> String {
        format!("mail@{}", self.dns_name())
    }

    /// Refuses a node id that cannot be a DNS label: partners could never match it.
    pub(crate) fn check(&self) -> Result<(), PkiError> {
        let id = self.node_id.as_str();
        let fits = (1..=LABEL_MAX).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !id.starts_with(['-', '_'])
            && !id.ends_with(['-', '_']);
        if fits {
            return Ok(());
        }
        Err(PkiError::BadName {
            name: id.to_owned(),
            reason: "a node id has 1 to 63 letters, digits, - or _, and starts and ends with a letter or digit",
        })
    }
}

/// The node id in a name such as `lx0000010000270.trustbe.cn`; `None` for any other name.
pub fn node_of_dns_name(name: &str) -> Option<&str> {
    let (label, domain) = name.split_once('.')?;
    (domain.eq_ignore_ascii_case(DOMAIN) && !label.is_empty()).then_some(label)
}

/// The DNS name by which partners know a node: `<node_id>.trustbe.cn` (PTP section 12.4).
pub fn node_dns_name(node_id: &str) -> String {
    format!("{node_id}.{DOMAIN}")
}
