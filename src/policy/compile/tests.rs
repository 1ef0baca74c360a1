//! Problems between the parts of a configuration, as people see them.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::config::{Preset, for_upstream, parse};

fn loaded(text: &str) -> Loaded {
    parse("forebay.toml", text, &|_| None).unwrap()
}

fn problems(text: &str) -> String {
    match plan(&loaded(text)) {
        Ok(_) => "none".to_owned(),
        Err(problems) => problems.render(false),
    }
}

const ONE_UPSTREAM: &str = "[upstreams.scan]\nservers = [\"http://127.0.0.1:8000\"]\n";

#[test]
fn an_unknown_upstream_is_shown_with_the_one_that_was_meant() {
    let route = "[[routes]]\nname = \"all\"\nmatch = \"/{*rest}\"\nupstream = \"scna\"\n";
    assert_snapshot!(problems(&format!("{ONE_UPSTREAM}{route}")));
}

#[test]
fn two_equal_routes_are_shown_with_both_places() {
    let routes = "[[routes]]\nname = \"one\"\nmatch = \"GET /api/{id}\"\n\n\
                  [[routes]]\nname = \"two\"\nmatch = [\"/health\", \"GET /api/{name}\"]\n";
    assert_snapshot!(problems(&format!("{ONE_UPSTREAM}{routes}")));
}

#[test]
fn an_admin_listener_that_others_can_reach_needs_a_token() {
    let route = "[[routes]]\nname = \"all\"\nmatch = \"/{*rest}\"\n[admin]\naddress = \"0.0.0.0:9090\"\n";
    assert_snapshot!(problems(&format!("{ONE_UPSTREAM}{route}")));
    assert_eq!(problems(&format!("{ONE_UPSTREAM}{route}token = \"t\"\n")), "none");
}

#[test]
fn a_rule_about_bodies_says_where_what_and_how_long() {
    let route = r#"
[[routes]]
name = "all"
match = "/{*rest}"
[routes.cache]
when = [
    { pointer = "status", in = ["done"], ttl = "1h" },
    { pointer = "/a", in = ["x", 7, true, "x"], ttl = "1h" },
    { pointer = "/a", in = ["7"], ttl = "2h" },
    { pointer = "/b", ttl = "1h" },
    { in = [1.5] },
]
"#;
    let problems = plan(&loaded(&format!("{ONE_UPSTREAM}{route}"))).unwrap_err();
    assert_snapshot!(problems);
}

#[test]
fn a_default_that_is_wrong_has_no_place_in_the_file() {
    let route = "[[routes]]\nname = \"all\"\nmatch = \"/{*rest}\"\n[admin]\naddress = \"0.0.0.0:8080\"\ntoken = \"t\"\n";
    let loaded = loaded(&format!("{ONE_UPSTREAM}{route}"));
    assert_snapshot!(plan(&loaded).unwrap_err(), @"forebay.toml: listener.address and admin.address are the same");
}

#[test]
fn any_free_port_twice_is_two_ports() {
    let any = "address = \"127.0.0.1:0\"\n";
    let route = "[[routes]]\nname = \"all\"\nmatch = \"/{*rest}\"\n";
    assert_eq!(problems(&format!("{ONE_UPSTREAM}{route}[listener]\n{any}[admin]\n{any}")), "none");
}

#[test]
fn every_problem_between_the_parts_is_shown_with_those_of_the_file() {
    assert_snapshot!(problems(
        r#"
wacth = true
[listener]
address = "127.0.0.1:9090"
trusted_proxies = ["10.0.0.0/8", "10.0.0.300"]

[upstreams.a]
servers = ["127.0.0.1:8000", "http://x", "http://x:80"]
[upstreams."b c"]

[rate_limits.starts]
key = ["client", "path:workspace"]
rates = ["2/minute", "100/60s"]
[rate_limits.none]

[in_flight.scans]
per = { key = "header:" }

[[routes]]
name = "start"
match = "POST api/execute"
upstream = "a"
rate_limits = ["strats", "none", "none"]

[[routes]]
name = "start"
match = ["GET /api/{id}", "GET /other/{x}"]
in_flight = "scan"
rate_limits = ["starts"]
invalidates = ["scan:{id}", "{"]
identity = ["query:x"]
cache = { mode = "force", tags = ["scan:{scan_id}"], key = { headers = ["a b"] } }

[[routes]]
"#
    ));
}

