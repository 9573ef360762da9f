//! The log as static files: what a path under the log's prefix names, after `c2sp.org/tlog-tiles`.

use std::fmt;

use super::tree::Place;

/// Hashes in a full tile, and entries in a full bundle.
pub const WIDTH: u64 = 1 << HEIGHT;

/// Levels of the tree that a tile spans.
const HEIGHT: u8 = 8;

/// The highest level that the format can name.
const HIGHEST: u8 = 63;

/// What the tiles of one family hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Hashes of the complete subtrees of height eight times this level.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

/// A tile: up to 256 hashes or entries that stand beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    kind: Kind,
    index: u64,
    width: u16,
}

impl Tile {
    /// What a path under the log's prefix names, such as `tile/0/x001/x234/067.p/8` and `tile/entries/000`. There is one
    /// spelling for each tile; all others are `None`.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Hashes(number(level).filter(|level| *level <= u64::from(HIGHEST))?.try_into().ok()?),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, number(width).filter(|width| (1..WIDTH).contains(width))?),
            None => (rest, WIDTH),
        };
        Some(Self { kind, index: split_number(index)?, width: width.try_into().ok()? })
    }

    /// The bundle with the entry `index` of a log of `size` leaves, with all of it that is there.
    #[must_use]
    pub fn of_entry(index: u64, size: u64) -> Self {
        let bundle = index / WIDTH;
        let width = size.saturating_sub(bundle.saturating_mul(WIDTH)).min(WIDTH);
        Self { kind: Kind::Entries, index: bundle, width: u16::try_from(width).unwrap_or_default() }
    }

    /// What is in it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How many hashes or entries: 256, or fewer in a partial one.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Where its hashes are, or the leaves of its entries, from the left; `None` when a log of `size` leaves does not have them all.
    #[must_use]
    pub fn places(&self, size: u64) -> Option<impl ExactSizeIterator<Item = Place> + use<>> {
        let height = match self.kind {
            Kind::Hashes(level) => level.checked_mul(HEIGHT)?,
            Kind::Entries => 0,
        };
        let complete = size.checked_shr(height.into())?;
        let first = self.index.checked_mul(WIDTH)?;
        let end = first.checked_add(self.width.into())?;
        (end <= complete).then(|| (0..self.width).map(move |n| Place { height, index: first + u64::from(n) }))
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Hashes(level) => write!(f, "tile/{level}/")?,
            Kind::Entries => f.write_str("tile/entries/")?,
        }
        let mut above = 0;
        while self.index / 1000 >= 1000_u64.pow(above) {
            above += 1;
        }
        for power in (1..=above).rev() {
            write!(f, "x{:03}/", self.index / 1000_u64.pow(power) % 1000)?;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if u64::from(self.width) < WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

/// All tiles that a log of `size` leaves has: on each level the full ones and the partial one behind them.
pub fn all(size: u64) -> impl Iterator<Item = Tile> {
    let levels = (0..=7).map(move |level| (Kind::Hashes(level), size >> (HEIGHT * level)));
    levels.chain([(Kind::Entries, size)]).flat_map(|(kind, count)| {
        let full = (0..count / WIDTH).map(move |index| Tile { kind, index, width: 256 });
        let rest = u16::try_from(count % WIDTH).ok().filter(|width| *width > 0);
        full.chain(rest.map(|width| Tile { kind, index: count / WIDTH, width }))
    })
}

/// A decimal number as it is written, without leading zeros.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    (digits && (text.len() == 1 || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
}

/// A number in path elements of three digits, all but the last behind an `x`.
fn split_number(text: &str) -> Option<u64> {
    let mut elements = text.rsplit('/');
    let last = three_digits(elements.next()?)?;
    let (mut all, mut unit) = (last, 1u64);
    let mut first = None;
    for element in elements {
        let value = three_digits(element.strip_prefix('x')?)?;
        unit = unit.checked_mul(1000)?;
        all = all.checked_add(value.checked_mul(unit)?)?;
        first = Some(value);
    }
    (first != Some(0)).then_some(all)
}

