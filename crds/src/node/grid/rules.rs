//! Which message goes to which topic, and what clients may subscribe to by themselves (Grid section 5, G-12).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Violation,
    law::{self, Law},
    pattern, violation,
};

/// The topics that learn of connections that come and go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Events {
    /// The topic of handshakes; empty: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 255), regex(pattern = pattern::TOPIC_OR_EMPTY))]
    pub handshake: String,
    /// The topic of closes; empty: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 255), regex(pattern = pattern::TOPIC_OR_EMPTY))]
    pub close: String,
}

/// A rule: what matches goes to the topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicRule {
    /// What the message must be like; absent: every message.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<MessageMatch>,
    /// The topic.
    #[schemars(length(min = 1, max = 255), regex(pattern = pattern::TOPIC))]
    pub topic: String,
    /// Whether the rule also works while `holdUntil` holds messages back: a login must pass.
    #[serde(default)]
    pub before_hold: bool,
}

/// What a message must be like: everything that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(LAWS))]
pub struct MessageMatch {
    /// The path of the handshake.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 255))]
    pub path: String,
    /// The subprotocol that was agreed on.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub subprotocol: String,
    /// A JSON pointer into the message.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 255), regex(pattern = pattern::POINTER_OR_EMPTY))]
    pub json_pointer: String,
    /// What stands at the pointer; empty: anything.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 255))]
    pub equals: String,
    /// A regular expression that the text must match.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 255))]
    pub regex: String,
    /// The types of frame; empty: text and binary.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "set"))]
    pub frames: Vec<FrameType>,
}

/// The types of frame that a rule may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are those of RFC 6455")]
pub enum FrameType {
    Text,
    Binary,
    Ping,
    Pong,
    Close,
}

/// What end users may subscribe to by themselves, by a field of their own messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(COMMAND_LAWS))]
pub struct ClientCommands {
    /// The JSON pointer of the command.
    #[schemars(length(min = 1, max = 255), regex(pattern = pattern::POINTER))]
    pub pointer: String,
    /// The JSON pointer of the channel, or of a list of channels.
    #[schemars(length(min = 1, max = 255), regex(pattern = pattern::POINTER))]
    pub channel_pointer: String,
    /// The commands that subscribe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub subscribe: Vec<String>,
    /// The commands that unsubscribe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub unsubscribe: Vec<String>,
    /// The channels that are allowed: `*` stands for any text, `{key}` for a value of the context, taken literally.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 255), regex(pattern = pattern::TOPIC)), extend("x-kubernetes-list-type" = "set"))]
    pub allow: Vec<String>,
}

/// What a compiled expression may take, in bytes: a bound on what a configuration can make the gateway hold.
pub const MOST_OF_REGEX: usize = 256 * 1024;

/// The laws of [`MessageMatch`].
const LAWS: &[Law<MessageMatch>] = &[Law {
    field: ".equals",
    cel: "!has(self.equals) || self.equals == '' || (has(self.jsonPointer) && self.jsonPointer != '')",
    message: "needs jsonPointer: what shall be equal",
    holds: |m| m.equals.is_empty() || !m.json_pointer.is_empty(),
}];

/// The laws of [`ClientCommands`].
const COMMAND_LAWS: &[Law<ClientCommands>] = &[
    Law {
        field: ".subscribe",
        cel: "has(self.subscribe) && self.subscribe.size() > 0",
        message: "must name at least one command",
        holds: |c| !c.subscribe.is_empty(),
    },
    Law {
        field: ".allow",
        cel: "self.allow.all(channel, channel.matches('^([^{}]|[{][^*{}]+[}])+$'))",
        message: "must name a key of the context between each pair of braces, as in user:{user_id}, and have no other brace",
        holds: |c| c.allow.iter().all(|channel| has_whole_braces(channel)),
    },
];

/// Whether each brace is one of a pair around a key: [`COMMAND_LAWS`] in Rust.
fn has_whole_braces(pattern: &str) -> bool {
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '}']) {
        let (brace, after) = rest[at..].split_at(1);
        match after.split_once('}') {
            Some((key, behind)) if brace == "{" && !key.is_empty() && !key.contains(['*', '{']) => rest = behind,
            _ => return false,
        }
    }
    true
}

impl TopicRule {
    pub(super) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        if let Some(matches) = &self.matches {
            law::judge(LAWS, matches, &format!("{path}.match"), broken);
            // No rule of CEL asks whether an expression is one, so it is asked here.
            if regex::RegexBuilder::new(&matches.regex).size_limit(MOST_OF_REGEX).build().is_err() {
                let rule = "must be a regular expression, and not a large one".to_owned();
                broken.push(violation::broken(&format!("{path}.match.regex"), rule));
            }
        }
    }
}

impl ClientCommands {
    pub(super) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(COMMAND_LAWS, self, path, broken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_in_pairs_around_a_key() {
        for good in ["*", "room:*", "user:{user_id}", "{a}{b}:*", "a"] {
            assert!(has_whole_braces(good), "{good}");
        }
        for bad in ["user:{user_id", "user_id}", "{}", "{a*}", "{a{b}}", "{{a}}", "a}{b"] {
            assert!(!has_whole_braces(bad), "{bad}");
        }
    }
}
