use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn find(pointer: &str, document: &str) -> Result<Option<String>, NotJson> {
    let found = Pointer::parse(pointer).unwrap().find(document.as_bytes())?;
    Ok(found.map(|scalar| scalar.text().to_owned()))
}

/// The example of RFC 6901 section 5, and what its sections 3 and 4 say about arrays.
#[test]
fn a_pointer_leads_where_rfc_6901_says() {
    let document = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,
        "deep":{"er":[{"x":true}]},"01":"name","no":null}"#;
    for (pointer, expected) in [
        ("", None),
        ("/foo", None),
        ("/foo/0", Some("bar")),
        ("/foo/1", Some("baz")),
        ("/foo/2", None),
        ("/foo/-", None),
        ("/foo/01", None),
        ("/foo/+1", None),
        ("/foo/99999999999999999999999", None),
        ("/", Some("0")),
        ("/a~1b", Some("1")),
        ("/c%d", Some("2")),
        ("/e^f", Some("3")),
        ("/g|h", Some("4")),
        ("/i\\j", Some("5")),
        ("/k\"l", Some("6")),
        ("/ ", Some("7")),
        ("/m~0n", Some("8")),
        ("/deep/er/0/x", Some("true")),
        ("/deep/er/0/x/y", None),
        ("/01", Some("name")),
        ("/no", Some("null")),
        ("/missing", None),
    ] {
        assert_eq!(find(pointer, document).unwrap().as_deref(), expected, "{pointer}");
    }
}

#[test]
fn a_text_that_is_no_pointer_is_told_why() {
    for (text, error) in [
        ("status", PointerError::NoSlash),
        ("/a~", PointerError::BadEscape),
        ("/a~2", PointerError::BadEscape),
        ("/~~0", PointerError::BadEscape),
        (&"/a".repeat(33), PointerError::TooLong),
    ] {
        assert_eq!(Pointer::parse(text), Err(error), "{text}");
    }
}

#[test]
fn a_value_comes_as_it_is_written() {
    let is = |document: &str, expected: Scalar| {
        assert_eq!(Pointer::parse("/v").unwrap().find(document.as_bytes()), Ok(Some(expected)), "{document}");
    };
    is(r#"{"v":1.0e+2}"#, Scalar::Number("1.0e+2".into()));
    is(r#"{"v":123456789012345678901234567890}"#, Scalar::Number("123456789012345678901234567890".into()));
    is(r#"{"v":"a\u00e9\n"}"#, Scalar::String("aé\n".into()));
    is(r#"{"v": false }"#, Scalar::Bool(false));
    is(r#"{"v":null}"#, Scalar::Null);
    is(r#"{"v":"first","v":"second"}"#, Scalar::String("first".into()));
}

/// What the first of two equal keys holds counts, even where the way ends in it.
#[test]
fn a_later_equal_key_never_stands_in_for_the_first() {
    assert_eq!(find("/a/b", r#"{"a":{},"a":{"b":1}}"#), Ok(None));
}

#[test]
fn what_is_not_a_whole_document_says_nothing() {
    for document in [
        "",
        "nonsense",
        r#"{"status":"done""#,
        r#"{"status":"done"} trailing"#,
        r#"{"status":"done","b":[1,}"#,
        "{\"status\":\"\u{1}\"}",
        r#"{"status":"\ud800"}"#,
    ] {
        assert_eq!(find("/status", document), Err(NotJson), "{document}");
    }
    assert_eq!(Pointer::parse("/status").unwrap().find(b"{\"status\":1,\"x\":\"\xff\"}"), Err(NotJson));
}

#[test]
fn nesting_is_no_danger() {
    let (open, close) = ("[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(
        find("/status", &format!(r#"{{"x":{open}{close},"status":"done"}}"#)),
        Ok(Some("done".into()))
    );
    assert_eq!(find("", &format!("{open}{close}")), Ok(None));
    let pointer = "/0".repeat(32);
    assert_eq!(find(&pointer, &format!("{}7{}", &open[..32], &close[..32])), Ok(Some("7".into())));
    assert_eq!(find(&pointer, &open), Err(NotJson));
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a/~01\\PC]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[ab/~01]{0,2}", inner), 0..6)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// Every way into a document, and some beside them.
fn ways(value: &Value, at: &str, all: &mut Vec<String>) {
    all.extend([at.to_owned(), format!("{at}/0"), format!("{at}/ab"), format!("{at}/-")]);
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, inner)| {
            ways(inner, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), all);
        }),
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(index, inner)| ways(inner, &format!("{at}/{index}"), all));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #[test]
    fn the_walk_finds_what_a_built_document_holds(value in document(), pretty in any::<bool>()) {
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        let mut all = Vec::new();
        ways(&value, "", &mut all);
        for way in all {
            let expected = value.pointer(&way).and_then(|found| match found {
                Value::Object(_) | Value::Array(_) => None,
                Value::String(text) => Some(Scalar::String(text.clone())),
                Value::Number(number) => Some(Scalar::Number(number.to_string())),
                Value::Bool(is_so) => Some(Scalar::Bool(*is_so)),
                Value::Null => Some(Scalar::Null),
            });
            prop_assert_eq!(Pointer::parse(&way).unwrap().to_string(), way.as_str());
            prop_assert_eq!(Pointer::parse(&way).unwrap().find(text.as_bytes()), Ok(expected), "{} in {}", way, text);
        }
    }

    #[test]
    fn no_bytes_do_harm(document in prop::collection::vec(any::<u8>(), 0..64), pointer in "(/[a0~1]{0,3}){0,4}") {
        if let Ok(pointer) = Pointer::parse(&pointer) {
            let _ = pointer.find(&document);
        }
    }

    #[test]
    fn what_breaks_off_says_nothing(value in document(), at in any::<prop::sample::Index>()) {
        let text = serde_json::json!({ "v": value }).to_string();
        let broken = &text.as_bytes()[..at.index(text.len())];
        prop_assert_eq!(Pointer::parse("/v").unwrap().find(broken), Err(NotJson));
    }
}
