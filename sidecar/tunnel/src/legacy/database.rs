//! The two tables of `litekube-nc.db` (NC section 5).

use std::net::Ipv4Addr;

use super::{
    Legacy, LegacyNode, LegacyToken, Unreadable,
    sqlite::{Database, Row, Table, Value},
};
use crate::tokens::{RESERVED, presented};

const NODES: &str = "network_mgr";
const TOKENS: &str = "token_mgr";
/// What stands for no end.
const NEVER: i64 = -1;

/// Reads a database at `now`, in seconds since 1970. `local` reads `YYYY-MM-DD HH:MM:SS` in the time of the machine that wrote it,
/// which the text does not name.
///
/// # Errors
/// See [`Unreadable`]. A row that cannot be taken is none: it is named in the answer.
pub fn read(bytes: &[u8], now: i64, local: impl Fn(&str) -> Option<i64>) -> Result<Legacy, Unreadable> {
    let database = Database::open(bytes)?;
    let mut found = Legacy::default();
    for name in [NODES, TOKENS] {
        let Some(table) = database.table(name)? else {
            found.broken.push(format!("there is no table {name}"));
            continue;
        };
        for (at, taken) in rows(&table, |row| if name == NODES { node(row, &local) } else { token(row, now, &local) }) {
            match taken {
                Ok(Some(Taken::Node(node))) => found.nodes.push(node),
                Ok(Some(Taken::Token(token))) => found.tokens.push(token),
                Ok(Some(Taken::Over)) => found.expired += 1,
                Ok(None) => {}
                Err(why) => found.broken.push(format!("row {at} of {name}: {why}")),
            }
        }
    }
    Ok(found)
}

/// What a row is.
enum Taken {
    Node(LegacyNode),
    Token(LegacyToken),
    /// A token whose time is over.
    Over,
}

type Judged = Result<Option<Taken>, &'static str>;

fn rows<'t>(table: &'t Table, judge: impl Fn(&Row<'_>) -> Judged + 't) -> impl Iterator<Item = (usize, Judged)> + 't {
    table.rows().enumerate().map(move |(at, row)| (at + 1, judge(&row)))
}

fn node(row: &Row<'_>, local: &impl Fn(&str) -> Option<i64>) -> Judged {
    let token = text(row, "token");
    if token == RESERVED {
        return Ok(None);
    }
    if presented(token).is_none() {
        return Err("its token has another form than 16 hexadecimal digits");
    }
    let address = match text(row, "bind_ip") {
        "" => None,
        // As the reply of the handshake has it, or without the length of its prefix.
        ip => {
            Some(ip.split('/').next().unwrap_or(ip).parse::<Ipv4Addr>().map_err(|_| "its bind_ip is no IPv4 address")?)
        }
    };
    let created = moment(row.get("create_time"), local);
    Ok(Some(Taken::Node(LegacyNode { token: token.to_owned(), address, created })))
}

fn token(row: &Row<'_>, now: i64, local: &impl Fn(&str) -> Option<i64>) -> Judged {
    let token = text(row, "token");
    if presented(token).is_none() {
        return Err("its token has another form than 16 hexadecimal digits");
    }
    let expires = match row.get("expire_time") {
        Value::Integer(NEVER) => None,
        Value::Text(never) if never.trim() == "-1" => None,
        given => Some(moment(given, local).ok_or("its expire_time is neither -1 nor YYYY-MM-DD HH:MM:SS")?),
    };
    if expires.is_some_and(|end| end <= now) {
        return Ok(Some(Taken::Over));
    }
    Ok(Some(Taken::Token(LegacyToken { token: token.to_owned(), expires })))
}

fn text<'r>(row: &'r Row<'_>, column: &str) -> &'r str {
    match row.get(column) {
        Value::Text(text) => text.trim(),
        _ => "",
    }
}

fn moment(value: &Value, local: &impl Fn(&str) -> Option<i64>) -> Option<i64> {
    match value {
        Value::Text(text) => local(text.trim()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the original makes it, with rows that end, never end, have ended, and are broken.
    const DATABASE: &[u8] = include_bytes!("tests/litekube-nc.db");
    const NOW: i64 = 1_700_000_000;

    /// The digits of a time as a number, in the place of a calendar.
    fn local(text: &str) -> Option<i64> {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        (digits.len() == 14 && text.len() == 19).then(|| digits.parse().ok()).flatten()
    }

    #[test]
    fn nodes_and_tokens_are_found_and_what_is_broken_is_named_without_secrets() {
        let found = read(DATABASE, NOW, local).unwrap();
        let nodes: Vec<_> = found.nodes.iter().map(|node| (node.token.as_str(), node.address, node.created)).collect();
        let at = |last| Some(Ipv4Addr::new(10, 1, 1, last));
        assert_eq!(
            nodes,
            [
                ("b52f93d3f0ec4be7", at(3), Some(20_220_416_065_500)),
                ("0d9a7ad1b1f44f2e", at(5), Some(20_220_417_065_500)),
                ("6a0d3a1be43b4d10", None, Some(20_220_418_065_500)),
            ]
        );
        let tokens: Vec<_> = found.tokens.iter().map(|token| (token.token.as_str(), token.expires)).collect();
        assert_eq!(
            tokens,
            [("deac5f329feb4729", None), ("5f2c9a017b3d4e1a", Some(29_991_231_235_959)), ("77aa00bb11cc4d22", None)]
        );
        assert_eq!(found.expired, 0);
        assert_eq!(
            found.broken,
            [
                "row 5 of network_mgr: its token has another form than 16 hexadecimal digits",
                "row 6 of network_mgr: its bind_ip is no IPv4 address",
                "row 4 of token_mgr: its expire_time is neither -1 nor YYYY-MM-DD HH:MM:SS",
                "row 5 of token_mgr: its token has another form than 16 hexadecimal digits",
                "row 6 of token_mgr: its expire_time is neither -1 nor YYYY-MM-DD HH:MM:SS",
            ]
        );
        let later = read(DATABASE, 29_991_231_235_959, local).unwrap();
        assert_eq!((later.tokens.len(), later.expired), (2, 1));
    }

    #[test]
    fn a_database_without_the_tables_says_so() {
        let found = read(include_bytes!("tests/many.db"), NOW, local).unwrap();
        assert_eq!(found.broken, ["there is no table network_mgr", "there is no table token_mgr"]);
        assert_eq!(read(b"x", NOW, local).err(), Some(Unreadable::NotSqlite));
    }
}
