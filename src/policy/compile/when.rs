//! `cache.when`: the pointers read, and no value twice.

use toml::Spanned;

use super::Findings;
use crate::cache::BodyRule;
use crate::config::Problem;
use crate::config::route::when::When;
use crate::http::json::Pointer;

/// In the order of the file.
pub(super) fn check(rules: &[Spanned<When>], findings: &mut Findings<'_>) -> Vec<BodyRule> {
    let mut checked = Vec::new();
    for rule in rules {
        let pointer = check_rule_pointer(rule, findings);
        let values = &rule.get_ref().values;
        if values.is_empty() {
            let problem = Problem::at(rule.span(), "the rule does not say which values match");
            findings.missing(&rule.span(), "in", problem.help("add: in = [\"completed\"]"));
        }
        let Some(ttl) = rule.get_ref().ttl else {
            let problem = Problem::at(rule.span(), "the rule does not say how long such a response is fresh");
            findings.missing(&rule.span(), "ttl", problem.help("add: ttl = \"1h\""));
            continue;
        };
        let Some(pointer) = pointer else { continue };
        let mut texts: Vec<String> = Vec::new();
        for value in values {
            let text = &value.get_ref().0;
            let is_taken = |rule: &BodyRule| rule.pointer == pointer && rule.values.contains(text);
            if texts.contains(text) || checked.iter().any(is_taken) {
                let problem = Problem::at(value.span(), format!("`{text}` has matched before"));
                findings
                    .add(problem.help("the first rule that matches counts: remove it in one of the places"));
            }
            texts.push(text.clone());
        }
        checked.push(BodyRule { pointer, values: texts, ttl: ttl.0 });
    }
    checked
}

fn check_rule_pointer(rule: &Spanned<When>, findings: &mut Findings<'_>) -> Option<Pointer> {
    let Some(text) = &rule.get_ref().pointer else {
        let problem = Problem::at(rule.span(), "the rule does not say where the value is");
        findings.missing(&rule.span(), "pointer", problem.help("add: pointer = \"/status\""));
        return None;
    };
    check_pointer(text, findings)
}

/// A pointer, told when it is none.
pub(super) fn check_pointer(text: &Spanned<String>, findings: &mut Findings<'_>) -> Option<Pointer> {
    match Pointer::parse(text.get_ref()) {
        Ok(pointer) => Some(pointer),
        Err(error) => {
            let problem =
                Problem::at(text.span(), format!("{error}, which `{}` does not keep to", text.get_ref()));
            findings.add(problem.help("write it like \"/status\" or \"/jobs/0/state\""));
            None
        }
    }
}
