//! Two gateways whose carrier loses what the test says.

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

/// What a room hears.
#[derive(Debug, Default)]
struct Hears(Mutex<Vec<String>>);

impl Inward for Hears {
    fn asked(&self, from: u16, question: Bytes) -> Bytes {
        self.note(format!("asked by {from}: {}", text(&question)));
        Bytes::from(format!("{}!", text(&question)))
    }

    fn told(&self, _: u16, notice: Bytes) {
        self.note(text(&notice));
    }

    fn joined(&self, number: u16) {
        self.note(format!("joined {number}"));
    }

    fn left(&self, number: u16) {
        self.note(format!("left {number}"));
    }
}

impl Hears {
    fn note(&self, what: String) {
        self.0.lock().push(what);
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Two gateways, 1 and 2.
struct Two {
    ends: [Exchange; 2],
    hears: [Hears; 2],
}

impl Two {
    fn new() -> Self {
        let mut ends = [Exchange::new(1, 11, 200), Exchange::new(2, 22, 200)];
        ends[0].came(2, 22);
        ends[1].came(1, 11);
        Self { ends, hears: Default::default() }
    }

    /// Carries until nothing is under way; `keeps` says of each packet whether it arrives.
    fn carry(&mut self, mut keeps: impl FnMut() -> bool) {
        loop {
            let mut moved = false;
            for from in 0..2 {
                for sent in self.ends[from].take() {
                    moved = true;
                    let to = 1 - from;
                    assert_eq!(sent.life, [11, 22][to]);
                    if keeps() {
                        self.ends[to].heard(Packet::read(sent.packet).unwrap(), &self.hears[to]);
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn heard(&self) -> [Vec<String>; 2] {
        [self.hears[0].taken(), self.hears[1].taken()]
    }
}

#[test]
fn two_meet_ask_and_tell() {
    let mut two = Two::new();
    two.carry(|| true);
    assert_eq!(two.heard(), [["joined 2"], ["joined 1"]]);
    let (answer, mut answered) = oneshot::channel();
    two.ends[0].tell(2, "one".into());
    two.ends[0].ask(2, "two?".into(), answer);
    two.ends[0].tell(2, "three".into());
    two.carry(|| true);
    assert_eq!(two.heard()[1], ["one", "asked by 1: two?", "three"]);
    assert_eq!(answered.try_recv().unwrap(), "two?!");
}

#[test]
fn who_is_not_there_gets_nothing_and_answers_nothing() {
    let mut two = Two::new();
    two.carry(|| true);
    let (answer, mut answered) = oneshot::channel();
    two.ends[0].tell(9, "one".into());
    two.ends[0].ask(9, "two?".into(), answer);
    assert!(two.ends[0].take().is_empty());
    assert!(answered.try_recv().is_err());
}

#[test]
fn both_begin_anew_where_something_is_lost() {
    let mut two = Two::new();
    two.carry(|| true);
    two.heard();
    let (answer, mut answered) = oneshot::channel();
    two.ends[0].ask(2, "lost?".into(), answer);
    two.carry(|| false);
    two.ends[0].beat();
    two.carry(|| true);
    assert!(answered.try_recv().is_err(), "nobody answers any more");
    assert_eq!(two.heard(), [["left 2", "joined 2"], ["left 1", "joined 1"]]);
    two.ends[0].tell(2, "again".into());
    two.carry(|| true);
    assert_eq!(two.heard()[1], ["again"]);
}

#[test]
fn nobody_answers_what_another_one_was_asked() {
    let mut two = Two::new();
    two.carry(|| true);
    two.ends[0].came(3, 33);
    let (answer, mut answered) = oneshot::channel();
    two.ends[0].ask(3, "two?".into(), answer);
    two.ends[1].put(1, What::Answer, 0, "mine".into());
    for sent in two.ends[1].take() {
        two.ends[0].heard(Packet::read(sent.packet).unwrap(), &two.hears[0]);
    }
    assert_eq!(answered.try_recv(), Err(oneshot::error::TryRecvError::Empty));
}

#[test]
fn who_goes_ends_what_was_asked() {
    let mut two = Two::new();
    two.carry(|| true);
    two.heard();
    let (answer, mut answered) = oneshot::channel();
    two.ends[0].ask(2, "there?".into(), answer);
    two.ends[0].went(2, &two.hears[0]);
    assert!(answered.try_recv().is_err());
    assert_eq!(two.heard()[0], ["left 2"]);
    // What comes of it still is of nobody.
    two.carry(|| true);
    assert!(two.heard()[0].is_empty());
}

#[test]
fn one_that_forgot_the_other_and_finds_it_again_is_heard() {
    let mut two = Two::new();
    two.carry(|| true);
    two.ends[0].went(2, &two.hears[0]);
    two.ends[0].came(2, 22);
    two.carry(|| true);
    two.ends.iter_mut().for_each(Exchange::beat);
    two.carry(|| true);
    two.heard();
    two.ends[0].tell(2, "one".into());
    two.ends[1].tell(1, "two".into());
    two.carry(|| true);
    assert_eq!(two.heard(), [["two"], ["one"]]);
}

#[test]
fn a_carrier_that_was_away_makes_all_begin_anew() {
    let mut two = Two::new();
    two.carry(|| true);
    two.heard();
    two.ends[0].cut(&two.hears[0]);
    assert_eq!(two.heard()[0], ["left 2"]);
    two.ends[0].begin_anew_with_all(&two.hears[0]);
    two.carry(|| true);
    assert_eq!(two.heard(), [vec!["joined 2"], vec!["left 1", "joined 1"]]);
}

proptest! {
    /// Whatever is lost, and whenever: since it last joined, each has heard a beginning of what it was told since then by one who
    /// knew it joined; and once nothing is lost any more, all of it.
    #[test]
    fn what_is_heard_since_joining_is_a_beginning_of_what_was_told(
        steps in proptest::collection::vec((0..2usize, 0..300usize), 1..40),
        fates in proptest::collection::vec(any::<bool>(), 400),
    ) {
        let (mut two, mut fates) = (Two::new(), fates.into_iter());
        for (n, (from, size)) in steps.into_iter().enumerate() {
            two.ends[from].tell(2 - from as u16, Bytes::from(format!("{n:0size$}")));
            if n % 3 == 0 {
                two.ends[from].beat();
            }
            two.carry(|| fates.next().unwrap_or(true));
        }
        // Both settle, and both hear what is told from now on.
        for _ in 0..3 {
            two.ends.iter_mut().for_each(Exchange::beat);
            two.carry(|| true);
        }
        for (from, to) in [(0, 1), (1, 0)] {
            let heard = two.hears[to].taken();
            let since = heard.iter().rposition(|one| one.starts_with("joined")).map_or(0, |at| at + 1);
            prop_assert!(since > 0, "never joined: {heard:?}");
            let numbers: Vec<usize> = heard[since..].iter().map(|one| one.parse().unwrap()).collect();
            prop_assert!(numbers.is_sorted());
            two.ends[from].tell(to as u16 + 1, "last".into());
            two.carry(|| true);
            prop_assert_eq!(two.hears[to].taken(), ["last"]);
        }
    }
}
