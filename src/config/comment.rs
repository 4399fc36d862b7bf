//! Inline comments: `capacity = 100  # events`.
//!
//! A properties file knows no inline comments, so the text belongs to the value; authors who write one
//! mean it as a comment. Where blanks cannot be part of a value it is taken off, with a warning.
//! Control plane only; pure functions.

/// `value` in two parts, if something that looks like a comment follows its first word or words: what
/// stands before, trimmed, and the comment.
pub fn split(value: &str) -> Option<(&str, &str)> {
    let mut previous_blank = false;
    for (index, character) in value.char_indices() {
        let rest = &value[index..];
        let opens = rest.starts_with('#') || rest.starts_with("//");
        if opens && previous_blank {
            return Some((value[..index].trim_end(), rest));
        }
        previous_blank = character.is_whitespace();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_follows_a_blank() {
        assert_eq!(split("100  # 主Collector"), Some(("100", "# 主Collector")));
        assert_eq!(split("true // why"), Some(("true", "// why")));
        assert_eq!(split("hdfs://nn/a#b"), None);
        assert_eq!(split("spooldir -----》x"), None);
    }
}
