//! Urns: which method of which node a generic call is for (PTP section 8.1).
//!
//! `environ.net.mesh.<flag>.<node>.trustbe.cn` is the MPI `mesh.net.environ` of a node: the name backwards, a flag of 37
//! digits, the id of a node or of an institution, a domain.

use http::Uri;

/// Version, protocol, codec, API version, zone, cluster, cell, group, address and port, in digits.
const FLAG_DIGITS: usize = 37;

/// Fewer labels are no urn.
const FEWEST_LABELS: usize = 5;

/// A urn, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urn<'u> {
    labels: Vec<&'u str>,
    flag: usize,
}

impl<'u> Urn<'u> {
    /// Reads a urn; `None` for any other text.
    #[must_use]
    pub fn read(text: &'u str) -> Option<Self> {
        let labels = labels(text);
        let flag = labels.iter().position(|label| is_flag(label))?;
        (labels.len() >= FEWEST_LABELS).then_some(Self { labels, flag })
    }

    /// The urn in the place of a host: Go clients put it there.
    #[must_use]
    pub fn in_authority(uri: &Uri) -> Option<&str> {
        let host = uri.authority()?.host();
        Urn::read(host).map(|_| host)
    }

    /// The name of the method, the right way round.
    #[must_use]
    pub fn name(&self) -> String {
        let name: Vec<&str> = self.labels[..self.flag].iter().rev().copied().collect();
        name.join(".")
    }

    /// The id of the node or institution.
    #[must_use]
    pub fn node(&self) -> Option<&'u str> {
        self.labels.get(self.flag + 1).copied().filter(|label| !label.is_empty())
    }
}

/// The parts between dots; what stands in `${}` is one part, dots or not.
fn labels(text: &str) -> Vec<&str> {
    let (mut labels, mut start, mut within) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if text[..at].ends_with('$') => within = true,
            b'}' => within = false,
            b'.' if !within => {
                labels.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    labels.push(&text[start..]);
    labels
}

fn is_flag(label: &str) -> bool {
    label.len() == FLAG_DIGITS && label.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FLAG: &str = "0001000000000000000000000000000000000";

    #[test]
    fn a_urn_names_its_method_and_its_node() {
        let table = [
            (
                format!("environ.net.mesh.{FLAG}.lx0000000000000.trustbe.cn"),
                "mesh.net.environ",
                Some("lx0000000000000"),
            ),
            (format!("push.${{a.b}}.mesh.{FLAG}.jg1.trustbe.cn"), "mesh.${a.b}.push", Some("jg1")),
            (format!("a.b.c.d.{FLAG}"), "d.c.b.a", None),
            (format!("a.b.c.{FLAG}..cn"), "c.b.a", None),
        ];
        for (text, name, node) in table {
            let urn = Urn::read(&text).unwrap();
            assert_eq!((urn.name().as_str(), urn.node()), (name, node), "{text}");
        }
    }

    #[test]
    fn an_authority_may_be_a_urn() {
        let urn = format!("pop.chan.mesh.{FLAG}.lx0000000000000.trustbe.cn");
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        assert_eq!(Urn::in_authority(&uri(&format!("http://{urn}:7304/mesh-rpc/v1"))), Some(urn.as_str()));
        assert_eq!(Urn::in_authority(&uri("http://b:1/")), None);
        assert_eq!(Urn::in_authority(&uri("/mesh-rpc/v1")), None);
    }

    #[test]
    fn what_has_too_few_labels_or_no_flag_is_no_urn() {
        for text in ["", "mesh.net.environ", "a.b.c.d.e.f", &format!("a.{FLAG}.b"), "127.0.0.1:7304"] {
            assert_eq!(Urn::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,60}|[a-z.${}0]{0,90}") {
            if let Some(urn) = Urn::read(&text) {
                let _ = (urn.name(), urn.node());
            }
        }
    }
}
