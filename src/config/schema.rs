//! The JSON Schema of the configuration file, for editors.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Value, json};

use super::Config;

/// A reference to the environment, which a string may hold in any place.
const VARIABLE: &str = r"\$\{";

/// The schema (JSON Schema 2020-12). Descriptions name the unit of a value, defaults are the real ones.
pub fn json_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.root_schema_for::<Config>();
    RecursiveTransform(without_null).transform(&mut schema);
    RecursiveTransform(or_a_variable).transform(&mut schema);
    schema.to_value()
}

/// Where one of several words is expected, a variable may hold it.
fn or_a_variable(schema: &mut Schema) {
    for list in ["oneOf", "anyOf"] {
        let Some(Value::Array(choices)) = schema.get_mut(list) else { continue };
        if choices.iter().any(|choice| choice.get("const").is_some_and(Value::is_string)) {
            choices.push(json!({ "type": "string", "pattern": VARIABLE }));
        }
    }
}

/// TOML has no null: what may be absent is absent. And a table's default is the sum of its keys'.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.get("default").is_some_and(|value| value.is_null() || value.is_object()) {
        object.remove("default");
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if let [only] = choices.as_slice()
            && let Value::Object(only) = only.clone()
        {
            object.remove("anyOf");
            object.extend(only);
        }
    }
}
