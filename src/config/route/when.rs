//! `when` in `[routes.cache]`: how long, by what a JSON body says.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::config::values::Period;

/// A freshness lifetime for the responses whose JSON body has one of these values at this place.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct When {
    /// A JSON Pointer (RFC 6901) such as `/status` or `/jobs/0/state`; has no default.
    #[schemars(with = "Option<String>")]
    pub pointer: Option<Spanned<String>>,
    /// The values that match: strings, whole numbers, true or false; at least one.
    #[serde(rename = "in")]
    #[schemars(with = "Vec<Word>")]
    pub values: Vec<Spanned<Word>>,
    /// The freshness lifetime then (duration); `0s`: it is not stored. Has no default.
    pub ttl: Option<Period>,
}

/// A scalar as JSON has it, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Word(pub String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;
        impl Visitor<'_> for AnyScalar {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a whole number, true or false")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
                Ok(Word(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }

            fn visit_bool<E: Error>(self, is_so: bool) -> Result<Word, E> {
                Ok(Word(is_so.to_string()))
            }
        }
        deserializer.deserialize_any(AnyScalar)
    }
}

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer", "boolean"] })
    }
}
