//! Header values come from strangers: what may become part of a path or a topic.
//!
//! A value that would make the target refuse the name for ever (a NUL, a control character, a colon
//! in HDFS, a name of thousands of bytes) or climb out of the directory (`..`) is changed, and the
//! caller counts it. Flume passes it on: there one such event blocks the sink.

/// What a rendered template names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A path: `/` separates, `..` climbs, HDFS allows no `:` in a name.
    Path,
    /// One name without structure, such as a topic.
    Name,
}

/// The longest header value that goes into a name. HDFS and local file systems refuse components
/// above 255 bytes; the rest is for the counter, suffixes and what else the template says.
const VALUE_BYTES_MAX: usize = 180;

/// Appends `value`, made harmless. Returns whether it had to be changed.
pub(super) fn push_header_value(out: &mut String, value: &[u8], place: Place) -> bool {
    let is_plain = |byte: &u8| match place {
        Place::Path => (0x20..0x7f).contains(byte) && *byte != b':' && *byte != b'\\',
        Place::Name => (0x20..0x7f).contains(byte),
    };
    if value.len() <= VALUE_BYTES_MAX && value.iter().all(is_plain) {
        out.push_str(std::str::from_utf8(value).expect("every byte is ASCII"));
        return false;
    }
    let mut changed = false;
    let start = out.len();
    for character in String::from_utf8_lossy(value).chars() {
        if out.len() - start + character.len_utf8() > VALUE_BYTES_MAX {
            changed = true;
            break;
        }
        let refused = character.is_control()
            || character == char::REPLACEMENT_CHARACTER
            || (place == Place::Path && matches!(character, ':' | '\\'));
        changed |= refused;
        out.push(if refused { '_' } else { character });
    }
    changed
}

/// Replaces the dots of components `.` and `..`, from the component that holds `path[from..]` on:
/// what stands before it is the operator's own. Returns whether there were any.
pub(super) fn level_dots(path: &mut String, from: usize) -> bool {
    let from = path[..from].rfind('/').map_or(0, |slash| slash + 1);
    let below = &path[from..];
    let climbs = |component: &str| component == "." || component == "..";
    if !below.split('/').any(climbs) {
        return false;
    }
    let level: Vec<&str> = below
        .split('/')
        .map(|component| match component {
            "." => "_",
            ".." => "__",
            other => other,
        })
        .collect();
    let level = level.join("/");
    path.truncate(from);
    path.push_str(&level);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &[u8], wanted: &str, changed: bool) {
        let mut out = String::new();
        let was_changed = push_header_value(&mut out, value, Place::Path);
        assert_eq!(out, wanted);
        assert_eq!(was_changed, changed, "{wanted}");
    }

    #[test]
    fn hostile_header_values_are_made_harmless() {
        check(b"nginx.log-1", "nginx.log-1", false);
        check(b"a/b c", "a/b c", false);
        check("日志".as_bytes(), "日志", false);
        check(b"a\0b", "a_b", true);
        check(b"a\r\nb", "a__b", true);
        check(b"fe80::1", "fe80__1", true);
        check(b"\xff\xfe", "__", true);
        check(&[b'x'; 5000], &"x".repeat(180), true);
        check(b"", "", false);
    }

    #[test]
    fn no_component_climbs() {
        for (path, from, wanted, changed) in [
            ("/a/../../etc", 0, "/a/__/__/etc", true),
            ("/a/./b", 0, "/a/_/b", true),
            ("/a/..b/c..", 0, "/a/..b/c..", false),
            ("/a//b", 0, "/a//b", false),
            ("./../a", 2, "./__/a", true),
            ("./../a", 3, "./__/a", true),
            ("./../a", 5, "./../a", false),
        ] {
            let mut text = path.to_owned();
            assert_eq!(level_dots(&mut text, from), changed);
            assert_eq!(text, wanted);
        }
    }
}
