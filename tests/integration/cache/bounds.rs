//! How much is kept, and what is too large to be.

use super::cache;
use crate::harness::{Origin, Proxy, Script};

#[tokio::test]
async fn the_bytes_stay_under_their_bound() {
    let origin = Origin::start();
    origin.on("*", Script::ok(vec![b'x'; 100_000]));
    let config = format!("cache.max_bytes = '1MiB'\n{}", cache("mode = 'force', ttl = '1h'"));
    let proxy = Proxy::start(&origin, &config).await;
    for number in 0..60 {
        assert_eq!(proxy.get(&format!("/{number}")).await.body.len(), 100_000);
        let bytes = proxy.metric("forebay_cache_bytes", &[]).await;
        assert!(bytes <= 1024.0 * 1024.0, "{bytes} bytes after {number}");
    }
    assert!(proxy.metric("forebay_cache_entries", &[]).await >= 5.0);
    assert!(proxy.metric("forebay_cache_evictions_total", &[]).await >= 45.0);
    assert!(proxy.get("/59").await.cache_says("hit"), "the newest is kept");
}

#[tokio::test]
async fn what_is_larger_than_max_object_passes_unstored() {
    let origin = Origin::start();
    origin.on("/length", Script::ok(vec![b'x'; 20_000]));
    origin.on("/chunked", Script::chunked().body(vec![b'x'; 9_000]).body(vec![b'x'; 11_000]));
    origin.on("/fits", Script::ok(vec![b'x'; 9_000]));
    let config = format!("cache.max_object = '10KiB'\n{}", cache("mode = 'force', ttl = '1h'"));
    let proxy = Proxy::start(&origin, &config).await;
    for (path, length, requests) in [("/length", 20_000, 2), ("/chunked", 20_000, 2), ("/fits", 9_000, 1)] {
        for _ in 0..2 {
            let response = proxy.get(path).await;
            assert_eq!((response.body.len(), &response.cut_short), (length, &None), "{path}");
        }
        assert_eq!(origin.count(path), requests, "{path}");
    }
}

#[tokio::test]
async fn the_statistics_tell_what_was_saved() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1h'")).await;
    for path in ["/a", "/b", "/a", "/a"] {
        proxy.get(path).await;
    }
    let stats = proxy.admin_get("/api/cache/stats").await.json();
    assert_eq!(
        (&stats["entries"], &stats["hits"], &stats["misses"]),
        (&2.into(), &2.into(), &2.into()),
        "{stats}"
    );
    assert_eq!(stats["hit_rate"], 0.5, "{stats}");
    assert!(stats["bytes"].as_u64().unwrap() > 0, "{stats}");
}
