//! The command line: what it says, where it says it, and how it ends.

use serde_json::Value;

use crate::harness::command::Ended;
use crate::harness::origin::dead_address;
use crate::harness::{Origin, Proxy, Scratch, forebay, request};

const GOOD: &str = "
[upstreams.scan]
servers = ['http://127.0.0.1:8000']

[rate_limits.start]
key = 'client_ip'
rates = ['2/minute']

[in_flight.scans]
max = 2

[[routes]]
name = 'start'
match = 'POST /api/scan/execute'
rate_limits = ['start']
in_flight = 'scans'

[[routes]]
name = 'status'
match = 'GET /api/scan/status/{scan_id}'
cache = { mode = 'force', ttl = '2s' }
";

async fn check(text: &str) -> Ended {
    let scratch = Scratch::new();
    scratch.write("forebay.toml", text);
    forebay(&["check"]).within(scratch.path()).run().await
}

#[tokio::test]
async fn a_good_file_passes() {
    let ended = check(GOOD).await;
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

#[tokio::test]
async fn a_good_file_is_counted_and_what_does_nothing_in_it_is_a_warning() {
    let job = "[jobs.scan]\nstart = 'start'\nid = '/id'\nstatus = 'status'\nstate = '/s'\ndone = ['ok']\n";
    let ended = check(&format!("{GOOD}[cache]\nmax_bytes = '4MiB'\n{job}")).await;
    assert!(ended.status == Some(0) && ended.stdout.contains("routes: 2,"), "{ended:?}");
    assert!(ended.stdout.contains("jobs: 1"), "{}", ended.stdout);
    assert!(ended.stderr.starts_with("warning: ") && ended.stderr.contains("max_object"), "{}", ended.stderr);
}

#[tokio::test]
async fn every_mistake_is_told_at_once_with_its_place() {
    let bad = "[listener]\nadress = '0.0.0.0:8080'\nheader_timeout = '10 parsecs'\n\n\
               [upstreams.scan]\nservers = ['http://127.0.0.1:8000']\n\n\
               [[routes]]\nname = 'a'\nmatch = '/a'\nupstream = 'scam'\n\n\
               [[routes]]\nname = 'b'\nmatch = '/b'\nrate_limits = ['missing']\n";
    let ended = check(bad).await;
    assert_eq!(ended.status, Some(2), "{ended:?}");
    let text = ended.stderr + &ended.stdout;
    for expected in [
        "forebay.toml:2:1",
        "adress",
        "address",
        "forebay.toml:3:",
        "10 parsecs",
        "forebay.toml:11:",
        "scam",
        "forebay.toml:16:",
        "missing",
        "^",
    ] {
        assert!(text.contains(expected), "no {expected} in\n{text}");
    }
}

#[tokio::test]
async fn each_kind_of_mistake_ends_with_2_and_names_its_place() {
    let good = "[upstreams.scan]\nservers = ['http://127.0.0.1:8000']\n";
    for (text, expected) in [
        ("not toml at all [".to_owned(), "forebay.toml:1:"),
        ("[upstreams.scan]\n".to_owned(), "servers"),
        ("[upstreams.scan]\nservers = []\n".to_owned(), "servers"),
        ("[upstreams.scan]\nservers = ['ftp://x']\n".to_owned(), "ftp"),
        (format!("{good}[rate_limits.a]\nrates = ['2/fortnight']\n"), "fortnight"),
        (format!("{good}[rate_limits.a]\nrates = ['2/minute']\nkey = 'client_up'\n"), "client_up"),
        (format!("{good}[cache]\nmax_bytes = '5 bananas'\n"), "bananas"),
        (format!("{good}[admin]\ntoken = '${{FOREBAY_TEST_UNSET}}'\n"), "FOREBAY_TEST_UNSET"),
        (format!("{good}[admin]\naddress = '0.0.0.0:9090'\n"), "token"),
        (format!("{good}[[routes]]\nname = 'a'\nmatch = '/x/{{a'\n"), "/x/{a"),
        (
            format!(
                "{good}[[routes]]\nname = 'a'\nmatch = '/x/{{a}}'\n[[routes]]\nname = 'b'\nmatch = '/x/{{b}}'\n"
            ),
            "/x/{b}",
        ),
    ] {
        let ended = check(&text).await;
        let said = ended.stderr.clone() + &ended.stdout;
        assert_eq!(ended.status, Some(2), "{text}\n{said}");
        assert!(
            said.contains(expected) && said.contains("forebay.toml"),
            "no {expected} for\n{text}\nin\n{said}"
        );
    }
}

#[tokio::test]
async fn a_missing_file_is_one_line_and_2() {
    let scratch = Scratch::new();
    for command in ["check", "run"] {
        let ended = forebay(&[command, "--config", "nowhere.toml"]).within(scratch.path()).run().await;
        assert_eq!((ended.status, ended.stderr.trim().lines().count()), (Some(2), 1), "{ended:?}");
        assert!(ended.stderr.contains("nowhere.toml"), "{}", ended.stderr);
    }
    assert_eq!(forebay(&["no-such-command"]).run().await.status, Some(2));
}

#[tokio::test]
async fn the_file_is_found_by_flag_variable_or_folder() {
    let scratch = Scratch::new();
    scratch.write("forebay.toml", "not toml [");
    let good = scratch.write("good.toml", GOOD);
    let good = good.to_str().unwrap();
    let flag = forebay(&["check", "--config", good]).within(scratch.path()).env("FOREBAY_CONFIG", "x");
    assert_eq!(flag.run().await.status, Some(0));
    let variable = forebay(&["check"]).within(scratch.path()).env("FOREBAY_CONFIG", good);
    assert_eq!(variable.run().await.status, Some(0));
    assert_eq!(forebay(&["check"]).within(scratch.path()).run().await.status, Some(2));
}

#[tokio::test]
async fn the_environment_goes_before_the_file_in_every_command() {
    let scratch = Scratch::new();
    scratch.write("forebay.toml", &format!("{GOOD}[admin]\naddress = '127.0.0.1:1'\n"));
    let printed = forebay(&["check", "--print"]).within(scratch.path());
    let printed = printed.env("FOREBAY_LISTEN", "127.0.0.1:18080").env("FOREBAY_ADMIN", "127.0.0.1:19090");
    let printed = printed.run().await;
    for address in ["127.0.0.1:18080", "127.0.0.1:19090"] {
        assert!(printed.stdout.contains(address), "no {address} in\n{}", printed.stdout);
    }
    let dead = dead_address().to_string();
    let asked = forebay(&["healthcheck"]).within(scratch.path()).env("FOREBAY_ADMIN", &dead).run().await;
    assert!(asked.stderr.contains(&dead), "{asked:?}");
    let open = forebay(&["check"]).within(scratch.path()).env("FOREBAY_ADMIN", "0.0.0.0:19090").run().await;
    assert!(open.status == Some(2) && open.stderr.contains("needs a token"), "{open:?}");
}

#[tokio::test]
async fn a_variable_that_cannot_be_read_is_named_and_ends_with_2() {
    let scratch = Scratch::new();
    scratch.write("forebay.toml", GOOD);
    for (variable, value, form) in [
        ("FOREBAY_LOG", "loud", "info,forebay=debug"),
        ("FOREBAY_LISTEN", "8080", "127.0.0.1:8080"),
        ("FOREBAY_ADMIN", "9090", "127.0.0.1:8080"),
    ] {
        for command in ["run", "check"] {
            let ended = forebay(&[command]).within(scratch.path()).env(variable, value).run().await;
            assert_eq!((ended.status, ended.stderr.lines().count()), (Some(2), 1), "{command}: {ended:?}");
            assert!(ended.stderr.contains(variable) && ended.stderr.contains(form), "{command}: {ended:?}");
        }
    }
    let flag = forebay(&["run", "--admin", "9090"]).within(scratch.path()).run().await;
    assert!(flag.status == Some(2) && flag.stderr.contains("127.0.0.1:8080"), "{flag:?}");
}

#[tokio::test]
async fn an_empty_variable_counts_as_unset() {
    let scratch = Scratch::new();
    scratch.write("forebay.toml", GOOD);
    let mut printed = forebay(&["check", "--print"]).within(scratch.path());
    for variable in ["FOREBAY_CONFIG", "FOREBAY_LISTEN", "FOREBAY_ADMIN", "FOREBAY_LOG"] {
        printed = printed.env(variable, "");
    }
    let printed = printed.run().await;
    assert!(printed.status == Some(0) && printed.stdout.contains("127.0.0.1:9090"), "{printed:?}");
}

#[tokio::test]
async fn variables_are_filled_in() {
    let text = "[upstreams.scan]\nservers = ['${SCAN_URL:-http://127.0.0.1:8000}']\n\
                [admin]\ntoken = '${TEST_TOKEN:?set TEST_TOKEN first}'\n\
                [[routes]]\nname = 'all'\nmatch = '/{*rest}'\n";
    let unset = check(text).await;
    assert_eq!(unset.status, Some(2));
    assert!((unset.stderr + &unset.stdout).contains("set TEST_TOKEN first"));
    let scratch = Scratch::new();
    scratch.write("forebay.toml", text);
    let set = forebay(&["check", "--print"]).within(scratch.path());
    let set = set.env("TEST_TOKEN", "hush-hush").env("SCAN_URL", "http://127.0.0.1:8111").run().await;
    assert_eq!(set.status, Some(0), "{set:?}");
    assert!(set.stdout.contains("8111") && !set.stdout.contains("hush-hush"), "{}", set.stdout);
}

#[tokio::test]
async fn the_printed_config_is_whole_and_passes_itself() {
    let scratch = Scratch::new();
    scratch.write("forebay.toml", GOOD);
    let printed = forebay(&["check", "--print"]).within(scratch.path()).run().await;
    assert_eq!(printed.status, Some(0));
    for key in ["drain_timeout", "max_header_bytes", "first_byte_timeout", "2/minute", "max_bytes"] {
        assert!(printed.stdout.contains(key), "no {key} in\n{}", printed.stdout);
    }
    let again = check(&printed.stdout).await;
    assert_eq!(again.status, Some(0), "{again:?}");
}

#[tokio::test]
async fn explain_says_what_would_happen_to_a_request() {
    let scratch = Scratch::new();
    scratch.write("forebay.toml", GOOD);
    let explain = |arguments: &[&str]| forebay(&[&["explain"], arguments].concat()).within(scratch.path());
    let url = "http://scan.example/api/scan/status/7?x=1";
    let text = explain(&["GET", url]).run().await;
    assert_eq!(text.status, Some(0), "{text:?}");
    assert!(text.stdout.contains("status") && text.stdout.contains("scan"), "{}", text.stdout);
    let json = explain(&["GET", url, "-H", "Cookie: a=1", "--from", "203.0.113.7", "--json"]).run().await;
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["route"]["name"].as_str().or(json["route"].as_str()), Some("status"), "{json}");
    let limited = explain(&["POST", "http://scan.example/api/scan/execute"]).run().await;
    for word in ["start", "scans", "2/minute"] {
        assert!(limited.stdout.contains(word), "no {word} in {}", limited.stdout);
    }
    let lower = explain(&["get", url]).run().await;
    assert!(lower.stdout.contains("400") && lower.stdout.contains("lower-case"), "{}", lower.stdout);
    assert_eq!(explain(&["GET", "http://scan.example/nowhere"]).run().await.status, Some(0));
    assert_eq!(explain(&["GET"]).run().await.status, Some(2));
}

