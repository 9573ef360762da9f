//! A SQLite file, read: tables by name, all their rows. Enough for two small tables of another program, and no library for it,
//! which would be more than the rest of the room. Written from the description of the format (sqlite.org/fileformat2.html).
//!
//! The file is a stranger's: no page is followed twice, and nothing is taken that does not lie within it.

use super::columns;

/// What a file begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// The header of the file, before that of its first page.
const HEADER: usize = 100;
/// Below a root there are a handful of levels, even of a file of terabytes.
const DEEPEST: usize = 20;
/// Pages of tables: with rows, and with pages below.
const LEAF: u8 = 0x0d;
const INTERIOR: u8 = 0x05;

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It begins otherwise.
    #[error("it is no SQLite 3 database")]
    NotSqlite,
    /// Text in UTF-16.
    #[error("its text is not UTF-8")]
    Encoding,
    /// A page or a row that cannot be.
    #[error("it is damaged, or was copied while somebody wrote to it")]
    Damaged,
    /// A table that has its rows elsewhere.
    #[error("it holds a table of a kind that is not read")]
    Kind,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob,
}

/// A row, by the names of its columns.
#[derive(Debug)]
pub(super) struct Row<'t> {
    names: &'t [String],
    values: Vec<Value>,
}

impl Row<'_> {
    /// A column's value. Those that were added to the table later are missing in older rows.
    pub(super) fn get(&self, name: &str) -> &Value {
        let at = self.names.iter().position(|known| known.eq_ignore_ascii_case(name));
        at.and_then(|at| self.values.get(at)).unwrap_or(&Value::Null)
    }
}

/// A table: what its columns are called, and its rows.
#[derive(Debug)]
pub(super) struct Table {
    names: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { names: &self.names, values: values.clone() })
    }
}

/// A file.
#[derive(Debug)]
pub(super) struct Database<'f> {
    bytes: &'f [u8],
    page: usize,
    /// Of a page, without what extensions keep at its end.
    usable: usize,
}

impl<'f> Database<'f> {
    pub(super) fn open(bytes: &'f [u8]) -> Result<Self, Unreadable> {
        if !bytes.starts_with(MAGIC) {
            return Err(Unreadable::NotSqlite);
        }
        let header = bytes.get(..HEADER).ok_or(Unreadable::Damaged)?;
        // The largest size does not fit its field.
        let page = match number(header, 16, 2).ok_or(Unreadable::Damaged)? {
            1 => 65_536,
            size if size >= 512 && size.is_power_of_two() => size,
            _ => return Err(Unreadable::Damaged),
        };
        if number(header, 56, 4).is_some_and(|encoding| encoding > 1) {
            return Err(Unreadable::Encoding);
        }
        let reserved = number(header, 20, 1).ok_or(Unreadable::Damaged)?;
        let usable = page.checked_sub(reserved).filter(|usable| *usable >= 480).ok_or(Unreadable::Damaged)?;
        Ok(Self { bytes, page, usable })
    }

    /// A table by its name, if there is one.
    pub(super) fn table(&self, name: &str) -> Result<Option<Table>, Unreadable> {
        // Type, name, table's name, root page and SQL of everything there is.
        for row in self.rows(1)? {
            let [Value::Text(kind), Value::Text(called), _, Value::Integer(root), Value::Text(sql), ..] = &row[..]
            else {
                continue;
            };
            if kind == "table" && called.eq_ignore_ascii_case(name) {
                let root = usize::try_from(*root).map_err(|_| Unreadable::Damaged)?;
                let names = columns::names(sql).ok_or(Unreadable::Kind)?;
                return Ok(Some(Table { names, rows: self.rows(root)? }));
            }
        }
        Ok(None)
    }

    fn pages(&self) -> usize {
        self.bytes.len() / self.page
    }