fn three_digits(text: &str) -> Option<u64> {
    (text.len() == 3 && text.bytes().all(|digit| digit.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::tree::{Nodes, tests::tree},
        *,
    };

    #[test]
    fn an_entry_is_in_its_bundle() {
        for (index, size, expected) in [
            (0, 1, "tile/entries/000.p/1"),
            (0, 256, "tile/entries/000"),
            (255, 257, "tile/entries/000"),
            (256, 257, "tile/entries/001.p/1"),
            (256_700, 300_000, "tile/entries/x001/002"),
        ] {
            assert_eq!(Tile::of_entry(index, size).to_string(), expected, "{index} of {size}");
        }
    }

    #[test]
    fn a_path_names_a_tile() {
        let tile = |kind, index, width| Tile { kind, index, width };
        for (path, expected) in [
            ("tile/0/000", tile(Kind::Hashes(0), 0, 256)),
            ("tile/0/x001/x234/067", tile(Kind::Hashes(0), 1_234_067, 256)),
            ("tile/63/001.p/255", tile(Kind::Hashes(63), 1, 255)),
            ("tile/entries/x001/000.p/1", tile(Kind::Entries, 1000, 1)),
            ("tile/1/x018/x446/x744/x073/x709/x551/615", tile(Kind::Hashes(1), u64::MAX, 256)),
        ] {
            assert_eq!(Tile::parse(path), Some(expected), "{path}");
            assert_eq!(expected.to_string(), path);
        }
    }

    #[test]
    fn each_tile_has_one_spelling() {
        for path in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/data/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/001",
            "tile/0/001/001",
            "tile/0/x001",
            "tile/0/x001/x002",
            "tile/0/X001/002",
            "tile/0/000.p",
            "tile/0/000.p/",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/000.p/1.p/1",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/٠٠٠",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::parse(path), None, "{path}");
        }
    }

    #[test]
    fn tiles_are_there_as_far_as_the_log_is() {
        let places = |path: &str, size| Tile::parse(path).unwrap().places(size).map(|places| places.len());
        for (path, size, expected) in [
            ("tile/0/000.p/1", 0, None),
            ("tile/0/000.p/1", 1, Some(1)),
            ("tile/0/000.p/255", 255, Some(255)),
            ("tile/0/000", 255, None),
            ("tile/0/000", 256, Some(256)),
            ("tile/0/001.p/1", 256, None),
            ("tile/0/001.p/1", 257, Some(1)),
            ("tile/1/000.p/1", 255, None),
            ("tile/1/000.p/1", 256, Some(1)),
            ("tile/1/000", 65_535, None),
            ("tile/1/000", 65_536, Some(256)),
            ("tile/2/000.p/1", 65_536, Some(1)),
            ("tile/entries/000.p/7", 8, Some(7)),
            ("tile/entries/000", 256, Some(256)),
            ("tile/63/000.p/1", u64::MAX, None),
            ("tile/1/x018/x446/x744/x073/x709/x551/615", u64::MAX, None),
        ] {
            assert_eq!(places(path, size), expected, "{path} of {size}");
        }
    }

    /// A client that has nothing but the tiles computes the root.
    #[test]
    fn the_tiles_of_each_level_are_the_level() {
        for size in [0, 1, 255, 256, 257, 1000, 65_536] {
            let tree = tree(size);
            for level in 0..3u8 {
                let hashes = all(size).filter(|tile| tile.kind() == Kind::Hashes(level));
                let places: Vec<Place> = hashes.flat_map(|tile| tile.places(size).unwrap()).collect();
                let count = size >> (8 * level);
                assert_eq!(places.len() as u64, count);
                assert!((0..count).eq(places.iter().map(|place| place.index)));
                assert!(places.iter().all(|place| tree.node(*place).is_ok()));
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(index: u64, width in 1u16..=256, level in proptest::option::of(0u8..64)) {
            let tile = Tile { kind: level.map_or(Kind::Entries, Kind::Hashes), index, width };
            prop_assert_eq!(Tile::parse(&tile.to_string()), Some(tile));
        }

        #[test]
        fn what_is_read_is_written_so(path in "tile/(entries|[0-9]{1,2})/(x?[0-9]{3}/){0,3}[0-9]{3}(\\.p/[0-9]{1,3})?") {
            if let Some(tile) = Tile::parse(&path) {
                prop_assert_eq!(tile.to_string(), path);
            }
        }
    }
}