#[tokio::test]
async fn the_schema_is_a_json_schema_of_every_table() {
    let schema = forebay(&["schema"]).run().await;
    assert_eq!(schema.status, Some(0));
    let schema: Value = serde_json::from_str(&schema.stdout).expect("JSON");
    assert!(schema["$schema"].as_str().is_some_and(|dialect| dialect.contains("json-schema.org")));
    for table in
        ["listener", "admin", "upstreams", "rate_limits", "in_flight", "cache", "routes", "log", "watch"]
    {
        assert!(schema["properties"][table].is_object(), "no {table}");
    }
}

#[tokio::test]
async fn every_command_shows_an_example_in_its_help() {
    for command in ["run", "check", "explain", "schema", "healthcheck"] {
        let help = forebay(&[command, "--help"]).run().await;
        assert_eq!(help.status, Some(0), "{command}");
        assert!(help.stdout.contains(&format!("forebay {command}")), "{command}: {}", help.stdout);
        assert!(help.stdout.to_lowercase().contains("example"), "{command}: {}", help.stdout);
    }
    let version = forebay(&["--version"]).run().await;
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_busy_port_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (scratch, upstream) = (Scratch::new(), format!("http://{}", dead_address()));
    let arguments = ["run", "--upstream", &upstream, "--listen", &address, "--admin", "127.0.0.1:0"];
    let ended = forebay(&arguments).within(scratch.path()).run().await;
    assert!(matches!(ended.status, Some(1 | 2)), "{ended:?}");
    let lines: Vec<_> = ended.stderr.lines().filter(|line| line.contains(&address)).collect();
    assert_eq!(lines.len(), 1, "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[tokio::test]
async fn without_a_file_one_upstream_is_enough() {
    let origin = Origin::start();
    let upstream = format!("http://{}", origin.address());
    let arguments = ["--upstream", &upstream, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let proxy = Proxy::by_arguments(&origin, &arguments).await;
    assert_eq!(proxy.get("/a").await.json()["target"], "/a");
    assert_eq!(proxy.send(&request("POST /b").body("x")).await.status(), 200);
    assert_eq!(origin.count("*"), 2);
}

#[tokio::test]
async fn the_scan_preset_limits_starts_and_spares_polls() {
    let origin = Origin::start();
    let upstream = format!("http://{}", origin.address());
    let arguments =
        ["--upstream", &upstream, "--preset", "scan", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let proxy = Proxy::by_arguments(&origin, &arguments).await;
    for expected in [200, 200, 429] {
        assert_eq!(proxy.send(&request("POST /api/scan/execute")).await.status(), expected);
    }
    assert!(proxy.get("/api/scan/status/7").await.cache_says("fwd=uri-miss"));
    assert!(proxy.get("/api/scan/status/7").await.cache_says("hit"));
    assert_eq!((origin.count("POST /api/scan/execute"), origin.count("/api/scan/status/7")), (2, 1));
}
