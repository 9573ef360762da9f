//! What the chart's alerts and its dashboard ask for, compared with what a running program says on `/metrics`.

use std::collections::BTreeSet;

/// What speaks of metrics: expressions, and descriptions that send their reader to more of them.
const FILES: [&str; 2] = [
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/interconn/files/alerts.yaml")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/interconn/files/dashboard.json")),
];

/// The metrics of `rooms` (`mesh_config_`) that are asked for and that `page` lacks. At least one must be asked for in each room.
pub(crate) fn lacking(rooms: &[&str], page: &str) -> BTreeSet<&'static str> {
    let words = FILES.iter().flat_map(|file| file.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let asked: BTreeSet<&str> = words.filter(|word| rooms.iter().any(|room| word.starts_with(room))).collect();
    for room in rooms {
        assert!(asked.iter().any(|name| name.starts_with(room)), "nothing asks for {room}: the reading is broken");
    }
    asked.into_iter().filter(|name| !page.lines().any(|line| is_of(line, name))).collect()
}

/// Whether a line is a sample of this metric. Descriptions name a histogram as a whole.
fn is_of(line: &str, name: &str) -> bool {
    let Some(rest) = line.strip_prefix(name) else { return false };
    ["{", " ", "_bucket{"].iter().any(|next| rest.starts_with(next))
}
