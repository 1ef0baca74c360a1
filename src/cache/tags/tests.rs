use super::*;

fn fetch(registry: &Registry, tags: &[&str]) -> Provenance {
    registry.begin("route", "host/path", tags)
}

#[test]
fn a_purge_reaches_what_is_stored_and_what_is_under_way() {
    let registry = Registry::new();
    let stored = Membership::new(fetch(&registry, &["a", "b"]), 10);
    let under_way = fetch(&registry, &["b"]);
    let other = Membership::new(fetch(&registry, &["c"]), 10);
    assert!(stored.is_valid(&registry.sequence) && !under_way.is_overtaken());
    assert_eq!(registry.purge_tag("b"), 1);
    assert!(!stored.is_valid(&registry.sequence));
    assert!(under_way.is_overtaken());
    assert!(other.is_valid(&registry.sequence));
    assert!(!fetch(&registry, &["b"]).is_overtaken(), "what begins later is newer");
    assert_eq!(registry.purge_tag("b"), 0, "a purge counts nothing twice");
    assert_eq!(registry.purge_tag("unheard of"), 0);
}

#[test]
fn every_name_of_a_response_can_purge_it() {
    type Purge = fn(&Registry) -> u64;
    let purges: [Purge; 6] = [
        |registry| registry.purge_all(),
        |registry| registry.purge_route("route"),
        |registry| registry.purge_tag("tag"),
        |registry| registry.purge_url("host/path"),
        |registry| registry.purge_path("/path"),
        |registry| registry.purge_prefix("host/p"),
    ];
    for purge in purges {
        let registry = Registry::new();
        let stored = Membership::new(fetch(&registry, &["tag"]), 1);
        let other = Membership::new(registry.begin("other", "other/place", &[""; 0]), 1);
        let all = registry.purge_route("nobody's") + purge(&registry);
        assert!(all >= 1 && !stored.is_valid(&registry.sequence));
        assert_eq!(other.is_valid(&registry.sequence), all == 1);
    }
}

#[test]
fn a_path_is_that_path_on_every_host() {
    let registry = Registry::new();
    let stored: Vec<_> = ["a/x", "b/x", "a/x?y", "a/xy", "a/b/x"]
        .into_iter()
        .map(|url| Membership::new(registry.begin("route", url, &[""; 0]), 1))
        .collect();
    assert_eq!(registry.purge_path("/x"), 2);
    let left: Vec<_> = stored.iter().map(|stored| stored.is_valid(&registry.sequence)).collect();
    assert_eq!(left, [false, false, true, true, true]);
    assert_eq!(registry.purge_prefix("/x"), 2, "a prefix without a host");
    assert_eq!(registry.purge_prefix("a/"), 1);
}

#[test]
fn a_fence_overtakes_fetches_on_both_of_its_sides() {
    let registry = Arc::new(Registry::new());
    let stored = Membership::new(fetch(&registry, &[]), 1);
    let before = fetch(&registry, &[]);
    let fence = registry.fence("host/path", &["t"]);
    assert!(before.is_overtaken());
    let during = fetch(&registry, &[]);
    assert!(!during.is_overtaken(), "it may end before the write does");
    drop(fence);
    assert!(during.is_overtaken());
    assert!(!fetch(&registry, &[]).is_overtaken());
    assert!(stored.is_valid(&registry.sequence), "a failed write drops nothing");
}

#[test]
fn a_successful_write_drops_its_url_its_tags_and_its_locations() {
    let registry = Arc::new(Registry::new());
    let stored: Vec<_> = [("host/path", "x"), ("host/a", "t"), ("host/new", "x"), ("host/b", "x")]
        .into_iter()
        .map(|(url, tag)| Membership::new(registry.begin("route", url, &[tag]), 1))
        .collect();
    let fence = registry.fence("host/path", &["t"]);
    let within = registry.begin("route", "host/a", &["t"]);
    assert_eq!(fence.succeeded(&["host/new", "host/unknown"]), 3);
    let left: Vec<_> = stored.iter().map(|stored| stored.is_valid(&registry.sequence)).collect();
    assert_eq!(left, [false, false, false, true]);
    assert!(within.is_overtaken());
}

#[test]
fn what_a_write_brings_is_kept_unless_something_else_came_in_between() {
    type Between = fn(&Arc<Registry>);
    let cases: [(bool, Between); 6] = [
        (true, |_| {}),
        (true, |registry| {
            let _ = registry.purge_tag("other");
        }),
        (false, |registry| drop(registry.fence("host/path", &[""; 0]))),
        (false, |registry| {
            let _ = registry.fence("host/path", &[""; 0]).succeeded(&[]);
        }),
        (false, |registry| {
            let _ = registry.purge_all();
        }),
        (false, |registry| {
            let _ = registry.purge_tag("t");
        }),
    ];
    for (index, (is_kept, between)) in cases.into_iter().enumerate() {
        let registry = Arc::new(Registry::new());
        let older = Membership::new(fetch(&registry, &["t"]), 1);
        let fence = registry.fence("host/path", &["w"]);
        let write = fetch(&registry, &["t"]);
        let during = fetch(&registry, &["t"]);
        between(&registry);
        let brought = fence.succeeded_as(&["host/path"], &write);
        assert_eq!(brought.is_some(), is_kept, "{index}");
        assert!(!older.is_valid(&registry.sequence) && during.is_overtaken(), "{index}");
        if let Some(brought) = brought {
            assert!(!brought.is_overtaken());
            between(&registry);
            drop(registry.fence("host/path", &[""; 0]));
            assert!(brought.is_overtaken(), "by what comes later");
        }
    }
}

#[test]
fn figures_follow_what_is_stored() {
    let registry = Registry::new();
    let one = Membership::new(fetch(&registry, &["t"]), 10);
    let two = Membership::new(fetch(&registry, &[]), 5);
    assert_eq!(registry.route_live("route"), Live { entries: 2, bytes: 15 });
    drop(one);
    assert_eq!(registry.route_live("route"), Live { entries: 1, bytes: 5 });
    registry.purge_all();
    assert_eq!(registry.all_live(), Live::default());
    assert_eq!(registry.route_live("route").entries, 1, "until the sweep");
    drop(two);
    assert_eq!(registry.route_live("route"), Live::default());
    assert_eq!(registry.all_live(), Live::default());
}

#[test]
fn names_are_forgotten_with_their_last_carrier() {
    let registry = Arc::new(Registry::new());
    let fetch = registry.begin("route", "host/path", &["a", "b"]);
    assert_eq!(registry.names(), 4);
    let fence = registry.fence("host/path", &["c"]);
    assert_eq!(registry.names(), 5);
    drop(fence);
    assert_eq!(registry.names(), 4);
    drop(Membership::new(fetch, 3));
    assert_eq!(registry.names(), 0);
}

#[test]
fn purges_and_stores_of_many_threads_leave_no_figure_behind() {
    let registry = Arc::new(Registry::new());
    let mut threads = Vec::new();
    for thread in 0..4_u32 {
        let registry = Arc::clone(&registry);
        threads.push(std::thread::spawn(move || {
            for round in 0..2_000_u32 {
                let fetch = registry.begin("route", "host/path", &["a"]);
                let stored = Membership::new(fetch, 7);
                if round % 3 == thread % 3 {
                    registry.purge_tag("a");
                    assert!(!stored.is_valid(&registry.sequence));
                }
            }
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(registry.names(), 0);
    assert_eq!(registry.all_live(), Live::default());
}
