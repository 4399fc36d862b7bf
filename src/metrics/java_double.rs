//! Doubles as Java prints them: dashboards that parse Flume's JSON have seen only this form.

/// `Double.toString`: plain decimals from 10⁻³ to below 10⁷, else a mantissa with an exponent,
/// always at least one digit after the point, and no more digits than identify the number.
pub(crate) fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        // Rust's `{:?}` has the shortest digits and the point, and no exponent in this range.
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').expect("`{:e}` writes an exponent");
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}E{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_read_as_java_prints_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (100.0, "100.0"),
            (12.5, "12.5"),
            (100.0 / 3.0, "33.333333333333336"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (1.0 / 1_000_000.0 * 100.0, "9.999999999999999E-5"),
            (2.5e-5, "2.5E-5"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::INFINITY, "Infinity"),
            (-0.5, "-0.5"),
        ] {
            assert_eq!(java_double(value), text);
        }
    }
}
