//! Which of a log's checkpoints its witnesses have signed, and which one is shown to those who ask for it.
//!
//! A pure structure: time comes in. Witnesses are asked in rounds, all for the same checkpoint, so that their signatures come together
//! on one text. Shown is the last one that enough of them signed, for as long as what is behind it is not older than the merge delay;
//! then the newest, which the log alone has signed. So nobody is kept waiting by witnesses that are away, and nothing stays hidden.

use crate::{
    keeper::Published,
    log::{Checkpoint, Note, Signature, Verifier},
};

/// A witness, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its key.
    pub verifier: Verifier,
    /// The URL before `/add-checkpoint`.
    pub url: String,
}

/// What a witness has done for this log since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The size that it signed last.
    pub size: Option<u64>,
    /// When, in seconds since 1970, as it says itself.
    pub time: Option<u64>,
    /// Why it did not sign when it was asked last.
    pub problem: Option<String>,
}

/// A signature that is none of this witness over what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the witness answered with a signature that is not its own over this checkpoint")]
pub struct Unfit;

/// A checkpoint and who signed it, by their places.
#[derive(Clone, Debug)]
struct Round {
    note: Note,
    size: u64,
    signed: Vec<usize>,
    begun: u64,
}

/// The witnesses of a log, and what they signed.
#[derive(Debug)]
pub struct Cosigned {
    members: Vec<(Member, Standing)>,
    quorum: usize,
    /// Milliseconds.
    delay: u64,
    /// What is asked for now.
    round: Option<Round>,
    /// What enough have signed.
    best: Option<Round>,
    /// The log's size, as far as it was told.
    latest: u64,
    /// Since when there are entries behind the best.
    uncovered: Option<u64>,
    /// The largest that was shown: none that is smaller is shown after it.
    shown: u64,
}

impl Cosigned {
    /// `quorum` of `members` are enough; entries are shown after `delay` milliseconds in any case.
    #[must_use]
    pub fn new(members: Vec<Member>, quorum: usize, delay: u64) -> Self {
        let members = members.into_iter().map(|member| (member, Standing::default())).collect();
        Self { members, quorum, delay, round: None, best: None, latest: 0, uncovered: None, shown: 0 }
    }

    /// The witnesses, and how each of them stands.
    pub fn members(&self) -> impl Iterator<Item = (&Member, &Standing)> {
        self.members.iter().map(|(member, standing)| (member, standing))
    }

    /// How many are enough.
    #[must_use]
    pub const fn quorum(&self) -> usize {
        self.quorum
    }

    /// The size of the last checkpoint that enough have signed.
    #[must_use]
    pub fn covered(&self) -> Option<u64> {
        self.best.as_ref().map(|best| best.size)
    }

    /// Milliseconds for which entries have waited by `now` until enough sign them; 0: none waits.
    #[must_use]
    pub fn waiting(&self, now: u64) -> u64 {
        // Nobody is asked for the empty log.
        self.uncovered.filter(|_| self.latest > 0).map_or(0, |since| now.saturating_sub(since))
    }

    /// What enough have signed, as it is kept for the next start.
    #[must_use]
    pub fn kept(&self) -> Option<&Note> {
        self.best.as_ref().map(|best| &best.note)
    }

    /// Goes on where an earlier process was: `note` is what enough had signed, of a log that has `latest` leaves, those behind the note
    /// since `uncovered`. A note that not enough of these witnesses signed is none.
    pub fn resume(&mut self, note: Note, latest: u64, uncovered: Option<u64>) {
        let Some(size) = Checkpoint::head(note.text()).map(|head| head.size).filter(|size| *size <= latest) else {
            return;
        };
        let has_signed = |member: &Member| {
            let key = &member.verifier;
            let mut own = note.signatures().iter().filter(|one| one.name == *key.name() && one.id == key.id());
            own.any(|one| key.verify(note.text(), &one.bytes).is_some())
        };
        let places = self.members.iter().enumerate().filter(|(_, (member, _))| has_signed(member));
        let signed: Vec<usize> = places.map(|(place, _)| place).collect();
        if signed.len() >= self.quorum {
            self.best = Some(Round { note, size, signed, begun: 0 });
            self.latest = self.latest.max(latest);
            self.uncovered = uncovered.filter(|_| latest > size);
        }
    }

