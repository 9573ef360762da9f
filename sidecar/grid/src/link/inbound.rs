//! What becomes of what a client sends: the text ping, its own subscriptions, messages that are held back, and the topics of all
//! others (Grid section 5). It knows no socket.

use std::{collections::VecDeque, sync::Arc};

use crds::{HoldUntil, Overflow};

use crate::{
    Grid, GridError, Taken, Topic,
    clients::Client,
    envelope::{Happened, answer},
    rules::{Command, Commands, Content, Peer},
    wire::{Close, CloseCode, Data, Opcode, Part},
};

/// One client's way in.
#[derive(Debug)]
pub(crate) struct Inbound {
    subprotocol: Box<str>,
    /// Events of this connection, so far.
    seq: u64,
    /// Once nothing holds messages back any more: that the key is taken out of the context later changes nothing.
    is_released: bool,
    /// In a box: most clients have none most of the time.
    pending: Option<Box<Pending>>,
}

/// What of a client is not done with.
#[derive(Debug, Default)]
struct Pending {
    /// Where the fragments of the message that is open go, and whether past what is held back. `None` where its beginning was not
    /// taken: then neither are they.
    open: Option<Place>,
    /// A new token that the client has brought, until it is taken (G-22).
    token: Option<String>,
    /// What waits for a key of the context, in order (G-20).
    held: VecDeque<Held>,
    held_bytes: usize,
}

/// A topic, and whether messages go there before the hold is over.
type Place = (Topic, bool);

/// A message that waits.
#[derive(Debug)]
struct Held {
    /// Where it goes; `None`: it is a command.
    topic: Option<Topic>,
    part: Part,
    ts: u64,
}

/// How the client asks to be answered when both sides say `ping` in text.
const PING: &str = "ping";
const PONG: &str = "pong";

impl Inbound {
    pub(crate) fn new(subprotocol: &str) -> Self {
        Self { subprotocol: subprotocol.into(), seq: 0, is_released: false, pending: None }
    }

    /// A message, or a fragment of one.
    pub(crate) fn part(&mut self, grid: &Grid, client: &Arc<Client>, part: Part, ts: u64) {
        if part.opcode == Opcode::Continuation {
            if let Some(place) = self.pending.as_mut().and_then(|pending| pending.open.take()) {
                self.take_in(grid, client, place, part, ts);
            }
            return;
        }
        let text = text_of(&part);
        if client.rules.listener.text_ping && part.fin && text == Some(PING) {
            return grid.clients.tell(client, PONG);
        }
        let content = text.map_or_else(Content::none, Content::of);
        if self.renews(grid, client, &content) {
            return;
        }
        if let Some(commands) = client.rules.commands.as_ref().filter(|commands| commands.are_in(&content)) {
            match self.hold(client) {
                // It may depend on who the client is, and what it said before comes before.
                Some(hold) => {
                    self.hold_back(grid, client, hold, Held { topic: None, part, ts });
                }
                None => command(grid, client, commands, &content),
            }
            return;
        }
        let place = client.rules.place(&part, &content, self.peer(client));
        if let Some(place) = place.map(|place| (place.topic.clone(), place.before_hold)) {
            self.take_in(grid, client, place, part, ts);
        }
    }

