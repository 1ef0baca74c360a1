//! One value of a JSON document, by JSON Pointer (RFC 6901), without building the document.
//!
//! A pointer is compiled when the configuration is loaded. Looking one up walks the text once: what lies beside the way
//! is skipped, not kept, and recursion goes no deeper than the pointer is long, whatever a document nests. Of equal keys
//! in one object the first counts.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

/// How many steps a pointer may have; below the nesting at which the parser itself gives up (128).
const MAX_STEPS: usize = 32;

/// A compiled JSON Pointer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pointer {
    steps: Box<[Step]>,
}

/// One reference token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Step {
    name: Box<str>,
    /// Where the token can name an array's element, too (RFC 6901 section 4).
    index: Option<usize>,
}

/// Why a text is no pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PointerError {
    /// Neither empty nor `/...`.
    #[error("a JSON pointer begins with a slash")]
    NoSlash,
    /// `~` that is neither `~0` nor `~1`.
    #[error("in a JSON pointer `~` is written `~0`, and a slash in a name `~1`")]
    BadEscape,
    /// More than 32 steps.
    #[error("the JSON pointer has more than {MAX_STEPS} steps")]
    TooLong,
}

/// A document is not JSON (RFC 8259), or breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a JSON document")]
pub struct NotJson;

/// A JSON value that is neither an object nor an array.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// With its escapes resolved.
    String(String),
    /// As it is written in the document: `1`, `1.0` and `1e0` are three texts.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

impl Scalar {
    /// The value as text: a string's own characters, everything else as JSON writes it.
    pub fn text(&self) -> &str {
        match self {
            Self::String(text) | Self::Number(text) => text,
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Null => "null",
        }
    }
}

impl Pointer {
    /// Compiles `/a/b/0`; the empty text is the whole document.
    ///
    /// # Errors
    ///
    /// See [`PointerError`].
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Ok(Self { steps: Box::default() });
        }
        let tokens = text.strip_prefix('/').ok_or(PointerError::NoSlash)?;
        let steps: Box<[Step]> = tokens.split('/').map(Step::parse).collect::<Result<_, _>>()?;
        if steps.len() > MAX_STEPS {
            return Err(PointerError::TooLong);
        }
        Ok(Self { steps })
    }

    /// The scalar to which it leads; `None` where it leads nowhere, or to an object or array.
    ///
    /// # Errors
    ///
    /// [`NotJson`], also where only what lies behind the value is broken: a document that breaks off says nothing.
    pub fn find(&self, document: &[u8]) -> Result<Option<Scalar>, NotJson> {
        let text = std::str::from_utf8(document).map_err(|_| NotJson)?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let found = Walk(&self.steps).deserialize(&mut deserializer).map_err(|_| NotJson)?;
        deserializer.end().map_err(|_| NotJson)?;
        found.map_or(Ok(None), |raw| scalar(raw.get()))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps
            .iter()
            .try_for_each(|step| write!(f, "/{}", step.name.replace('~', "~0").replace('/', "~1")))
    }
}

impl Step {
    fn parse(token: &str) -> Result<Self, PointerError> {
        let mut escapes = token.split('~').skip(1);
        if !escapes.all(|rest| rest.starts_with(['0', '1'])) {
            return Err(PointerError::BadEscape);
        }
        // In this order: `~01` is `~1`, not a slash.
        let name = token.replace("~1", "/").replace("~0", "~");
        let is_index = name == "0" || !name.starts_with(['0', '+']);
        Ok(Self { index: name.parse().ok().filter(|_| is_index), name: name.into() })
    }
}

fn scalar(raw: &str) -> Result<Option<Scalar>, NotJson> {
    Ok(Some(match raw.as_bytes().first() {
        Some(b'{' | b'[') | None => return Ok(None),
        Some(b'"') => Scalar::String(serde_json::from_str(raw).map_err(|_| NotJson)?),
        Some(b't') => Scalar::Bool(true),
        Some(b'f') => Scalar::Bool(false),
        Some(b'n') => Scalar::Null,
        Some(_) => Scalar::Number(raw.to_owned()),
    }))
}

/// The way that is left.
#[derive(Clone, Copy)]
struct Walk<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0.split_first() {
            None => <&RawValue>::deserialize(deserializer).map(Some),
            Some((step, rest)) => deserializer.deserialize_any(Fork { step, rest: Self(rest) }),
        }
    }
}

/// A value with the step that leads into it.
struct Fork<'p> {
    step: &'p Step,
    rest: Walk<'p>,
}

impl<'de> Visitor<'de> for Fork<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut is_passed = false;
        while let Some(is_here) = map.next_key_seed(IsKey(&self.step.name))? {
            if is_here && !is_passed {
                is_passed = true;
                found = map.next_value_seed(self.rest)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        for _ in 0..self.step.index.unwrap_or(0) {
            if array.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = match self.step.index {
            Some(_) => array.next_element_seed(self.rest)?.flatten(),
            None => None,
        };
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether an object's key is this one.
struct IsKey<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
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
            assert_eq!(
                Pointer::parse("/v").unwrap().find(document.as_bytes()),
                Ok(Some(expected)),
                "{document}"
            );
        };
        is(r#"{"v":1.0e+2}"#, Scalar::Number("1.0e+2".into()));
        is(
            r#"{"v":123456789012345678901234567890}"#,
            Scalar::Number("123456789012345678901234567890".into()),
        );
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
            Value::Array(elements) => elements
                .iter()
                .enumerate()
                .for_each(|(index, inner)| ways(inner, &format!("{at}/{index}"), all)),
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
}