    /// A page by its number, from one on.
    fn page(&self, number: usize) -> Result<&'f [u8], Unreadable> {
        let start =
            number.checked_sub(1).and_then(|before| before.checked_mul(self.page)).ok_or(Unreadable::Damaged)?;
        let end = start.checked_add(self.page).ok_or(Unreadable::Damaged)?;
        self.bytes.get(start..end).ok_or(Unreadable::Damaged)
    }

    /// All rows of the tree that begins at a page.
    fn rows(&self, root: usize) -> Result<Vec<Vec<Value>>, Unreadable> {
        let (mut rows, mut left, mut seen) = (Vec::new(), vec![(root, 0)], 0);
        // All rows of a tree together are no longer than the file.
        let mut room = self.bytes.len();
        while let Some((number, depth)) = left.pop() {
            // A tree has each page once: whoever goes in circles sees more than there are.
            seen += 1;
            if seen > self.pages() || depth > DEEPEST {
                return Err(Unreadable::Damaged);
            }
            let cells = Cells::of(self.page(number)?, if number == 1 { HEADER } else { 0 })?;
            match cells.kind {
                LEAF => {
                    for at in cells.starts() {
                        rows.push(self.row(cells.page, at?, &mut room)?);
                    }
                }
                INTERIOR => {
                    let below = cells.starts().map(|at| Ok((child(cells.page, at?)?, depth + 1)));
                    let mut below: Vec<(usize, usize)> = below.collect::<Result<_, Unreadable>>()?;
                    below.push((child(cells.page, cells.header + 8)?, depth + 1));
                    // The last is taken first, and rows come in their order.
                    left.extend(below.into_iter().rev());
                }
                _ => return Err(Unreadable::Kind),
            }
        }
        Ok(rows)
    }

    /// The row of a cell: its size, its number, and what of it is here; the rest lies in a chain of pages.
    fn row(&self, page: &[u8], at: usize, room: &mut usize) -> Result<Vec<Value>, Unreadable> {
        let (size, at) = varint(page, at)?;
        let (_, at) = varint(page, at)?;
        let size = usize::try_from(size).map_err(|_| Unreadable::Damaged)?;
        *room = room.checked_sub(size).ok_or(Unreadable::Damaged)?;
        let most = self.usable - 35;
        if size <= most {
            return record(slice(page, at, size)?);
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let fits = least + (size - least) % (self.usable - 4);
        let here = if fits <= most { fits } else { least };
        let mut all = slice(page, at, here)?.to_vec();
        let mut next = child(page, at + here)?;
        for _ in 0..self.pages() {
            let rest = size - all.len();
            if rest == 0 {
                break;
            }
            let overflow = self.page(next)?;
            all.extend_from_slice(slice(overflow, 4, rest.min(self.usable - 4))?);
            next = child(overflow, 0)?;
        }
        if all.len() == size { record(&all) } else { Err(Unreadable::Damaged) }
    }
}

/// The cells of a page of a tree.
struct Cells<'p> {
    page: &'p [u8],
    header: usize,
    kind: u8,
    count: usize,
}

impl<'p> Cells<'p> {
    fn of(page: &'p [u8], header: usize) -> Result<Self, Unreadable> {
        let kind = *page.get(header).ok_or(Unreadable::Damaged)?;
        let count = number(page, header + 3, 2).ok_or(Unreadable::Damaged)?;
        Ok(Self { page, header, kind, count })
    }

    /// Where each begins.
    fn starts(&self) -> impl Iterator<Item = Result<usize, Unreadable>> + '_ {
        let first = self.header + if self.kind == INTERIOR { 12 } else { 8 };
        (0..self.count).map(move |n| number(self.page, first + 2 * n, 2).ok_or(Unreadable::Damaged))
    }
}

/// The number of another page, in four bytes.
fn child(page: &[u8], at: usize) -> Result<usize, Unreadable> {
    number(page, at, 4).ok_or(Unreadable::Damaged)
}

/// The values of a row: what kind each is and how long, and behind that the values themselves.
fn record(bytes: &[u8]) -> Result<Vec<Value>, Unreadable> {
    let (head, mut at) = varint(bytes, 0)?;
    let head = usize::try_from(head).ok().filter(|head| *head <= bytes.len()).ok_or(Unreadable::Damaged)?;
    let (mut values, mut body) = (Vec::new(), head);
    while at < head {
        let (kind, next) = varint(bytes, at)?;
        let (value, size) = value(kind, bytes, body)?;
        values.push(value);
        (at, body) = (next, body + size);
    }
    Ok(values)
}