#[test]
fn a_dedupe_of_requests_that_start_nothing_is_a_mistake() {
    let route = |methods: &str| {
        problems(&format!(
            "{ONE_UPSTREAM}[[routes]]\nname = \"all\"\nmatch = \"{methods}/{{*rest}}\"\ndedupe = {{ by = \"body\" }}\n"
        ))
    };
    assert_snapshot!(route("GET,HEAD "), @r#"
    error: the route takes only methods that change nothing: there is no start to make once
     --> forebay.toml:6:10
      |
    6 | dedupe = { by = "body" }
      |          ^^^^^^^^^^^^^^^
      |
      = help: leave `dedupe` out: equal GETs share one request by `collapse`
    "#);
    assert_eq!([route("GET,POST "), route("")], ["none", "none"]);
}

#[test]
fn a_cap_that_finds_itself_has_bounds_in_their_order() {
    let pool = |auto: &str| {
        let route = "[[routes]]\nname = \"all\"\nmatch = \"/{*rest}\"\nin_flight = \"scans\"\n";
        problems(&format!("{ONE_UPSTREAM}[in_flight.scans]\nmax = \"auto\"\nauto = {auto}\n{route}"))
    };
    assert_snapshot!(pool("{ min = 9, max = 3 }"), @"
    error: the least cap, 9, is more than the most, 3
     --> forebay.toml:5:8
      |
    5 | auto = { min = 9, max = 3 }
      |        ^^^^^^^^^^^^^^^^^^^^
      |
      = help: auto = { min = 1, max = 64 }
    ");
    assert_eq!([pool("{ min = 3, max = 3 }"), pool("{ min = 3 }")], ["none", "none"]);
}

#[test]
fn what_does_nothing_is_a_warning() {
    let text = format!(
        "{ONE_UPSTREAM}[cache]\nmax_bytes = \"4MiB\"\n[in_flight.scans]\nmax = 2\nauto = {{ max = 9 }}\n\
         [[routes]]\nname = \"a\"\nmatch = [\"/a\", \"api/x\", \"scan.example/x\", \"localhost/x\"]\n\
         cache = {{ negative_ttl = \"1s\", ttl = \"1s\" }}\n\
         [[routes]]\nname = \"b\"\nmatch = \"/b\"\ncache = {{ mode = \"off\", ttl = \"1s\", stale_if_error = \"1s\" }}\n\
         [[routes]]\nname = \"c\"\nmatch = \"/c\"\ncache = {{ mode = \"force\", ttl = \"1s\", negative_ttl = \"1s\" }}\n"
    );
    let loaded = loaded(&text);
    let warnings: Vec<_> =
        plan(&loaded).unwrap().warnings.iter().map(|warning| loaded.source.line(warning)).collect();
    assert_snapshot!(warnings.join("\n"));
}

#[test]
fn one_bad_value_hides_nothing_that_a_table_lacks() {
    let loaded = loaded(&format!(
        "{ONE_UPSTREAM}[jobs.x]\nlease = 5\ndone = []\npace = {{ initial = \"1m\" }}\n[listener.tls]\n\
         [[routes]]\nname = \"all\"\nmatch = \"/{{*rest}}\"\ncache = {{ when = [{{ pointer = 5, in = [], ttl = \"1s\" }}] }}\n"
    ));
    assert_snapshot!(plan(&loaded).unwrap_err());
}

#[test]
fn addresses_that_cannot_both_be_bound_are_shown() {
    assert_snapshot!(problems(&format!(
        "{ONE_UPSTREAM}[listener]\naddress = [\"127.0.0.1:9090\", \"unix:/a\", \"0.0.0.0:9090\", \"unix:/a\", \"127.0.0.1:80\"]\n\
         [[routes]]\nname = \"all\"\nmatch = \"/{{*rest}}\"\n"
    )));
}

#[test]
fn what_is_no_host_no_cookie_and_no_place_for_a_log_is_shown() {
    let text = |log: &str| {
        format!(
            "{ONE_UPSTREAM}[admin]\nhosts = [\"http://x\", \"a b\", \"metrics.internal\"]\n[log]\naccess = \"{log}\"\n\
             [rate_limits.l]\nkey = [\"cookie:a b\", \"cookie:user[id]\"]\nrates = [\"1/second\"]\n\
             [[routes]]\nname = \"all\"\nmatch = \"/{{*rest}}\"\n"
        )
    };
    assert_snapshot!(plan(&loaded(&text("stdot"))).unwrap_err());
    for (log, help) in [
        ("stderr", Some("write `stdout` or `off`; a file of that name is `./stderr`")),
        ("of", Some("did you mean `off`? A file of that name is `./of`")),
        ("", Some("write `stdout`, `off`, or the path of a file")),
        ("requests", None),
        ("./stderr", None),
        ("stdout.log", None),
        ("/var/log/access", None),
    ] {
        let problems = plan(&loaded(&text(log))).unwrap_err();
        let said = problems.list().iter().find(|problem| problem.message.contains("access log"));
        assert_eq!(said.and_then(|problem| problem.help.as_deref()), help, "{log}");
    }
}

#[test]
fn an_access_log_that_cannot_be_is_found_before_it_is_opened() {
    let folder = std::env::temp_dir();
    for (path, expected) in [
        (folder.clone(), Some("is a folder")),
        (folder.join("forebay-nowhere/access.log"), Some("is not there")),
        (folder.join("access.log"), None),
        ("access.log".into(), None),
    ] {
        let route = "[[routes]]\nname = \"all\"\nmatch = \"/{*rest}\"\n";
        let loaded =
            loaded(&format!("{ONE_UPSTREAM}{route}[log]\naccess = {:?}\n", path.display().to_string()));
        let refused = plan_to_serve(&loaded).err().map(|problems| problems.to_string());
        let is_as_expected = match (&refused, expected) {
            (Some(refused), Some(expected)) => refused.contains(expected),
            (refused, expected) => refused.is_none() && expected.is_none(),
        };
        assert!(is_as_expected, "{}: {refused:?}", path.display());
    }
}

#[test]
fn a_state_file_without_a_folder_is_a_warning_where_it_is_to_be_written() {
    let path = std::env::temp_dir().join("forebay-nowhere/jobs.json").display().to_string();
    let loaded = loaded(&format!(
        "{ONE_UPSTREAM}[[routes]]\nname = \"start\"\nmatch = \"POST /scan\"\nin_flight = \"scans\"\n\
         [[routes]]\nname = \"status\"\nmatch = \"GET /scan/{{id}}\"\n[in_flight.scans]\nmax = 2\n\
         [jobs.scan]\nstart = \"start\"\nid = \"/id\"\nstatus = \"status\"\nstate = \"/state\"\n\
         done = [\"completed\"]\nstate_file = {path:?}\n"
    ));
    let told: Vec<_> =
        plan_to_serve(&loaded).unwrap().warnings.iter().map(|warning| warning.message.clone()).collect();
    assert!(matches!(&told[..], [one] if one.starts_with("the state file has no folder")), "{told:?}");
    assert!(plan(&loaded).unwrap().warnings.is_empty());
}

#[test]
fn what_could_not_be_read_is_not_reported_as_missing_too() {
    let text = "[upstreams.a]\nservers = [7]\n[in_flight.p]\nmax = \"two\"\n\
                [[routes]]\nname = 1\nmatch = 2\ncache = { mode = \"force\", ttl = 5 }\n";
    let problems = plan(&loaded(text)).unwrap_err();
    assert_eq!(problems.list().len(), 5, "{problems}");
}

#[test]
fn an_empty_file_says_what_it_lacks() {
    assert_snapshot!(plan(&loaded("")).unwrap_err(), @r#"
    forebay.toml: there is no upstream (add: [upstreams.backend] servers = ["http://127.0.0.1:8000"])
    forebay.toml: there is no route: every request would be answered 404 (add: [[routes]] name = "all" match = "/{*rest}")
    "#);
}

#[test]
fn the_shipped_and_the_built_in_configurations_have_no_problems() {
    for text in [
        include_str!("../../../config/forebay.toml"),
        include_str!("../../../config/minimal.toml"),
        &for_upstream("http://10.0.0.7:8000", None),
        &for_upstream("http://10.0.0.7:8000", Some(Preset::Scan)),
    ] {
        assert_eq!(problems(text), "none");
        let shown = crate::config::effective(&loaded(text).config);
        assert_eq!(problems(&shown), "none", "{shown}");
    }
}

#[test]
fn names_become_indices_and_a_sole_upstream_needs_no_name() {
    let loaded = loaded(include_str!("../../../config/minimal.toml"));
    let plan = plan(&loaded).unwrap();
    let start = &plan.routes[0];
    assert_eq!((&*start.name, start.upstream, start.pool), ("scan-start", 0, Some(0)));
    assert_eq!((&*plan.upstreams[0].name, plan.upstreams[0].max_connections), ("scan", 15));
    assert_eq!(start.rate_limits, [0]);
    assert_eq!(plan.routes[1].captures, ["scan_id"]);
    assert_eq!(plan.patterns().map(|(_, route)| route).collect::<Vec<_>>(), [0, 1, 2, 2, 3]);
}

#[test]
fn a_header_that_a_rate_limit_counts_by_tells_clients_apart() {
    let text = format!(
        "{ONE_UPSTREAM}[rate_limits.l]\nkey = \"header:X-Tenant\"\nrates = [\"1/second\"]\n\
         [[routes]]\nname = \"r\"\nmatch = \"/\"\nrate_limits = [\"l\"]\n"
    );
    let loaded = loaded(&text);
    let plan = plan(&loaded).unwrap();
    assert!(plan.routes[0].identity.headers().iter().any(|name| name == "x-tenant"));
}

proptest! {
    #[test]
    fn no_mutilation_of_a_good_file_makes_planning_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..8, "[ -~\n]{0,4}"), 1..4)
    ) {
        let mut text = include_str!("../../../config/minimal.toml").to_owned();
        for (index, length, insert) in cuts {
            let start = index.index(text.len());
            let end = text.floor_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, &insert);
        }
        if let Ok(loaded) = parse("f", &text, &|_| None)
            && let Err(problems) = plan(&loaded)
        {
            problems.render(false);
        }
    }
}

