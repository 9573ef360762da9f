//! Packets that lie one behind the other in a message of protocol 2 (NC section 8): each says itself how long it is.

use bytes::Bytes;

/// The header of a packet without options, in which its length stands.
const LEAST: usize = 20;

/// Takes the first packet out of a batch; `None` at its end. What is no packet is all that is left: nobody knows where it ends.
pub(crate) fn next(batch: &mut Bytes) -> Option<Bytes> {
    let length = match batch.get(2..4) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ if batch.is_empty() => return None,
        _ => batch.len(),
    };
    let length = if (LEAST..=batch.len()).contains(&length) { length } else { batch.len() };
    Some(batch.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::made;

    fn parts(batch: &[u8]) -> Vec<Vec<u8>> {
        let mut batch = Bytes::copy_from_slice(batch);
        std::iter::from_fn(|| next(&mut batch)).map(|part| part.to_vec()).collect()
    }

    #[test]
    fn packets_are_told_apart_and_what_is_none_ends_the_batch() {
        let [a, b] = [10, 700].map(|size| made::udp([10, 1, 1, 3], [10, 1, 1, 5], (1, 2), &vec![7; size]));
        assert_eq!(parts(&[&a[..], &b, &a].concat()), [a.clone(), b.clone(), a.clone()]);
        assert_eq!(parts(b""), Vec::<Vec<u8>>::new());
        for broken in [&b"E"[..], b"E\0\0\x13rest", b"E\0\xff\xff rest", b"E\0\0\0"] {
            assert_eq!(parts(&[&a[..], broken].concat()), [a.clone(), broken.to_vec()], "{}", broken.escape_ascii());
        }
    }
}
