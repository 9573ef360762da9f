//! Lists in pages: `{sid, index, limit, factor, order}` in, `{sid, index, limit, total, next, data}` out (PTP section 11.2).
//!
//! `index` counts pages from 0. `factor` keeps entries whose members are what it says; texts compare without regard to case.
//! `order` is the name of a member, with `desc` behind it for the other way round.

use std::cmp::Ordering;

use mesh_core::mpi::Call;
use serde_json::{Map, Value, json};

use super::{super::ControlError, object};

/// Entries of a page where nobody says how many.
const USUAL: usize = 10;
/// Entries of the largest page.
const MOST: usize = 1000;

/// Which page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    sid: Value,
    index: usize,
    limit: usize,
    factor: Map<String, Value>,
    order: String,
}

impl Page {
    /// The argument `index`; absent, it is the first page.
    pub(super) fn read(call: &Call) -> Result<Self, ControlError> {
        if matches!(call.arguments.get("index"), None | Some(Value::Null)) {
            return Ok(Self { limit: USUAL, ..Self::default() });
        }
        let asked = object(call, "index")?;
        let number = |member, usual: usize| match asked.integer(member)? {
            None => Ok(usual),
            Some(given) => usize::try_from(given).map_err(|_| ControlError::Kind { member, expected: "0 or more" }),
        };
        let factor = match asked.0.get("factor") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(factor)) => factor.clone(),
            Some(_) => return Err(ControlError::Kind { member: "factor", expected: "an object" }),
        };
        Ok(Self {
            sid: asked.text("sid")?.unwrap_or_default().into(),
            index: number("index", 0)?,
            limit: match number("limit", USUAL)? {
                0 => USUAL,
                given => given.min(MOST),
            },
            factor,
            order: asked.text("order")?.unwrap_or_default().to_owned(),
        })
    }
}

/// The page of `all`.
pub(super) fn of(page: &Page, all: Vec<Value>) -> Value {
    let fits = |entry: &Value| page.factor.iter().all(|(name, wanted)| same(entry.get(name), wanted));
    let mut found: Vec<Value> = all.into_iter().filter(fits).collect();
    let (member, way) = page.order.split_once(' ').unwrap_or((&page.order, ""));
    if !member.is_empty() {
        found.sort_by(|a, b| compare(a.get(member), b.get(member)));
        if way.trim().eq_ignore_ascii_case("desc") {
            found.reverse();
        }
    }
    let (total, start) = (found.len(), page.index.saturating_mul(page.limit));
    let data: Vec<Value> = found.into_iter().skip(start).take(page.limit).collect();
    let next = start.saturating_add(data.len()) < total && !data.is_empty();
    json!({"sid": page.sid, "index": page.index, "limit": page.limit, "total": total, "next": next, "data": data})
}

fn same(found: Option<&Value>, wanted: &Value) -> bool {
    match (found, wanted) {
        (Some(Value::String(found)), Value::String(wanted)) => found.eq_ignore_ascii_case(wanted),
        (found, wanted) => found == Some(wanted),
    }
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (a, b) => {
            let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
            text(a).cmp(&text(b))
        }
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::{CallContext, Caller};

    use super::*;

    fn asked(index: Value) -> Result<Value, ControlError> {
        let arguments = Map::from_iter([("index".to_owned(), index)]);
        let call = Call { context: CallContext::default(), caller: Caller::Local, arguments };
        let all = (0..25).map(|n| json!({"n": n, "parity": if n % 2 == 0 { "Even" } else { "Odd" }})).collect();
        Page::read(&call).map(|page| of(&page, all))
    }

    #[test]
    fn pages_are_cut_filtered_and_ordered() {
        let numbers = |page: &Value| {
            page["data"].as_array().unwrap().iter().map(|e| e["n"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        let first = asked(Value::Null).unwrap();
        assert_eq!((numbers(&first), &first["total"], &first["next"]), ((0..10).collect(), &json!(25), &json!(true)));
        let last = asked(json!({"sid": "s", "index": 2, "limit": 10})).unwrap();
        assert_eq!((numbers(&last), &last["next"], &last["sid"]), ((20..25).collect(), &json!(false), &json!("s")));
        let odd = asked(json!({"limit": "3", "factor": {"parity": "odd"}, "order": "n desc"})).unwrap();
        assert_eq!((numbers(&odd), &odd["total"]), (vec![23, 21, 19], &json!(12)));
        assert_eq!(numbers(&asked(json!({"index": u32::MAX})).unwrap()), Vec::<u64>::new());
        assert_eq!(asked(json!({"limit": 1_000_000})).unwrap()["limit"], 1000);
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for wrong in [json!([]), json!({"index": -1}), json!({"limit": "x"}), json!({"factor": 7}), json!({"order": 7})]
        {
            assert!(asked(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
