//! What a caller of the backends' API may do: a role, and patterns of topics and channels (G-21).

use crds::{BackendRole, BackendUser};

use crate::{Channel, GridError, Topic, context::Context, envelope::Call, rules::Pattern};

/// What a caller may do.
#[derive(Clone, Debug)]
pub struct Permit {
    /// Who it is, as refusals say it.
    pub name: String,
    role: BackendRole,
    /// Empty: all.
    topics: Vec<Pattern>,
    channels: Vec<Pattern>,
}

impl Permit {
    /// A container of the same pod, or a sidecar of the node: it may do everything.
    #[must_use]
    pub fn local() -> Self {
        Self { name: "local".into(), role: BackendRole::Write, topics: Vec::new(), channels: Vec::new() }
    }

    /// A user of the configuration.
    ///
    /// # Errors
    /// A pattern that cannot be compiled.
    pub fn of(user: &BackendUser) -> Result<Self, GridError> {
        let compile = |all: &[String]| all.iter().map(|text| Pattern::compile(text)).collect::<Result<Vec<_>, _>>();
        let (topics, channels) = (compile(&user.topics)?, compile(&user.channels)?);
        Ok(Self { name: user.name.clone(), role: user.role, topics, channels })
    }

    /// Refuses what the caller may not do, with the code that the method has for it.
    ///
    /// # Errors
    /// 201, 301, 401's own or 501 (Grid section 3).
    pub fn check(&self, call: &Call) -> Result<(), GridError> {
        let may_write = self.role == BackendRole::Write;
        match call {
            Call::Ping => Ok(()),
            Call::Remote(_, function) if may_write => {
                // Else a pattern of channels would be none: whoever may subscribe others reaches every channel's subscribers.
                let refused = function.channels().iter().find(|channel| !self.publishes(channel));
                refused.map_or(Ok(()), |channel| {
                    Err(GridError::CallFailed(format!("{} may not subscribe anybody to {channel}", self.name)))
                })
            }
            Call::Remote(_, function) if function.is_read_only() => Ok(()),
            Call::Remote(..) => Err(GridError::CallFailed(self.only_reads())),
            Call::Pop(topics, _) => {
                let refused = topics.iter().find(|topic| !self.may_consume(topic));
                refused.map_or(Ok(()), |topic| {
                    Err(GridError::NotConsumed { topic: topic.to_string(), reason: "this caller may not consume it" })
                })
            }
            Call::Publish(channels, _) => self.check_publishing(channels),
            Call::Send(..) | Call::Unpop(_) | Call::Ack(_) | Call::Nack(..) => {
                if may_write {
                    Ok(())
                } else {
                    Err(GridError::NotPermitted(self.only_reads()))
                }
            }
        }
    }

    /// The same of publishing to these channels, whatever is published.
    ///
    /// # Errors
    /// 501.
    pub fn check_publishing(&self, channels: &[Channel]) -> Result<(), GridError> {
        if self.role != BackendRole::Write {
            return Err(GridError::NotPermitted(self.only_reads()));
        }
        if let Some(channel) = channels.iter().find(|channel| channel.is_of_directory()) {
            let text = format!("only this node's directory publishes to {channel}");
            return Err(GridError::NotPermitted(text));
        }
        let refused = channels.iter().find(|channel| !self.publishes(channel));
        refused.map_or(Ok(()), |channel| {
            Err(GridError::NotPermitted(format!("{} may not publish to {channel}", self.name)))
        })
    }

    fn only_reads(&self) -> String {
        format!("{} may only read: its role is read", self.name)
    }

    /// Whether the caller may consume a topic.
    #[must_use]
    pub fn may_consume(&self, topic: &Topic) -> bool {
        self.role == BackendRole::Write && allows(&self.topics, topic.as_str())
    }

    fn publishes(&self, channel: &Channel) -> bool {
        allows(&self.channels, channel.as_str())
    }
}

fn allows(patterns: &[Pattern], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.allows(name, &Context::default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::envelope::Request;

    fn user(json: &serde_json::Value) -> Permit {
        let mut user = json!({"name": "shop", "secretRef": {"name": "s"}});
        user.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        Permit::of(&serde_json::from_value(user).unwrap()).unwrap()
    }

    fn code(permit: &Permit, text: &str) -> u16 {
        permit.check(&Request::read(text).call.unwrap()).map_or_else(|e| e.code(), |()| 0)
    }

    #[test]
    fn nobody_publishes_what_the_directory_says() {
        let everything = user(&json!({"role": "write"}));
        for permit in [Permit::local(), everything] {
            assert_eq!(code(&permit, r#"{"m":"mesh.publish","p":{"c":["room:1","datanet:yunqi"],"d":"x"}}"#), 501);
            assert_eq!(code(&permit, r#"{"m":"mesh.publish","p":{"c":"datanet","d":"x"}}"#), 0);
            assert_eq!(code(&permit, r#"{"m":"conn.call","p":{"c":"7","f":"subscribe","a":["datanet:yunqi"]}}"#), 0);
        }
    }

    #[test]
    fn each_method_has_its_code_for_who_may_not() {
        let reader = user(&json!({}));
        let writer = user(&json!({"role": "write", "topics": ["orders", "log-*"], "channels": ["room:*"]}));
        let table = [
            (r#"{"m":"server.ping"}"#, 0, 0),
            (r#"{"m":"mesh.send","p":{"c":"7","d":"x"}}"#, 501, 0),
            (r#"{"m":"mesh.publish","p":{"c":"room:1","d":"x"}}"#, 501, 0),
            (r#"{"m":"mesh.publish","p":{"c":["room:1","hall"],"d":"x"}}"#, 501, 501),
            (r#"{"m":"queue.pop","p":{"t":["orders","log-1"]}}"#, 201, 0),
            (r#"{"m":"queue.pop","p":{"t":["orders","secret"]}}"#, 201, 201),
            (r#"{"m":"queue.unpop"}"#, 501, 0),
            (r#"{"m":"queue.ack","p":{"k":1}}"#, 501, 0),
            (r#"{"m":"conn.call","p":{"c":"7","f":"info"}}"#, 0, 0),
            (r#"{"m":"conn.call","p":{"c":"7","f":"pause"}}"#, 301, 0),
            (r#"{"m":"conn.call","p":{"c":"7","f":"get_context"}}"#, 301, 0),
            (r#"{"m":"conn.call","p":{"c":"7","f":"subscribe","a":["room:1"]}}"#, 301, 0),
            (r#"{"m":"conn.call","p":{"c":"7","f":"subscribe","a":["room:1","hall"]}}"#, 301, 301),
            (r#"{"m":"conn.call","p":{"c":"7","f":"unsubscribe","a":["hall"]}}"#, 301, 301),
        ];
        for (text, reads, writes) in table {
            assert_eq!((code(&reader, text), code(&writer, text)), (reads, writes), "{text}");
            assert_eq!(code(&Permit::local(), text), 0, "{text}");
        }
    }
}