    /// Bytes that are held back.
    pub(crate) fn held_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.held_bytes)
    }

    /// How many messages, and fragments of them.
    fn held(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.held.len())
    }

    /// Nothing holds its messages back any more.
    pub(crate) fn is_released(&self) -> bool {
        self.is_released
    }

    /// The new token that the client has brought, once.
    pub(crate) fn take_token(&mut self) -> Option<String> {
        let token = self.pending.as_mut()?.token.take();
        self.tidy();
        token
    }

    /// A control frame: only a rule that asks for it takes it.
    pub(crate) fn control(&mut self, grid: &Grid, client: &Arc<Client>, (opcode, payload): (Opcode, &[u8]), ts: u64) {
        if let Some(topic) = client.rules.place_of_control(opcode, self.peer(client)).map(|place| place.topic.clone()) {
            self.push(grid, client, &topic, Happened::Control(opcode, payload), ts);
        }
    }

    /// The connection was made.
    pub(crate) fn opened(&mut self, grid: &Grid, client: &Arc<Client>, handshake: Happened<'_>, ts: u64) {
        if let Some(topic) = client.rules.handshakes.clone() {
            // It has said nothing: that this was not taken is not its business.
            self.tries(grid, client, &topic, handshake, ts);
        }
    }

    /// The connection has ended.
    pub(crate) fn closed(&mut self, grid: &Grid, client: &Arc<Client>, close: &Close, ts: u64) {
        if let Some(topic) = client.rules.closes.clone() {
            self.tries(grid, client, &topic, Happened::Closed(close), ts);
        }
    }

    /// Lets go of what is held back, once nothing holds it.
    pub(crate) fn release(&mut self, grid: &Grid, client: &Arc<Client>) {
        if self.hold(client).is_some() {
            return;
        }
        self.is_released = true;
        while !client.is_full()
            && let Some(Held { topic, part, ts }) = self.next_held()
        {
            match (topic, &client.rules.commands) {
                (Some(topic), _) => {
                    self.push(grid, client, &topic, Happened::Message(&part), ts);
                }
                (None, Some(commands)) => {
                    command(grid, client, commands, &text_of(&part).map_or_else(Content::none, Content::of));
                }
                (None, None) => {}
            }
        }
        self.tidy();
    }

    /// Whether more may be read now: nothing of the client waits for room, here or in its topic.
    pub(crate) fn reads(&self, grid: &Grid, client: &Client) -> bool {
        if client.is_full() || client.is_paused() {
            return false;
        }
        match self.hold(client) {
            None => self.held() == 0,
            Some(hold) => !self.is_full_of_held(client, hold) || self.overflow(grid, client) != Overflow::Pause,
        }
    }

    /// What becomes of one more where what is held back is full, after the last of it: nobody knows yet where the next one goes.
    fn overflow(&self, grid: &Grid, client: &Client) -> Overflow {
        let last = self.pending.as_ref().and_then(|pending| pending.held.back());
        overflow(grid, client, last.and_then(|held| held.topic.as_ref()))
    }

    /// The path is the listener's: no other leads to it.
    fn peer<'p>(&'p self, client: &'p Client) -> Peer<'p> {
        Peer { path: &client.rules.listener.path, subprotocol: &self.subprotocol }
    }

    /// Whether it was a new token.
    fn renews(&mut self, grid: &Grid, client: &Client, content: &Content<'_>) -> bool {
        let auth = client.rules.listener.auth.as_ref();
        let Some(refresh) = auth.and_then(crds::EndUserAuth::refresh) else { return false };
        if content.scalar_at(&refresh.pointer).as_deref() != Some(&*refresh.equals) {
            return false;
        }
        match content.at(&refresh.token_pointer).and_then(serde_json::Value::as_str) {
            Some(token) => self.pending().token = Some(token.to_owned()),
            None => refuse(grid, client, GridError::invalid(format!("{} is the new token", refresh.token_pointer))),
        }
        true
    }

    fn hold<'c>(&self, client: &'c Client) -> Option<&'c HoldUntil> {
        if self.is_released { None } else { holds(client) }
    }

    /// A message, or a fragment of one, on its way to its topic.
    fn take_in(&mut self, grid: &Grid, client: &Arc<Client>, (topic, before_hold): Place, part: Part, ts: u64) {
        let is_open = !part.fin;
        let hold = self.hold(client).filter(|_| !before_hold);
        let is_taken = match hold {
            Some(hold) => self.hold_back(grid, client, hold, Held { topic: Some(topic.clone()), part, ts }),
            None => self.push(grid, client, &topic, Happened::Message(&part), ts),
        };
        if is_taken && is_open {
            self.pending().open = Some((topic, before_hold));
        } else if let Some(pending) = &mut self.pending {
            pending.open = None;
        }
    }

    /// `false` where it is not kept.
    fn hold_back(&mut self, grid: &Grid, client: &Client, hold: &HoldUntil, held: Held) -> bool {
        while self.is_full_of_held(client, hold) {
            let overflow = overflow(grid, client, held.topic.as_ref());
            let count = || held.topic.iter().for_each(|topic| grid.metrics.full(topic, overflow));
            match overflow {
                Overflow::DropOldest if self.held() == 0 => break,
                Overflow::DropOldest => {
                    count();
                    let is_torn = self.drop_oldest();
                    if is_torn && held.part.opcode == Opcode::Continuation {
                        return false;
                    }
                }
                Overflow::DropNewest => {
                    count();
                    return false;
                }
                Overflow::Reject => {
                    count();
                    let reason = format!("{} messages wait for {} already", self.held(), hold.key);
                    refuse(grid, client, GridError::RateLimited(reason));
                    return false;
                }
                // It is the last one: the client is not read any more.
                Overflow::Pause => break,
            }
        }
        let pending = self.pending();
        pending.held_bytes += held.part.data.len();
        pending.held.push_back(held);
        true
    }

    /// Drops the oldest message with all its fragments; `true` where more of them are still to come.
    fn drop_oldest(&mut self) -> bool {
        let mut is_open = self.next_held().is_some_and(|held| !held.part.fin);
        while is_open && let Some(next) = self.next_held() {
            is_open = !next.part.fin;
        }
        is_open
    }

    /// Whoever has not shown yet who he is makes us keep no more bytes than one message may have, and the one that went beyond.
    fn is_full_of_held(&self, client: &Client, hold: &HoldUntil) -> bool {
        let most = client.rules.reading.message_bytes;
        self.held() >= usize::from(hold.messages) || self.held_bytes() >= most
    }

    fn next_held(&mut self) -> Option<Held> {
        let pending = self.pending.as_mut()?;
        let next = pending.held.pop_front()?;
        pending.held_bytes -= next.part.data.len();
        Some(next)
    }

    fn pending(&mut self) -> &mut Pending {
        self.pending.get_or_insert_default()
    }

    /// Lets go of the room of what is done with.
    fn tidy(&mut self) {
        let is_done = |pending: &Pending| pending.open.is_none() && pending.token.is_none() && pending.held.is_empty();
        self.pending.take_if(|pending| is_done(pending));
    }

    /// `false` where it was not taken; the client is told where it was refused.
    fn push(&mut self, grid: &Grid, client: &Arc<Client>, topic: &Topic, happened: Happened<'_>, ts: u64) -> bool {
        match self.tries(grid, client, topic, happened, ts) {
            Taken::Done | Taken::Full => true,
            Taken::Dropped => false,
            Taken::Rejected(e) => {
                refuse(grid, client, e);
                false
            }
        }
    }

    fn tries(&mut self, grid: &Grid, client: &Client, topic: &Topic, happened: Happened<'_>, ts: u64) -> Taken {
        self.seq += 1;
        grid.push(client, topic, happened, (self.seq, ts))
    }
}

