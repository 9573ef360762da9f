//! Why a control call is refused. Keys and certificates are never repeated in the text.

use mesh_core::{Code, Fault, NodeId, ProtocolError, Retry};
use mesh_pki::{PkiError, PkiErrorKind};

use crate::RouteError;

/// Why a control call is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The body is no JSON object.
    #[error("the body is no JSON object ({reason})")]
    NotJson {
        /// Where and what, without the text itself.
        reason: String,
    },
    /// A member must be there.
    #[error("{member} is missing or empty")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member is of another kind.
    #[error("{member} must be {expected}")]
    Kind {
        /// Its name.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A member breaks a rule of the resource that has it too.
    #[error("the rules of MeshRoute do not permit it: {broken}")]
    Rule {
        /// The fields and the rules.
        broken: String,
    },
    /// Two names of one thing say different things.
    #[error("{one} and {other} mean the same and differ: give one of them")]
    Contradiction {
        /// One name.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A certificate or key that cannot be used.
    #[error("{member}: {problem}")]
    Certificate {
        /// Where it was given.
        member: &'static str,
        /// What is wrong.
        problem: PkiError,
    },
    /// A certificate without its key, or the other way round.
    #[error("{given} was given without {missing}: they are a pair")]
    HalfPair {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// The address cannot be read.
    #[error(transparent)]
    Address(#[from] RouteError),
    /// A pair that a host sent and that is none of this node's under the host's root.
    #[error("the pair in host_crt cannot be used: {reason}")]
    UnfitPair {
        /// What is wrong with it.
        reason: String,
    },
    /// The call is about this node itself.
    #[error("node_id is this node itself: name a partner")]
    Ourselves,
    /// A partner speaks of somebody else's route.
    #[error("the route says {claimed}, the certificate is {node}'s: a node weaves for itself only")]
    ForeignRoute {
        /// The id in the document.
        claimed: String,
        /// The partner.
        node: NodeId,
    },
    /// A stranger uses an id that is taken.
    #[error("{claimed} has a route here: weave with the certificate that its roots ask for")]
    NotItself {
        /// The id in the document.
        claimed: String,
    },
    /// Somebody said no to that id.
    #[error("{claimed} was turned down here: ask its operator to take status bit 512 from the route, or to remove it")]
    TurnedDown {
        /// The id in the document.
        claimed: String,
    },
    /// Another party waits under that id.
    #[error("a weave of {node} with another root waits already: compare roots and codes, then ack it or turn it down")]
    OtherWeave {
        /// The id.
        node: String,
    },
    /// A yes that is meant for the route would let in somebody else.
    #[error(
        "a weave of {node} waits whose root is none of the route's, so it may be somebody else's: compare both (mesh route ls). \
         mesh route rm {node} --weave turns the weave down alone; an ack with its root (--root) trusts that one instead"
    )]
    ForeignWeave {
        /// The id.
        node: String,
    },
    /// Nobody asks.
    #[error("no weave of {node} waits here: mesh route ls shows those that do")]
    NothingWaits {
        /// The id.
        node: NodeId,
    },
    /// Strangers may not fill the disk.
    #[error("too many parties wait to be woven: answer or disband some, and try again")]
    TooManyWeaves,
    /// Nor may a partner keep everybody busy.
    #[error("{node} changes its route too often: try again in ten seconds")]
    TooOften {
        /// The partner.
        node: NodeId,
    },
    /// An address wants what nobody permits.
    #[error(
        "{address} has the tag k (skip verify): take it out, or start the node with PLUGIN_PROXY_INSECURE_SKIP=true"
    )]
    SkipVerify {
        /// The address.
        address: String,
    },
    /// A root for somebody else.
    #[error("this node makes no root but its own, {node}'s: nobody could be given the key")]
    OtherRoot {
        /// This node.
        node: NodeId,
    },
    /// Nothing to certify.
    #[error(
        "csr must be a certificate request (PKCS#10, PEM), or an object that has one as csr: this node gives no keys out, so make the key where it is used"
    )]
    NoRequest,
    /// More entries than the bound.
    #[error("{member} has more than {limit} entries")]
    TooMany {
        /// Which list.
        member: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The disk did not keep it.
    #[error("it could not be kept: {reason}")]
    NotKept {
        /// What the store said.
        reason: String,
    },
    /// A partner or a member of the node calls.
    #[error("{call} is open to this node's own applications only: call it from the same machine or pod over 127.0.0.1")]
    NotOpen {
        /// What was called.
        call: &'static str,
    },
    /// A stranger calls.
    #[error("{call} is not open to strangers: call it from the same machine or pod over 127.0.0.1")]
    Stranger {
        /// What was called.
        call: &'static str,
    },
}

impl ProtocolError for ControlError {
    fn code(&self) -> Code {
        match self {
            Self::NotJson { .. } | Self::Missing { .. } | Self::Kind { .. } | Self::Contradiction { .. } => {
                Code::BAD_REQUEST
            }
            Self::Rule { .. } => Code::BAD_REQUEST,
            // What is not PEM is 400, what does not fit is 603 (PTP section 12.1).
            Self::Certificate { problem, .. } => match problem.kind() {
                PkiErrorKind::NotPem | PkiErrorKind::BadRequest => Code::BAD_REQUEST,
                PkiErrorKind::Unfit => Code::CERTIFICATE,
                PkiErrorKind::Machine => Code::INTERNAL,
            },
            Self::HalfPair { .. } | Self::UnfitPair { .. } => Code::CERTIFICATE,
            Self::Ourselves | Self::TooMany { .. } | Self::NoRequest => Code::BAD_REQUEST,
            Self::ForeignRoute { .. } | Self::NotItself { .. } | Self::TurnedDown { .. } => Code::UNAUTHORISED,
            Self::NothingWaits { .. } => Code::NOT_WOVEN,
            Self::ForeignWeave { .. } | Self::OtherWeave { .. } | Self::OtherRoot { .. } | Self::SkipVerify { .. } => {
                Code::NOT_PERMITTED
            }
            Self::TooManyWeaves | Self::TooOften { .. } => Code::BUFFER_FULL,
            Self::NotKept { .. } => Code::INTERNAL,
            Self::Address(error) => error.code(),
            Self::NotOpen { .. } => Code::NOT_PERMITTED,
            Self::Stranger { .. } => Code::UNAUTHORISED,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::NotKept { .. } => Fault::Ours,
            _ => Fault::Caller,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::NotKept { .. } | Self::TooManyWeaves | Self::TooOften { .. } => Retry::Safe,
            _ => Retry::Useless,
        }
    }
}
