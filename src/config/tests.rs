//! What people see of a configuration: its problems, its effective text, the shipped files.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

fn no_env(_: &str) -> Option<String> {
    None
}

/// The problems as a pipe shows them.
fn problems(text: &str) -> String {
    match parse("forebay.toml", text, &no_env) {
        Ok(loaded) => Problems::new(loaded.source, loaded.problems).render(false),
        Err(problems) => problems.render(false),
    }
}

#[test]
fn an_unknown_key_is_shown_with_the_one_that_was_meant() {
    assert_snapshot!(problems("[[routes]]\nname = \"all\"\nmatch = \"/{*rest}\"\ntimout = \"5s\"\n"));
}

#[test]
fn a_wrong_unit_is_shown_with_those_that_are_allowed() {
    assert_snapshot!(problems("[listener]\nidle_timeout = \"5M\"\nmax_body_bytes = \"10m\"\n"));
}

#[test]
fn an_unset_variable_is_shown_where_it_is_referred_to() {
    assert_snapshot!(problems("[admin]\ntoken = \"Bearer ${FOREBAY_ADMIN_TOKEN}\"\n"));
}

#[test]
fn every_syntax_error_is_shown() {
    assert_snapshot!(problems("watch = yes\n[listener\naddress = \"0.0.0.0:80\"\nworkers = \n"));
}

#[test]
fn every_problem_is_shown_at_once_in_the_order_of_the_file() {
    assert_snapshot!(problems(
        "wacth = true\n\n[upstreams.scan]\nservers = [\"http://a:1\", 7]\nbalance = \"least_requests\"\nretries = -1\n\
         push = { interval = \"2s\" }\n\n[rate_limits.start]\nrates = [\"2/minute\", \"10/fortnight\"]\n\n\
         [in_flight.scans]\nmax = \"two\"\nqueue = { size = 0 }\n\n[[routes]]\npriority = 12\nserver_timing = \"yes\"\n\
         cache = { ttl = 5, key = { query_sorted = true } }\n"
    ));
}

