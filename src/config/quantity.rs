//! How a quantity is read from the file, written to it, and described to editors.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use super::values::{ByteSize, Period, Rate};

/// What a quantity looks like in the file.
pub(super) trait Quantity: FromStr<Err = String> {
    /// What to write, for the message about something else.
    const EXPECTED: &'static str;
    /// The form of the string, for editors; a reference to the environment passes too.
    const PATTERN: &'static str;
    /// A plain integer, where that is a way to write it.
    fn from_integer(_number: u64) -> Option<Self> {
        None
    }
}

impl Quantity for Period {
    const EXPECTED: &'static str =
        "a duration such as \"250ms\", \"5s\" or \"1h\" (units: ms, s, m for minutes, h, d)";
    const PATTERN: &'static str = r"^[0-9]+(ms|s|m|h|d)$|\$\{";
}

impl Quantity for ByteSize {
    const EXPECTED: &'static str =
        "a size such as \"64KiB\", \"100MiB\" or \"10MB\", or a whole number of bytes";
    const PATTERN: &'static str = r"^[0-9]+([KMG]?i?B)?$|\$\{";

    fn from_integer(number: u64) -> Option<Self> {
        Some(Self(number))
    }
}

impl Quantity for Rate {
    const EXPECTED: &'static str = "a rate such as \"2/minute\", \"10/hour\" or \"20/60s\"";
    const PATTERN: &'static str = r"^[0-9]+/(second|minute|hour|day|[0-9]+(ms|s|m|h|d))$|\$\{";
}

struct QuantityVisitor<T>(PhantomData<T>);

impl<T: Quantity> Visitor<'_> for QuantityVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        u64::try_from(number)
            .ok()
            .and_then(T::from_integer)
            .ok_or_else(|| E::invalid_type(de::Unexpected::Signed(number), &self))
    }
}

macro_rules! quantity_in_the_file {
    ($($name:ident: $types:tt),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(QuantityVisitor(PhantomData))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": $types, "pattern": $name::PATTERN })
            }
        }
    )*};
}

quantity_in_the_file!(Period: "string", ByteSize: ["string", "integer"], Rate: "string");
