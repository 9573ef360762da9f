//! What the columns of a table are called, by the SQL that made it.

/// Words that begin a constraint of the table and no column.
const CONSTRAINTS: [&str; 5] = ["constraint", "primary", "unique", "check", "foreign"];

/// The names in a `CREATE TABLE`, in their order. `None`: it is none, or one whose rows lie elsewhere (`WITHOUT ROWID`).
pub(super) fn names(sql: &str) -> Option<Vec<String>> {
    let (_, inside) = sql.split_once('(')?;
    let (inside, behind) = inside.rsplit_once(')')?;
    if behind.to_ascii_lowercase().contains("rowid") {
        return None;
    }
    Some(parts(inside).iter().filter_map(|part| name(part)).collect())
}

/// What stands between commas that are in no brackets and no quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut all, mut start, mut depth, mut quote) = (Vec::new(), 0, 0u32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(end), _) if c == end => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '[') => quote = Some(']'),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                all.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    all.extend(text.get(start..));
    all
}

/// The name of a column's part; `None` of a constraint.
fn name(part: &str) -> Option<String> {
    let part = part.trim();
    let first = part.chars().next()?;
    let end = match first {
        '"' | '`' | '\'' => first,
        '[' => ']',
        _ => {
            let word = part.split(|c: char| c.is_whitespace() || c == '(').next()?;
            let is_constraint = CONSTRAINTS.iter().any(|known| word.eq_ignore_ascii_case(known));
            return (!is_constraint).then(|| word.to_owned());
        }
    };
    part.get(1..)?.split(end).next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_however_they_are_quoted_and_constraints_are_none() {
        let sql = "CREATE TABLE `token_mgr` (\n`id` integer PRIMARY KEY AUTOINCREMENT,\"token\" text NOT NULL UNIQUE,\n\
                   [expire_time] datetime DEFAULT (datetime('now', 'x,y')),kind varchar(20) CHECK (kind IN ('a','b')),\n\
                   PRIMARY KEY (id), CONSTRAINT one UNIQUE (token))";
        assert_eq!(names(sql).unwrap(), ["id", "token", "expire_time", "kind"]);
        assert_eq!(names("CREATE TABLE t(a)").unwrap(), ["a"]);
        assert_eq!(names("CREATE TABLE t(a PRIMARY KEY) WITHOUT ROWID"), None);
        assert_eq!(names("CREATE VIEW v AS SELECT 1"), None);
        assert_eq!(names("x(\u{e4}\u{f6}, \"\u{fc}, )").unwrap().len(), 2);
    }
}
