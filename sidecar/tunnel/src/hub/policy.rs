//! Who may reach whom, by label (NC section 8): once there is a rule, what no rule allows is denied.
//!
//! Pure. A packet is judged by itself: no table of connections is kept, so the way back is open for packets that continue a
//! conversation, as far as one packet can tell. A UDP packet cannot: a rule without ports opens both ways for UDP.

use std::collections::BTreeMap;

use crds::{Tunnel, TunnelRule};

use crate::packet::{Flow, Ipv4, Opening};

/// Rules of a policy that can be held apart; a MeshNode has no more.
const MOST: usize = 128;

/// Whether one node may open a connection to another, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no rule.
    Open,
    /// This rule allows it, counted from zero.
    Allowed(usize),
    /// No rule does.
    Denied,
    /// Nodes reach the server only.
    Isolated,
}

/// Whether labels of a rule name a node that has these.
pub fn names(rule: &BTreeMap<String, String>, node: &BTreeMap<String, String>) -> bool {
    rule.iter().all(|(key, value)| node.get(key) == Some(value))
}

/// What a tunnel's rules say of two nodes with these labels. Without a port: whether anything passes.
pub fn judge(
    tunnel: &Tunnel,
    from: &BTreeMap<String, String>,
    to: &BTreeMap<String, String>,
    port: Option<u16>,
) -> Verdict {
    if !tunnel.interconnection {
        return Verdict::Isolated;
    }
    if tunnel.policy.is_empty() {
        return Verdict::Open;
    }
    let allows = |rule: &TunnelRule| {
        let fits = rule.ports.is_empty() || port.is_none_or(|port| rule.ports.contains(&port));
        fits && names(&rule.from, from) && names(&rule.to, to)
    };
    tunnel.policy.iter().take(MOST).position(allows).map_or(Verdict::Denied, Verdict::Allowed)
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    rules: Vec<TunnelRule>,
    /// Tells this policy from those before it.
    number: u64,
}

/// Which rules name a peer: a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    from: u128,
    to: u128,
    number: u64,
}

impl Policy {
    /// `number`: another one for each policy of a hub, above zero.
    pub(crate) fn new(rules: &[TunnelRule], number: u64) -> Self {
        Self { rules: rules.iter().take(MOST).cloned().collect(), number }
    }