const STARTS: &str = "[in_flight.scans]\nmax = 2\n[in_flight.others]\nmax = 2\n\
    [[routes]]\nname = \"start\"\nmatch = \"POST /scan\"\nin_flight = \"scans\"\n\
    [[routes]]\nname = \"status\"\nmatch = \"GET /scan/{tenant}/{id}\"\n\
    [[routes]]\nname = \"upload\"\nmatch = \"PUT /scan/{tenant}/{id}\"\n";

#[test]
fn a_job_says_what_it_lacks_and_what_does_not_fit() {
    assert_snapshot!(problems(&format!(
        "{ONE_UPSTREAM}{STARTS}{}",
        r#"
[jobs.empty]

[jobs.scan]
start = "status"
id = "scan_id"
status = "statsu"
state = "/state~"
done = ["completed"]

[jobs.other]
start = "start"
id = "/scan_id"
status = "status"
state = "/status"
done = ["completed"]
holds = "others"
probe_headers = { "a b" = "x", Host = "y", X-Key = "\n" }
pace = { factor = 0.5 }
state_file = "jobs.json"

[jobs.same]
start = "start"
id = "/id"
status = "upload"
state = "/status"
done = ["completed"]
state_file = "jobs.json"
"#
    )));
}

#[test]
fn the_capture_that_names_a_job_is_called_like_its_pointer_or_is_the_only_one() {
    let job = |id: &str, path: &str| {
        format!(
            "{ONE_UPSTREAM}[[routes]]\nname = \"start\"\nmatch = \"POST /scan\"\n\
             [[routes]]\nname = \"status\"\nmatch = \"GET {path}\"\n[jobs.scan]\nstart = \"start\"\n\
             id = \"{id}\"\nstatus = \"status\"\nstate = \"/s\"\ndone = [\"ok\"]\n"
        )
    };
    for (id, path, expected) in [
        ("/scan_id", "/{scan_id}", Some("scan_id")),
        ("/data/scan_id", "/{tenant}/{scan_id}", Some("scan_id")),
        ("/data/id", "/{number}", Some("number")),
        ("/id", "/{tenant}/{number}", None),
        ("/id", "/scan", None),
    ] {
        let loaded = loaded(&job(id, path));
        let planned = plan(&loaded);
        let capture = planned.as_ref().ok().map(|plan| plan.jobs[0].capture.as_str());
        assert_eq!(capture, expected, "{id} {path}");
    }
}

#[test]
fn what_a_probe_asks_with_is_not_shown() {
    let job = "[jobs.scan]\nprobe_headers = { Authorization = \"Bearer s3cret\" }\n";
    let shown = crate::config::effective(&loaded(job).config);
    assert!(shown.contains("Authorization") && !shown.contains("s3cret"), "{shown}");
}
