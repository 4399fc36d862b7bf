//! The order in which Java's `HashMap` hands out string keys.
//!
//! Flume prints and serialises headers in that order (logger sink, `HEADER_AND_TEXT`), and users
//! compare such lines, so we reproduce it: entries sit in buckets by a spread of `String.hashCode`,
//! buckets are walked in turn, and within one bucket in order of arrival. Source: OpenJDK 17
//! `java.util.HashMap` (`hash`, `resize`; default capacity 16, load factor 0.75).

/// Sorts `entries` (each key once, in order of insertion) into the order of a Java `HashMap`.
pub fn java_hash_map_order<V>(entries: &mut [(&[u8], V)]) {
    let mut capacity: u32 = 16;
    while u32::try_from(entries.len()).is_ok_and(|count| count > capacity / 4 * 3) {
        capacity *= 2;
    }
    // The sort is stable, which keeps the order of insertion inside a bucket.
    entries.sort_by_key(|(key, _)| {
        let hash = java_string_hash(key);
        (hash ^ (hash >> 16)) & (capacity - 1)
    });
}

/// `String.hashCode`: over UTF-16 code units, wrapping.
fn java_string_hash(key: &[u8]) -> u32 {
    String::from_utf8_lossy(key)
        .encode_utf16()
        .fold(0u32, |hash, unit| {
            hash.wrapping_mul(31).wrapping_add(u32::from(unit))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_openjdk() {
        // OpenJDK 17: put the four in this order, print keySet().
        let mut entries: Vec<(&[u8], ())> = vec![
            (b"timestamp", ()),
            (b"host", ()),
            (b"file", ()),
            (b"basename", ()),
        ];
        java_hash_map_order(&mut entries);
        let keys: Vec<&[u8]> = entries.iter().map(|(key, ())| *key).collect();
        assert_eq!(keys, [&b"file"[..], b"basename", b"host", b"timestamp"]);
    }

    #[test]
    fn hash_is_that_of_java_lang_string() {
        assert_eq!(java_string_hash(b"hello"), 99_162_322);
        assert_eq!(
            java_string_hash("Aa".as_bytes()),
            java_string_hash("BB".as_bytes())
        );
    }
}