    /// The log has `size` leaves now.
    pub fn grew(&mut self, size: u64, now: u64) {
        self.latest = self.latest.max(size);
        if self.covered().is_none_or(|covered| covered < self.latest) {
            // An entry has the clock of who signed it, which may be ahead: what is said to come is there now.
            self.uncovered = Some(self.uncovered.map_or(now, |since| since.min(now)));
        }
    }

    /// From now on this checkpoint is asked for.
    pub fn begin(&mut self, published: &Published, now: u64) {
        self.grew(published.size, now);
        let (note, size) = (published.note.clone(), published.size);
        self.round = Some(Round { note, size, signed: Vec::new(), begun: now });
    }

    /// Whether enough have signed what is asked for.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        self.round.as_ref().is_none_or(|round| self.covered().is_some_and(|covered| covered >= round.size))
    }

    /// Witness number `place` signed the checkpoint over `size` leaves.
    ///
    /// # Errors
    /// When its signature is not over that.
    pub fn add(&mut self, place: usize, size: u64, signature: &Signature) -> Result<(), Unfit> {
        let (member, standing) = self.members.get_mut(place).ok_or(Unfit)?;
        // A late one joins the others, also where a new round has begun.
        let rounds = [self.round.as_mut(), self.best.as_mut()];
        for round in rounds.into_iter().flatten().filter(|round| round.size == size) {
            let verified = member.verifier.verify(round.note.text(), &signature.bytes).ok_or(Unfit)?;
            *standing = Standing { size: Some(size), time: verified.0, problem: None };
            if !round.signed.contains(&place) && round.note.add(signature.clone()) {
                round.signed.push(place);
            }
        }
        self.settle();
        Ok(())
    }

    /// Witness number `place` did not sign.
    pub fn failed(&mut self, place: usize, problem: String) {
        if let Some((_, standing)) = self.members.get_mut(place) {
            standing.problem = Some(problem);
        }
    }

    /// What enough have signed is the best.
    fn settle(&mut self) {
        let Some(round) = self.round.as_ref().filter(|round| round.signed.len() >= self.quorum) else { return };
        if self.covered().is_none_or(|covered| covered < round.size) {
            // What came later came after the round had begun.
            self.uncovered = (self.latest > round.size).then_some(round.begun);
            self.best = Some(round.clone());
        }
    }

    /// The checkpoint that is shown, where `latest` is the newest.
    pub fn show(&mut self, latest: &Published, now: u64) -> Published {
        self.grew(latest.size, now);
        let waits = self.uncovered.is_none_or(|since| now.saturating_sub(since) <= self.delay);
        let best = self.best.as_ref().filter(|best| best.size >= latest.size || (waits && best.size >= self.shown));
        let shown = best.map_or_else(|| latest.clone(), |best| Published { note: best.note.clone(), size: best.size });
        self.shown = self.shown.max(shown.size);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Hash,
        log::{KeyName, Kind, Signer},
    };

    const DELAY: u64 = 60_000;

    fn witness(n: u8) -> Signer {
        Signer::from_seed(KeyName::new(&format!("w{n}.example")).unwrap(), Kind::Witness, &[n; 32]).unwrap()
    }

    fn published(size: u64) -> Published {
        let name = KeyName::new("log.example/datanet").unwrap();
        let text = format!("{name}\n{size}\n{}\n", Hash::ZERO.base64());
        let log = Signer::from_seed(name, Kind::Log, &[1; 32]).unwrap();
        Published { note: Note::new(text.clone(), vec![log.sign(&text, 0)]).unwrap(), size }
    }

    fn three() -> Cosigned {
        let member = |n| Member { verifier: witness(n).verifier().clone(), url: String::new() };
        Cosigned::new(vec![member(2), member(3), member(4)], 2, DELAY)
    }

    impl Cosigned {
        fn signs(&mut self, place: u8, size: u64) -> Result<(), Unfit> {
            let signature = witness(place + 2).sign(published(size).note.text(), 7);
            self.add(usize::from(place), size, &signature)
        }

        /// Size and signatures of what is shown of a log of `latest`.
        fn shows(&mut self, latest: u64, now: u64) -> (u64, usize) {
            let shown = self.show(&published(latest), now);
            (shown.size, shown.note.signatures().len())
        }
    }

    #[test]
    fn a_checkpoint_is_shown_with_its_signatures_once_enough_have_signed() {
        let mut log = three();
        assert_eq!((log.shows(0, 0), log.waiting(9)), ((0, 1), 0), "there is nothing to sign");
        assert_eq!(log.shows(5, 0), (5, 1), "nobody has signed yet");
        assert_eq!(log.waiting(9), 9);
        log.begin(&published(5), 0);
        log.signs(0, 5).unwrap();
        assert_eq!((log.shows(5, 1), log.is_covered()), ((5, 1), false), "one of three is not enough");
        log.signs(0, 5).unwrap();
        assert!(!log.is_covered(), "who signs twice counts once");
        log.signs(1, 5).unwrap();
        assert_eq!((log.shows(5, 2), log.is_covered(), log.waiting(9)), ((5, 3), true, 0));
        log.signs(2, 5).unwrap();
        assert_eq!(log.shows(5, 3), (5, 4), "a late one joins the others");
        let standing: Vec<_> = log.members().map(|(_, standing)| (standing.size, standing.time)).collect();
        assert_eq!(standing, [(Some(5), Some(7)); 3]);
    }

    #[test]
    fn the_last_that_enough_signed_is_shown_until_what_is_behind_it_is_too_old() {
        let mut log = three();
        log.begin(&published(5), 0);
        log.signs(0, 5).unwrap();
        log.signs(1, 5).unwrap();
        log.grew(8, 1000);
        assert_eq!(log.shows(8, 1000 + DELAY), (5, 3));
        assert_eq!(log.shows(8, 1001 + DELAY), (8, 1), "nothing stays hidden for longer");
        // A checkpoint between the two comes late: nobody is shown less than before.
        log.begin(&published(7), 2000 + DELAY);
        log.signs(0, 7).unwrap();
        log.signs(1, 7).unwrap();
        assert_eq!(log.shows(8, 2001 + DELAY), (8, 1));
        log.begin(&published(8), 2002 + DELAY);
        log.signs(1, 8).unwrap();
        log.signs(2, 8).unwrap();
        assert_eq!(log.shows(8, 9 * DELAY), (8, 3));
    }

    #[test]
    fn after_a_restart_the_same_is_shown_as_before_it() {
        let mut log = three();
        log.begin(&published(5), 0);
        log.signs(0, 5).unwrap();
        log.signs(1, 5).unwrap();
        let kept = log.kept().unwrap().clone();
        let mut again = three();
        again.resume(kept.clone(), 8, Some(1000));
        assert_eq!((again.shows(8, 1000 + DELAY), again.shows(8, 1001 + DELAY)), ((5, 3), (8, 1)));
        for (what, note, latest) in [("signed by too few", published(5).note, 8), ("of a log that was longer", kept, 4)]
        {
            let mut other = three();
            other.resume(note, latest, None);
            assert_eq!(other.covered(), None, "{what}");
        }
    }

    /// An entry from the future was hidden until then, and for `maxMergeDelay` more.
    #[test]
    fn a_clock_that_is_ahead_hides_nothing_for_longer() {
        let mut log = three();
        log.begin(&published(5), 0);
        log.signs(0, 5).unwrap();
        log.signs(1, 5).unwrap();
        let mut again = three();
        again.resume(log.kept().unwrap().clone(), 8, Some(9 * DELAY));
        assert_eq!((again.shows(8, 1000), again.waiting(1000)), ((5, 3), 0));
        assert_eq!((again.shows(8, 1000 + DELAY), again.waiting(1000 + DELAY)), ((5, 3), DELAY));
        assert_eq!(again.shows(8, 1001 + DELAY), (8, 1));
    }

    #[test]
    fn a_signature_over_something_else_does_not_count() {
        let mut log = three();
        log.begin(&published(5), 0);
        let other = witness(2).sign(published(6).note.text(), 7);
        assert_eq!(log.add(0, 5, &other), Err(Unfit));
        let anothers = witness(3).sign(published(5).note.text(), 7);
        assert_eq!(log.add(0, 5, &anothers), Err(Unfit));
        assert_eq!(log.signs(0, 99), Ok(()), "nobody asks for that any more");
        assert_eq!(log.shows(5, 0), (5, 1));
        log.failed(1, "away".to_owned());
        assert_eq!(log.members().nth(1).unwrap().1.problem.as_deref(), Some("away"));
        log.signs(1, 5).unwrap();
        assert_eq!(log.members().nth(1).unwrap().1.problem, None);
    }
}
