//! Subscriptions that clients ask for by their own messages, within the channels that the listener allows.

use crds::ClientCommands;
use serde_json::Value;

use super::{Content, Pattern};
use crate::{Channel, GridError, OF_DIRECTORY, context::Context};

/// What clients may ask for.
#[derive(Debug)]
pub struct Commands {
    given: ClientCommands,
    allow: Vec<Pattern>,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// To be subscribed to channels.
    Subscribe(Vec<Channel>),
    /// To be subscribed to them no more.
    Unsubscribe(Vec<Channel>),
}

/// Channels of one command.
const MOST_CHANNELS: usize = 128;

impl Commands {
    pub(super) fn compile(given: &ClientCommands) -> Result<Self, GridError> {
        let allow = given.allow.iter().map(|pattern| Pattern::compile(pattern)).collect::<Result<_, _>>()?;
        Ok(Self { given: given.clone(), allow })
    }

    /// Whether a message is one.
    #[must_use]
    pub fn are_in(&self, content: &Content<'_>) -> bool {
        self.kind(content).is_some()
    }

    /// The command in a message; `None` where it is none.
    ///
    /// # Errors
    /// Channels that cannot be read (101), or that this client may not have (501): of several all or none.
    pub fn read(&self, content: &Content<'_>, context: &Context) -> Option<Result<Command, GridError>> {
        let make = self.kind(content)?;
        let channels = self.channels(content.at(&self.given.channel_pointer));
        Some(channels.and_then(|channels| self.allowed(channels, context)).map(make))
    }

    fn kind(&self, content: &Content<'_>) -> Option<fn(Vec<Channel>) -> Command> {
        let word = content.at(&self.given.pointer)?.as_str()?;
        let is_of = |list: &[String]| list.iter().any(|known| known == word);
        if is_of(&self.given.subscribe) {
            Some(Command::Subscribe)
        } else if is_of(&self.given.unsubscribe) {
            Some(Command::Unsubscribe)
        } else {
            None
        }
    }

    fn channels(&self, value: Option<&Value>) -> Result<Vec<Channel>, GridError> {
        let all = match value {
            Some(Value::Array(all)) if (1..=MOST_CHANNELS).contains(&all.len()) => all.as_slice(),
            Some(one @ Value::String(_)) => std::slice::from_ref(one),
            _ => {
                let pointer = &self.given.channel_pointer;
                return Err(GridError::invalid(format!(
                    "{pointer} is a channel, or a list of at most {MOST_CHANNELS}"
                )));
            }
        };
        let name = |value: &Value| Channel::new(value.as_str().unwrap_or_default()).map_err(GridError::from);
        all.iter().map(name).collect()
    }

    fn allowed(&self, channels: Vec<Channel>, context: &Context) -> Result<Vec<Channel>, GridError> {
        // What was allowed before there was a directory does not open it.
        let is_meant =
            |pattern: &Pattern, channel: &Channel| !channel.is_of_directory() || pattern.begins_with(OF_DIRECTORY);
        let is_allowed = |channel: &Channel| {
            self.allow.iter().any(|pattern| is_meant(pattern, channel) && pattern.allows(channel.as_str(), context))
        };
        match channels.iter().find(|channel| !is_allowed(channel)) {
            Some(channel) => {
                Err(GridError::NotPermitted(format!("channel {channel} is not among those of this client")))
            }
            None => Ok(channels),
        }
    }
}