#[test]
fn every_problem_has_a_form_of_one_line() {
    let loaded = parse("f.toml", "a = 1\n[log]\nformat = \"jsn\"\n", &no_env).unwrap();
    assert_snapshot!(Problems::new(loaded.source, loaded.problems), @r"
    f.toml:1:1: unknown key `a` (allowed here: watch, listener, admin, upstreams, rate_limits, in_flight, jobs, cache, routes, log)
    f.toml:3:10: unknown value `jsn` (did you mean `json`?)
    ");
}

#[test]
fn a_file_that_cannot_be_read_is_one_clear_line() {
    let problems = load("/nowhere/forebay.toml".as_ref(), &no_env).unwrap_err();
    assert_snapshot!(problems, @"/nowhere/forebay.toml: cannot read the configuration: No such file or directory (os error 2)");
    assert_snapshot!(problems.render(false), @"error: /nowhere/forebay.toml: cannot read the configuration: No such file or directory (os error 2)");
}

#[test]
fn what_could_be_read_survives_what_could_not() {
    let text = "[upstreams.a]\nservers = [\"http://a:1\"]\nretries = \"x\"\n[log]\nlevel = \"debug\"\n";
    let loaded = parse("f", text, &no_env).unwrap();
    assert_eq!(loaded.config.log.level, "debug");
    let upstream = &loaded.config.upstreams["a"];
    assert_eq!((upstream.get_ref().servers.len(), upstream.get_ref().retries), (1, 1));
    assert!(loaded.has_lost(&upstream.span(), "retries"));
}

#[test]
fn a_key_is_lost_by_its_value_by_an_element_of_its_list_and_by_a_misspelling() {
    let text = "[upstreams.a]\nservers = [7]\n[upstreams.b]\nsevers = []\nretries = \"x\"\n";
    let loaded = parse("f", text, &no_env).unwrap();
    let has_lost =
        |upstream: &str, key: &str| loaded.has_lost(&loaded.config.upstreams[upstream].span(), key);
    assert_eq!(["servers", "retries"].map(|key| has_lost("a", key)), [true, false]);
    assert_eq!(["servers", "retries", "tls"].map(|key| has_lost("b", key)), [true, true, false]);
}

#[test]
fn a_problem_at_the_first_byte_and_a_byte_that_is_no_text_have_their_lines() {
    assert_snapshot!(problems("= 1\n"));
    let path = std::env::temp_dir().join(format!("forebay-bytes-{}.toml", std::process::id()));
    std::fs::write(&path, b"watch = true\n[log]\nlevel = '\xff'\n").unwrap();
    let refused = load(&path, &no_env).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(refused.ends_with(".toml:3:10: not UTF-8: this byte belongs to no character"), "{refused}");
}

#[test]
fn a_value_of_the_wrong_kind_is_shown_with_how_to_write_it() {
    assert_snapshot!(problems(
        "[listener]\nmax_connections = \"${N:-5}\"\nworkers = \"2\"\nheader_timeout = 2020-01-01\n\
         max_header_bytes = 123456789012345678901234567890\n\
         address = [\"localhost\", \"8080\", \":8080\"]\n\
         [upstreams.a]\nservers = \"http://a:1\"\n[rate_limits.a]\nrates = \"2/minute\"\nipv6_prefix = 999\n\
         [routes]\nname = \"all\"\n"
    ));
}

#[test]
fn a_place_survives_the_expansion_of_variables() {
    let env = |name: &str| (name == "UP").then(|| "a-name-longer-than-its-reference".to_owned());
    let text = "[[routes]]\nname = \"r\"\nupstream = \"${UP}\"\n";
    let loaded = parse("f", text, &env).unwrap();
    let upstream = loaded.config.routes[0].get_ref().upstream.clone().unwrap();
    assert_eq!(upstream.get_ref(), "a-name-longer-than-its-reference");
    assert_eq!(&text[upstream.span()], "\"${UP}\"");
}

#[test]
fn the_effective_configuration_reads_back_as_itself_without_its_secrets() {
    let text = "[admin]\ntoken = \"s3cret\"\nhosts = [\"$$x\"]\n[upstreams.only]\nservers = [\"http://a:1\"]\n\
                [[routes]]\nname = \"r\"\nmatch = [\"GET /a\", \"/b\"]\ncache = { ttl = \"90s\" }\n";
    let config = parse("f", text, &no_env).unwrap().config;
    let shown = effective(&config);
    assert!(!shown.contains("s3cret"));
    let again = parse("f", &shown, &no_env).unwrap();
    assert!(again.problems.is_empty(), "{:?}", again.problems);
    assert_eq!(again.config.admin.hosts[0].get_ref(), "$x");
    assert_eq!(effective(&again.config), shown);
    assert_snapshot!(shown);
}

proptest! {
    #[test]
    fn no_text_makes_reading_or_showing_its_problems_panic(text in "[\\[\\]a-z_.=\"'$\\{\\} \n0-9#\u{e9}\t,]{0,200}") {
        problems(&text);
    }

    #[test]
    fn no_mutilation_of_a_good_file_makes_reading_or_showing_its_problems_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[ -~\n\u{1f600}]{0,6}"), 1..6)
    ) {
        let mut text = include_str!("../../config/forebay.toml").to_owned();
        for (index, length, insert) in cuts {
            let start = text.floor_char_boundary(index.index(text.len()));
            let end = text.floor_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end.max(start), &insert);
        }
        problems(&text);
    }
}

