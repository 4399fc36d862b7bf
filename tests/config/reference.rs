//! `docs/CONFIGURATION.md` says what the tables of the code say.

use std::path::Path;

use flumen::config::reference;

const BEGIN: &str = "<!-- tables: begin -->\n";
const END: &str = "<!-- tables: end -->\n";

#[test]
fn the_reference_is_held_to_the_tables_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = document
        .split_once(BEGIN)
        .expect("the document has the begin mark");
    let (tables, tail) = rest.split_once(END).expect("the document has the end mark");
    let expected = format!("\n{}\n", reference::markdown());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{expected}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(
        tables, expected,
        "run with UPDATE_GOLDEN=1 and read the difference"
    );
}