    /// Whether all is allowed.
    pub(crate) fn is_open(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether marks are of this policy.
    pub(crate) fn made(&self, marks: &Marks) -> bool {
        marks.number == self.number
    }

    /// The rules that name a peer with these labels.
    pub(crate) fn marks(&self, labels: &BTreeMap<String, String>) -> Marks {
        let bits = |named: fn(&TunnelRule) -> &BTreeMap<String, String>| {
            let rules = self.rules.iter().enumerate();
            rules.filter(|(_, rule)| names(named(rule), labels)).fold(0u128, |bits, (n, _)| bits | 1 << n)
        };
        Marks { from: bits(|rule| &rule.from), to: bits(|rule| &rule.to), number: self.number }
    }

    /// Whether a packet may go from one to the other.
    pub(crate) fn allows(&self, from: &Marks, to: &Marks, packet: &Ipv4<'_>) -> bool {
        let (there, back) = (from.from & to.to, from.to & to.from);
        if there | back == 0 {
            return false;
        }
        let flow = Flow::of(packet);
        // Without their first, which has the ports, later fragments are worth nothing to anybody.
        let is_later = packet.offset > 0;
        let goes = self.rules_of(there).any(|rule| {
            rule.ports.is_empty() || is_later || flow.ports.is_some_and(|(_, port)| rule.ports.contains(&port))
        });
        let comes_back = |rule: &TunnelRule| {
            rule.ports.is_empty() || is_later || flow.ports.is_some_and(|(port, _)| rule.ports.contains(&port))
        };
        goes || flow.opening != Opening::Begins && self.rules_of(back).any(comes_back)
    }

    fn rules_of(&self, bits: u128) -> impl Iterator<Item = &TunnelRule> {
        self.rules.iter().enumerate().filter(move |(n, _)| bits & (1 << n) != 0).map(|(_, rule)| rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{packet::made, testing::tunnel};

    fn labels(role: &str) -> BTreeMap<String, String> {
        [("role".to_owned(), role.to_owned())].into()
    }

    fn rule(from: &str, to: &str, ports: &[u16]) -> TunnelRule {
        TunnelRule { from: labels(from), to: labels(to), ports: ports.to_vec() }
    }

    fn allows(policy: &Policy, from: &str, to: &str, packet: &[u8]) -> bool {
        let marks = |role| policy.marks(&labels(role));
        policy.allows(&marks(from), &marks(to), &Ipv4::read(packet).unwrap())
    }

    const A: [u8; 4] = [10, 1, 1, 3];
    const B: [u8; 4] = [10, 1, 1, 5];
    const SYN: u8 = 2;
    const ACK: u8 = 16;

    #[test]
    fn a_rule_opens_its_ports_one_way_and_the_way_back_for_what_continues() {
        let policy = Policy::new(&[rule("camera", "store", &[443]), rule("probe", "store", &[])], 1);
        let to = |flags, ports| made::tcp(A, B, ports, flags, &[]);
        let table = [
            ("camera", "store", to(SYN, (5000, 443)), true),
            ("camera", "store", to(SYN, (5000, 80)), false),
            ("store", "camera", to(SYN | ACK, (443, 5000)), true),
            ("store", "camera", to(ACK, (80, 5000)), false),
            ("store", "camera", to(SYN, (443, 5000)), false),
            ("store", "camera", to(SYN, (5000, 443)), false),
            ("camera", "store", made::echo(A, B, 8, b"x"), false),
            ("probe", "store", made::echo(A, B, 8, b"x"), true),
            ("store", "probe", made::echo(A, B, 0, b"x"), true),
            ("store", "probe", made::echo(A, B, 8, b"x"), false),
            ("store", "probe", made::udp(A, B, (53, 9), b"x"), true),
            ("camera", "camera", to(SYN, (1, 443)), false),
            ("stranger", "store", to(SYN, (1, 443)), false),
        ];
        for (n, (from, to, packet, allowed)) in table.into_iter().enumerate() {
            assert_eq!(allows(&policy, from, to, &packet), allowed, "row {n}: {from} -> {to}");
        }
    }

    #[test]
    fn what_is_said_of_two_nodes_is_what_happens_to_their_packets() {
        let rules = vec![rule("camera", "store", &[443, 80]), rule("probe", "store", &[])];
        let with = |policy: &[TunnelRule]| Tunnel { interconnection: true, policy: policy.to_vec(), ..tunnel() };
        let said = |tunnel: &Tunnel, from, to, port| judge(tunnel, &labels(from), &labels(to), port);
        let policy = Policy::new(&rules, 1);
        for (from, to, port, verdict) in [
            ("camera", "store", Some(443), Verdict::Allowed(0)),
            ("camera", "store", Some(22), Verdict::Denied),
            ("camera", "store", None, Verdict::Allowed(0)),
            ("probe", "store", Some(22), Verdict::Allowed(1)),
            ("store", "camera", Some(443), Verdict::Denied),
            ("camera", "camera", None, Verdict::Denied),
        ] {
            assert_eq!(said(&with(&rules), from, to, port), verdict, "{from} {to} {port:?}");
            let packet = made::tcp(A, B, (5000, port.unwrap_or(80)), SYN, &[]);
            assert_eq!(allows(&policy, from, to, &packet), verdict != Verdict::Denied, "{from} {to} {port:?}");
        }
        assert_eq!(said(&with(&[]), "camera", "store", None), Verdict::Open);
        let isolated = Tunnel { interconnection: false, ..with(&rules) };
        assert_eq!(said(&isolated, "camera", "store", None), Verdict::Isolated);
    }

    #[test]
    fn no_rules_are_no_policy_and_an_empty_rule_allows_all() {
        assert!(Policy::default().is_open());
        let policy = Policy::new(&[TunnelRule::default()], 1);
        assert!(!policy.is_open() && allows(&policy, "a", "b", &made::echo(A, B, 8, b"")));
    }

    #[test]
    fn marks_are_of_one_policy() {
        let (one, two) = (Policy::new(&[], 1), Policy::new(&[], 2));
        let marks = one.marks(&labels("a"));
        assert!(one.made(&marks) && !two.made(&marks) && !one.made(&Marks::default()));
    }
}
