//! `TEXT`: body and a line feed. `HEADER_AND_TEXT`: the headers as Java prints a map, before it.

use crate::event::EventView;

/// Appends the body, and a line feed if asked.
pub(super) fn append_body(event: &EventView<'_>, append_newline: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(event.body());
    if append_newline {
        out.push(b'\n');
    }
}

/// Appends `{key=value, key=value} `, in the order of a Java `HashMap`.
pub(super) fn append_headers(event: &EventView<'_>, out: &mut Vec<u8>) {
    let headers = event.headers_in_flume_order();
    out.push(b'{');
    for (index, (key, value)) in headers.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(key);
        out.push(b'=');
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"} ");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Serializer;
    use crate::config::SerializerConfig;
    use crate::event::{Events, Overlay, encode_event};

    fn check(config: &SerializerConfig, headers: &[(&str, &str)], wanted: &str) {
        let headers: BTreeMap<String, String> = headers
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let mut encoded = Vec::new();
        encode_event(&mut encoded, &headers, b"hello");
        let overlay = Overlay::default();
        let event = Events::new(&encoded, &overlay, 0).next().unwrap().unwrap();
        let mut serializer = Serializer::new(config, [0; 16]).unwrap();
        let mut out = Vec::new();
        serializer.begin(&mut out);
        serializer.append(&event, &mut out);
        serializer.flush(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn text_is_body_and_line_feed() {
        let headers = &[("host", "a")];
        let text = |append_newline| SerializerConfig::Text { append_newline };
        check(&text(true), headers, "hello\n");
        check(&text(false), headers, "hello");
    }

    #[test]
    fn headers_come_as_java_prints_a_map() {
        let config = SerializerConfig::HeaderAndText {
            append_newline: true,
        };
        check(&config, &[], "{} hello\n");
        check(
            &config,
            &[("timestamp", "1"), ("host", "h"), ("file", "/f")],
            "{file=/f, host=h, timestamp=1} hello\n",
        );
    }
}
