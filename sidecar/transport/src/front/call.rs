//! A call and its answer in plain types: what all dialects are decoded to and encoded from.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::StatusCode;
use mesh_core::{Code, NodeId, Refusal, Topic};
use tokio::time::{Duration, Instant};

use super::op::Op;
use crate::{Delivery, Metadata};

/// A decoded operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) topic: Topic,
    /// The timeout that the caller named.
    pub(crate) timeout: Option<Duration>,
    pub(crate) operation: Operation,
    pub(crate) reach: Reach,
}

impl Call {
    /// A push whose message is not here yet.
    pub(crate) fn arriving(topic: Topic, timeout: Option<Duration>) -> Self {
        let operation = Operation::Push { payload: Bytes::new(), metadata: None };
        Self { topic, timeout, operation, reach: Reach::Addressed }
    }
}

/// Where a call ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Where its target ids say.
    #[default]
    Addressed,
    /// Here, whatever they say; a read takes only messages whose push claimed this source.
    Here { from: Option<NodeId> },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Push { payload: Bytes, metadata: Option<Arc<Metadata>> },
    Pop,
    Peek,
    Release,
}

impl Operation {
    pub(crate) fn op(&self) -> Op {
        match self {
            Self::Push { .. } => Op::Push,
            Self::Pop => Op::Pop,
            Self::Peek => Op::Peek,
            Self::Release => Op::Release,
        }
    }
}

/// When a call came, and how long its caller waits, as far as the protocol under it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) since: Instant,
    /// `grpc-timeout`.
    pub(crate) limit: Option<Duration>,
}

/// The answer to a call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) message: Cow<'static, str>,
    pub(crate) delivery: Option<Delivery>,
}

/// What a call comes to.
#[derive(Debug)]
pub(crate) enum Reply {
    Answer(Answer),
    /// An HTTP answer of the partner that is no answer of the protocol, passed on as it came (PTP section 8.4).
    PassedOn {
        status: StatusCode,
        text: Bytes,
    },
}

impl Reply {
    /// Whether it is a success without a message.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Answer(answer) if answer.code.is_success() && answer.delivery.is_none())
    }
}

impl Answer {
    /// Success, with a message where there is one.
    pub(crate) fn success(delivery: Option<Delivery>) -> Self {
        Self { code: Code::SUCCESS, message: Code::SUCCESS.text().into(), delivery }
    }

    /// Whether it is nothing but [`Answer::success`] without a message.
    pub(crate) fn is_plain_success(&self) -> bool {
        self.code.is_success() && self.delivery.is_none() && self.message == Code::SUCCESS.text()
    }

    /// An empty pop, as FATE OSX names it (PTP section 5.2).
    pub(crate) fn timed_out() -> Self {
        Self { code: Code::TIMEOUT, message: Code::TIMEOUT.text().into(), delivery: None }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, message: refusal.message.into(), delivery: None }
    }
}