/// A value of a kind, and how many bytes it has.
fn value(kind: u64, bytes: &[u8], at: usize) -> Result<(Value, usize), Unreadable> {
    let size = match kind {
        0 | 8 | 9 => 0,
        1..=4 => usize::try_from(kind).unwrap_or(0),
        5 => 6,
        6 | 7 => 8,
        10 | 11 => return Err(Unreadable::Damaged),
        _ => usize::try_from((kind - 12) / 2).map_err(|_| Unreadable::Damaged)?,
    };
    let own = slice(bytes, at, size)?;
    let value = match kind {
        0 => Value::Null,
        1..=6 => Value::Integer(signed(own)),
        7 => Value::Real(f64::from_bits(u64::from_be_bytes(own.try_into().map_err(|_| Unreadable::Damaged)?))),
        8 => Value::Integer(0),
        9 => Value::Integer(1),
        _ if kind.is_multiple_of(2) => Value::Blob,
        _ => Value::Text(String::from_utf8_lossy(own).into_owned()),
    };
    Ok((value, size))
}

/// Up to eight bytes, the highest first, whose highest bit is the sign.
fn signed(bytes: &[u8]) -> i64 {
    let sign = if bytes.first().is_some_and(|first| first & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(sign, |so_far, byte| so_far << 8 | i64::from(*byte))
}

fn slice(bytes: &[u8], at: usize, size: usize) -> Result<&[u8], Unreadable> {
    at.checked_add(size).and_then(|end| bytes.get(at..end)).ok_or(Unreadable::Damaged)
}

/// A number of up to four bytes, the highest first.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let own = slice(bytes, at, size).ok()?;
    Some(own.iter().fold(0, |so_far, byte| so_far << 8 | usize::from(*byte)))
}

/// A number of up to nine bytes, seven bits in each but the ninth; and where the next thing begins.
fn varint(bytes: &[u8], at: usize) -> Result<(u64, usize), Unreadable> {
    let mut number = 0;
    for (n, byte) in bytes.get(at..).unwrap_or_default().iter().take(9).enumerate() {
        if n == 8 {
            return Ok((number << 8 | u64::from(*byte), at + 9));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok((number, at + n + 1));
        }
    }
    Err(Unreadable::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `sqlite3` with pages of 512 bytes: three levels of pages, values of every kind, and a text that has pages of its own.
    const MANY: &[u8] = include_bytes!("tests/many.db");

    #[test]
    fn rows_of_every_kind_come_in_their_order_from_all_pages() {
        let database = Database::open(MANY).unwrap();
        let table = database.table("Many").unwrap().unwrap();
        let rows: Vec<_> = table.rows().collect();
        assert_eq!(rows.len(), 3000);
        for (n, row) in (0..3000i64).zip(&rows) {
            assert_eq!(row.get("n"), &Value::Integer(n * n * 1_000_003 - 5));
            assert_eq!(row.get("name"), &Value::Text(format!("row {n}")));
        }
        let whole = database.table("kinds").unwrap().unwrap();
        let values = whole.rows().next().unwrap().values;
        let expected = [
            Value::Null,
            Value::Integer(0),
            Value::Integer(1),
            Value::Integer(-1),
            Value::Integer(i64::MIN),
            Value::Real(2.5),
            Value::Blob,
            Value::Text("x".repeat(5000)),
        ];
        assert_eq!(values, expected);
        assert_eq!(whole.rows().next().unwrap().get("nobody"), &Value::Null);
        assert!(database.table("none").unwrap().is_none());
        assert!(matches!(database.table("elsewhere"), Err(Unreadable::Kind)));
    }

    #[test]
    fn what_is_cut_or_no_database_is_told_apart() {
        assert_eq!(Database::open(b"").unwrap_err(), Unreadable::NotSqlite);
        assert_eq!(Database::open(MAGIC).unwrap_err(), Unreadable::Damaged);
        let mut utf16 = MANY[..512].to_vec();
        utf16[59] = 2;
        assert_eq!(Database::open(&utf16).unwrap_err(), Unreadable::Encoding);
        for size in [512, 1024, MANY.len() / 2, MANY.len() - 1024] {
            let cut = Database::open(&MANY[..size]).unwrap();
            assert!(cut.table("many").is_err() || cut.table("kinds").is_err(), "{size}");
        }
        // A page that leads to itself.
        let mut round = MANY.to_vec();
        let root = 512 * (MANY.len() / 512 - 1);
        round[root..root + 12].copy_from_slice(&[INTERIOR, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let number = u32::try_from(root / 512 + 1).unwrap();
        round[root + 8..root + 12].copy_from_slice(&number.to_be_bytes());
        let database = Database::open(&round).unwrap();
        assert_eq!(database.rows(root / 512 + 1), Err(Unreadable::Damaged));
    }
}