/// Does what a client asks for. Refusals are told.
fn command(grid: &Grid, client: &Arc<Client>, commands: &Commands, content: &Content<'_>) {
    let Some(asked) = commands.read(content, &client.context()) else { return };
    let done = asked.and_then(|command| match command {
        Command::Subscribe(channels) => grid.clients.subscribe(client, &channels),
        Command::Unsubscribe(channels) => {
            grid.clients.unsubscribe(client, &channels);
            Ok(())
        }
    });
    if let Err(e) = done {
        refuse(grid, client, e);
    }
}

fn text_of(part: &Part) -> Option<&str> {
    match &part.data {
        Data::Text(text) => Some(text),
        Data::Binary(_) => None,
    }
}

/// What holds the messages of a client back, as long as its context has not the key.
pub(crate) fn holds(client: &Client) -> Option<&HoldUntil> {
    client.rules.hold().filter(|hold| client.context().get(&hold.key).is_none())
}

/// A hold took too long.
pub(crate) fn hold_is_over() -> Close {
    Close::new(CloseCode::POLICY, "nobody let this connection go on in time")
}

/// What becomes of a message that finds no room among those that are held back (G-20): its listener's word, else its topic's. A
/// command goes to no topic: its client is told.
fn overflow(grid: &Grid, client: &Client, topic: Option<&Topic>) -> Overflow {
    let of_topic = || topic.map(|topic| grid.topics.overflow(topic));
    client.rules.overflow().or_else(of_topic).unwrap_or(Overflow::Reject)
}

fn refuse(grid: &Grid, client: &Client, e: GridError) {
    grid.clients.tell(client, &answer(&Err(e), None));
}

#[cfg(test)]
mod tests;