/// The shipped file with its commented-out settings (`#key = value`, no space) switched on.
fn uncommented(text: &str) -> String {
    let setting = |line: &str| {
        line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') && line.contains(['=', '['])
    };
    let lines = text.lines().map(|line| line.strip_prefix('#').filter(|rest| setting(rest)).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

const SHIPPED: &str = include_str!("../../config/forebay.toml");

/// Every key that the schema knows, `upstreams.*.servers`, with its default where it has one.
fn schema_keys() -> Vec<(String, Option<serde_json::Value>)> {
    fn walk(
        node: &serde_json::Value,
        root: &serde_json::Value,
        path: &str,
        keys: &mut Vec<(String, Option<serde_json::Value>)>,
    ) {
        if let Some(reference) = node["$ref"].as_str() {
            return walk(root.pointer(&reference[1..]).unwrap(), root, path, keys);
        }
        let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        for (key, child) in node["properties"].as_object().into_iter().flatten() {
            keys.push((join(key), child.get("default").cloned()));
            walk(child, root, &join(key), keys);
        }
        for inner in
            [&node["additionalProperties"], &node["items"]].into_iter().filter(|inner| inner.is_object())
        {
            walk(inner, root, &join("*"), keys);
        }
    }
    let (schema, mut keys) = (json_schema(), Vec::new());
    walk(&schema, &schema, "", &mut keys);
    keys
}

/// The values that a file gives a key of the schema.
fn at<'a>(value: &'a serde_json::Value, path: &str) -> Vec<&'a serde_json::Value> {
    path.split('.').fold(vec![value], |values, key| {
        let inside = values.into_iter().flat_map(|value| match (key, value) {
            ("*", serde_json::Value::Array(list)) => list.iter().collect(),
            ("*", serde_json::Value::Object(table)) => table.values().collect(),
            _ => value.get(key).into_iter().collect::<Vec<_>>(),
        });
        inside.collect()
    })
}

#[test]
fn the_shipped_file_shows_every_key_of_the_schema() {
    let file: serde_json::Value = toml::from_str(&uncommented(SHIPPED)).unwrap();
    let missing: Vec<_> =
        schema_keys().into_iter().map(|(key, _)| key).filter(|key| at(&file, key).is_empty()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(problems_of(&uncommented(SHIPPED)).is_empty(), "{}", problems(&uncommented(SHIPPED)));
}

#[test]
fn what_the_shipped_file_sets_are_the_defaults() {
    let file: serde_json::Value = toml::from_str(&uncommented(SHIPPED)).unwrap();
    for (key, default) in schema_keys() {
        let Some(default) =
            default.filter(|default| !default.is_object() && default != &serde_json::json!([]))
        else {
            continue;
        };
        for value in at(&file, &key) {
            assert_eq!(written(value), written(&default), "{key}");
        }
    }
    assert!(problems_of(SHIPPED).is_empty(), "{}", problems(SHIPPED));
}

/// `"60s"` and `"1m"` are the same.
fn written(value: &serde_json::Value) -> String {
    let text = value.as_str().unwrap_or_default();
    text.parse::<values::Period>().map_or_else(|_| value.to_string(), |period| period.to_string())
}

fn problems_of(text: &str) -> Vec<Problem> {
    parse("forebay.toml", text, &no_env).unwrap().problems
}

#[test]
fn the_schema_takes_a_variable_for_every_word_and_quantity() {
    fn walk(node: &serde_json::Value, path: &str, seen: &mut usize) {
        let takes = |node: &serde_json::Value| {
            node["pattern"].as_str().is_some_and(|pattern| pattern.ends_with(r"\$\{"))
        };
        let choices: Vec<_> =
            ["oneOf", "anyOf"].iter().filter_map(|list| node[list].as_array()).flatten().collect();
        if !choices.is_empty() {
            *seen += 1;
            assert!(choices.iter().any(|choice| takes(choice)), "{path}: {node:#}");
        } else if node["pattern"].is_string() {
            *seen += 1;
            assert!(takes(node), "{path}: {node:#}");
        }
        assert!(node["enum"].is_null(), "{path}: {node:#}");
        let tables = ["properties", "$defs"].iter().filter_map(|table| node[table].as_object()).flatten();
        tables.for_each(|(key, child)| walk(child, key, seen));
        let inner = [&node["items"], &node["additionalProperties"]];
        inner.iter().filter(|child| child.is_object()).for_each(|child| walk(child, path, seen));
    }
    let mut seen = 0;
    walk(&json_schema(), "", &mut seen);
    assert!(seen > 40, "{seen}");
}

#[test]
fn the_schema_describes_every_key() {
    fn walk(node: &serde_json::Value, path: &str) {
        for (key, child) in node["properties"].as_object().into_iter().flatten() {
            assert!(child["description"].is_string(), "{path}.{key}");
            walk(child, key);
        }
        for (name, definition) in node["$defs"].as_object().into_iter().flatten() {
            walk(definition, name);
        }
    }
    let schema = json_schema();
    walk(&schema, "");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(!schema.to_string().contains("null"), "{schema:#}");
}
