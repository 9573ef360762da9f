//! Quantities of Kubernetes, as far as requests and limits need them: `100m`, `0.5`, `64Mi`.

/// The suffixes and what they stand for.
const SUFFIXES: [(&str, f64); 13] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("m", 0.001),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// How much a quantity is; `None` where it is none, or written in a way that nobody writes requests in (`1e3`, `5n`).
pub(super) fn amount(text: &str) -> Option<f64> {
    let (number, factor) =
        SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor))).unwrap_or((text, 1.0));
    let is_plain = !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && number.bytes().any(|b| b.is_ascii_digit());
    let amount = is_plain.then(|| number.parse::<f64>().ok()).flatten()? * factor;
    amount.is_finite().then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, is) in [("100m", 0.1), ("0.5", 0.5), ("2", 2.0), ("64Mi", 67_108_864.0), ("1G", 1e9), ("0", 0.0)] {
            assert!(amount(text).is_some_and(|a| (a - is).abs() < is.max(1.0) * 1e-9), "{text}");
        }
        for bad in ["", "m", ".", "-1", "1e3", "1 Gi", "1Zi", "0x10", "inf", "NaN", "1.2.3"] {
            assert_eq!(amount(bad), None, "{bad}");
        }
    }
}
