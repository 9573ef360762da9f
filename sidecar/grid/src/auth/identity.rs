//! Who somebody is that was let in, within the listener's bounds: what a token and a hook have in common.

use std::time::Duration;

use crds::ConnectionLimits;
use ring::digest;

use crate::{Channel, Context, Entries};

/// Who was let in.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The first context.
    pub context: Context,
    /// The first channels.
    pub channels: Vec<Channel>,
    /// How long the credentials hold; then the connection is closed with 3501.
    pub expires: Option<Duration>,
    /// Who it is: only the same may renew the session.
    pub subject: Subject,
}

/// The bearer of a token: its `sub`, or all that is taken from it where it has none. Only a sum of it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject([u8; 32]);

/// What was said of somebody.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) entries: Entries,
    pub(super) channels: Vec<String>,
    pub(super) expires: Option<Duration>,
    pub(super) subject: Option<String>,
}

impl Given {
    /// Takes it, if a connection may have as much.
    pub(super) fn within(self, limits: &ConnectionLimits) -> Result<Identity, String> {
        let mut context = Context::default();
        let most = usize::try_from(limits.context_bytes.bytes()).unwrap_or(usize::MAX);
        context.merge(self.entries, most).map_err(|e| e.to_string())?;
        if self.channels.len() > usize::from(limits.channels) {
            return Err(format!("a connection has at most {} channels", limits.channels));
        }
        let channels = self.channels.iter().map(|name| Channel::new(name)).collect::<Result<_, _>>();
        let channels = channels.map_err(|e| format!("a channel: {e}"))?;
        // Without a name all that is known of somebody has to be the same.
        let subject = self
            .subject
            .map_or_else(|| serde_json::to_string(&context).unwrap_or_default(), |sub| format!("sub {sub}"));
        Ok(Identity { context, channels, expires: self.expires, subject: Subject::of(&subject) })
    }
}

impl Subject {
    fn of(text: &str) -> Self {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        Self(sum)
    }
}
