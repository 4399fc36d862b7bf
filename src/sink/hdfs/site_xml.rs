//! One property of a Hadoop `*-site.xml`, for the decision which file system a path without a scheme
//! is on. All else in those files is read by the HDFS client itself.

use std::path::Path;

/// The value of property `name` in the file at `path`, if both are there.
pub(super) fn value(path: &Path, name: &str) -> Option<String> {
    value_in(&std::fs::read_to_string(path).ok()?, name)
}

fn value_in(text: &str, name: &str) -> Option<String> {
    let text = without_comments(text);
    let properties = text.split("<property>").skip(1);
    // Of a property given twice the last counts, as in Hadoop.
    properties
        .filter(|property| element(property, "name") == Some(name))
        .filter_map(|property| element(property, "value"))
        .last()
        .map(str::to_owned)
}

fn element<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("<{tag}>"))?;
    let (content, _) = after.split_once(&format!("</{tag}>"))?;
    Some(content.trim())
}

fn without_comments(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("<!--") {
        kept.push_str(before);
        rest = comment.split_once("-->").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_value_outside_comments_counts() {
        let text = "<configuration>
            <property><name>a</name><value> 1 </value></property>
            <!-- <property><name>a</name><value>2</value></property> -->
            <property>\n<name>b</name>\n<value>3</value></property>
            </configuration>";
        assert_eq!(value_in(text, "a").as_deref(), Some("1"));
        assert_eq!(value_in(text, "b").as_deref(), Some("3"));
        assert_eq!(value_in(text, "c"), None);
    }
}
