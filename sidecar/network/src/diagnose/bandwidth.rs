//! Whether a link is fast enough for what may be pushed over it (pure).

use crds::Transport;

use super::report::Lines;

/// What a push to a partner has beside its `pushTimeout`: a second for each so many bytes. A link of 8 Mbit/s is slow, and not
/// broken.
pub const SLOW_LINK: u64 = 1 << 20;

/// Judges bytes in a second by the largest body that the node takes. `measured` says with how much.
pub(super) fn judge(rate: f64, measured: &str, transport: &Transport, lines: &mut Lines) {
    let (largest, patience) = (transport.max_body_bytes.bytes(), transport.push_timeout.get().as_secs_f64());
    let takes = largest as f64 / rate;
    let has = patience + (largest / SLOW_LINK) as f64;
    let seen = format!("{:.1} MB/s to the partner, on one connection, measured with {measured}", rate / 1e6);
    let body = format!("a push of maxBodyBytes ({})", shown(largest as f64));
    if takes <= has {
        return lines.ok("bandwidth", format!("{seen}; {body} takes {takes:.0} s"));
    }
    let passes = patience / (1.0 / rate - 1.0 / SLOW_LINK as f64);
    let text = format!("{seen}: {body} takes {takes:.0} s and has {has:.0} s, pushTimeout and 1 s for each MiB");
    let remedy = format!(
        "have the line, or what limits it in between, looked at; else lower maxBodyBytes to {}, or give large pushes more \
         time: pushTimeout of the node, x-ptp-timeout of the call",
        shown(passes)
    );
    lines.failed("bandwidth", text, remedy);
}

fn shown(bytes: f64) -> String {
    const MIB: f64 = (1 << 20) as f64;
    if bytes >= MIB { format!("{:.0} MiB", (bytes / MIB).floor()) } else { format!("{:.0} KiB", bytes / 1024.0) }
}

#[cfg(test)]
mod tests {
    use crds::{ByteSize, Span};

    use super::*;
    use crate::diagnose::{Line, State};

    fn line(rate: f64, largest: u64, seconds: u32) -> Line {
        let transport = Transport {
            max_body_bytes: ByteSize::mib(largest),
            push_timeout: Span::seconds(seconds.into()),
            ..Transport::default()
        };
        let mut lines = Lines::default();
        judge(rate, "2 MiB", &transport, &mut lines);
        Vec::from(lines).remove(0)
    }

    #[test]
    fn a_link_on_which_the_largest_body_takes_longer_than_a_push_has_fails() {
        const MIB: f64 = (1 << 20) as f64;
        let table = [
            (MIB, 1024, 10, State::Ok),
            (0.9 * MIB, 1024, 10, State::Failed),
            (0.9 * MIB, 64, 10, State::Ok),
            (0.1 * MIB, 64, 10, State::Failed),
            (0.1 * MIB, 1, 10, State::Ok),
            (100.0 * MIB, 1024, 1, State::Ok),
        ];
        for (rate, largest, seconds, state) in table {
            let line = line(rate, largest, seconds);
            assert_eq!((line.state, line.remedy.is_empty()), (state, state == State::Ok), "{line:?}");
        }
        let line = line(0.5 * MIB, 64, 10);
        assert!(line.detail.contains("(64 MiB) takes 128 s and has 74 s"), "{line:?}");
        assert!(line.remedy.contains("maxBodyBytes to 10 MiB"), "{line:?}");
    }
}
