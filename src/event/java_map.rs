//! The order in which Java's `HashMap` hands out string keys.
//!
//! Flume prints and serialises headers in that order (logger sink, `HEADER_AND_TEXT`), and users
//! compare such lines, so we reproduce it: entries sit in buckets by a spread of `String.hashCode`,
//! buckets are walked in turn, and within one bucket in order of arrival. How many buckets there are
//! depends on how the map was made. Source: OpenJDK 17 `java.util.HashMap` (`hash`, `resize`,
//! `putMapEntries`; default capacity 16, load factor 0.75).

/// Sorts `entries` (each key once, in order of insertion) into the order of a `HashMap` that was made
/// without a size.
pub fn java_hash_map_order<V>(entries: &mut [(&[u8], V)]) {
    sort(entries, grown(16, entries.len()));
}

/// Sorts the headers of an event as Flume's collector has them when a sink reads them. `own` are those
/// the client sent, `entries` begins with them and goes on with what interceptors added.
///
/// Flume moves the headers from map to map, and each has its own size and so its own order:
///
/// | map                              | made with                     | capacity before it grows |
/// |----------------------------------|-------------------------------|--------------------------|
/// | of the Avro decoder              | the count as its capacity     | next power of two        |
/// | of the Avro source, as strings   | nothing                       | 16                       |
/// | of the event, then interceptors  | a copy of the one before      | count / 0.75 + 1, next power of two |
/// | read from the file channel       | nothing                       | 16                       |
///
/// The memory channel leaves out the last one: `in_memory`.
pub(crate) fn flume_header_order<V>(entries: &mut [(&[u8], V)], own: usize, in_memory: bool) {
    let (from_client, _) = entries.split_at_mut(own);
    sort(from_client, grown(power_of_two(own), own));
    sort(from_client, grown(16, own));
    let event_map = if own == 0 { 16 } else { copied(own) };
    sort(entries, grown(event_map, entries.len()));
    if !in_memory {
        sort(entries, grown(16, entries.len()));
    }
}

fn power_of_two(at_least: usize) -> u32 {
    u32::try_from(at_least)
        .unwrap_or(1 << 30)
        .next_power_of_two()
}

/// Capacity of a map that began with `capacity` and holds `count`.
fn grown(mut capacity: u32, count: usize) -> u32 {
    while count as u64 * 4 > u64::from(capacity) * 3 {
        capacity *= 2;
    }
    capacity
}

/// Capacity of a map that was made as a copy of one with `count` entries.
fn copied(count: usize) -> u32 {
    power_of_two(count + count / 3 + 1)
}

fn sort<V>(entries: &mut [(&[u8], V)], capacity: u32) {
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
