//! One fabric for several rooms: each says what it has to say on a line of its own, whose number goes before it. What the rooms are
//! is nobody's business here.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::fabric::{Fabric, Inward};

/// The lines of one fabric.
#[derive(Debug)]
pub struct Lines {
    fabric: Arc<dyn Fabric>,
    rooms: Arc<Rooms>,
}

/// Who hears each line.
#[derive(Default)]
struct Rooms(Mutex<BTreeMap<u8, Arc<dyn Inward>>>);

/// One line.
#[derive(Debug)]
struct Line {
    number: u8,
    fabric: Arc<dyn Fabric>,
    rooms: Arc<Rooms>,
}

impl Lines {
    /// The lines of a fabric that nobody serves yet.
    #[must_use]
    pub fn of(fabric: Arc<dyn Fabric>) -> Self {
        Self { fabric, rooms: Arc::default() }
    }

    /// The line of that number: the same room has it at every gateway.
    #[must_use]
    pub fn line(&self, number: u8) -> Arc<dyn Fabric> {
        Arc::new(Line { number, fabric: Arc::clone(&self.fabric), rooms: Arc::clone(&self.rooms) })
    }

    /// From now on the rooms hear what is said on their lines. Who serves its line later has missed what came before.
    pub fn open(&self) {
        self.fabric.serve(Arc::clone(&self.rooms) as Arc<dyn Inward>);
    }
}

impl Line {
    fn numbered(&self, content: &Bytes) -> Bytes {
        let mut all = BytesMut::with_capacity(1 + content.len());
        all.put_u8(self.number);
        all.put_slice(content);
        all.freeze()
    }
}

impl Fabric for Line {
    fn number(&self) -> u16 {
        self.fabric.number()
    }

    fn others(&self) -> Vec<u16> {
        self.fabric.others()
    }

    fn ask(&self, number: u16, question: Bytes) -> BoxFuture<'static, Option<Bytes>> {
        self.fabric.ask(number, self.numbered(&question))
    }

    fn tell(&self, number: u16, notice: Bytes) {
        self.fabric.tell(number, self.numbered(&notice));
    }

    fn serve(&self, inward: Arc<dyn Inward>) {
        self.rooms.0.lock().insert(self.number, inward);
    }
}

impl Rooms {
    fn of(&self, content: &mut Bytes) -> Option<Arc<dyn Inward>> {
        let number = content.try_get_u8().ok()?;
        self.0.lock().get(&number).cloned()
    }

    fn all(&self) -> Vec<Arc<dyn Inward>> {
        self.0.lock().values().cloned().collect()
    }
}

impl Inward for Rooms {
    /// A room that is not there, as at a gateway of another version, answers nothing: an empty answer, which is none of any room.
    fn asked(&self, from: u16, mut question: Bytes) -> Bytes {
        self.of(&mut question).map_or_else(Bytes::new, |room| room.asked(from, question))
    }

    fn told(&self, from: u16, mut notice: Bytes) {
        if let Some(room) = self.of(&mut notice) {
            room.told(from, notice);
        }
    }

    fn joined(&self, number: u16) {
        self.all().iter().for_each(|room| room.joined(number));
    }

    fn left(&self, number: u16) {
        self.all().iter().for_each(|room| room.left(number));
    }
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.lock().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hub;

    /// Answers with its name, and notes what it was told.
    #[derive(Default)]
    struct Room(&'static str, Mutex<Vec<String>>);

    impl Inward for Room {
        fn asked(&self, from: u16, question: Bytes) -> Bytes {
            format!("{} to {from}: {}", self.0, String::from_utf8_lossy(&question)).into()
        }

        fn told(&self, from: u16, notice: Bytes) {
            self.1.lock().push(format!("{from}: {}", String::from_utf8_lossy(&notice)));
        }

        fn joined(&self, number: u16) {
            self.1.lock().push(format!("{number} joined"));
        }

        fn left(&self, number: u16) {
            self.1.lock().push(format!("{number} left"));
        }
    }

    #[tokio::test]
    async fn each_room_hears_its_own_line_and_who_comes_and_goes() {
        let hub = Hub::default();
        let lines = || Lines::of(hub.join().unwrap());
        let a = lines();
        a.open();
        let b = lines();
        let rooms = ["grid", "registry"].map(|name| Arc::new(Room(name, Mutex::default())));
        rooms.iter().zip(0..).for_each(|(room, number)| b.line(number).serve(Arc::clone(room) as Arc<dyn Inward>));
        b.open();
        for (number, expected) in [(0, "grid to 0: x"), (1, "registry to 0: x"), (2, "")] {
            let answer = a.line(number).ask(1, "x".into()).await;
            assert_eq!(answer.as_deref(), Some(expected.as_bytes()), "line {number}");
        }
        a.line(1).tell(1, "y".into());
        // What is asked after it is answered after it.
        a.line(1).ask(1, "x".into()).await;
        let heard = |n: usize| rooms[n].1.lock().clone();
        assert_eq!((heard(0), heard(1)), (vec!["0 joined".to_owned()], vec!["0 joined".into(), "0: y".into()]));
        assert_eq!((a.line(9).number(), a.line(9).others()), (0, vec![1]));
    }
}
