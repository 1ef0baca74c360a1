//! What a hit costs: key, lookup, conditions and the answer's head.
//!
//! `cargo bench --bench cache`

use std::hint::black_box;

use bytes::Bytes;
use divan::Bencher;
use forebay::cache::{Cache, CacheKey, CachePolicy, Exchange, Limits, Lookup, Query};
use forebay::clock::Clock;
use forebay::digest::Digester;
use http::{HeaderMap, Request, Response, request};
use tokio::time::Instant;

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

struct Scene {
    cache: Cache,
    clock: Clock,
    digester: Digester,
    policy: CachePolicy,
    request: request::Parts,
}

impl Scene {
    fn with_a_stored_response() -> Self {
        let clock = Clock::start();
        let request = Request::get("/api/scans?page=2&sort=name")
            .header("host", "example.org")
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
            .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
            .header("accept-language", "en-GB,en;q=0.5")
            .header("accept-encoding", "gzip, deflate, br, zstd")
            .header("referer", "http://example.org/")
            .header("sec-fetch-mode", "cors")
            .header("sec-fetch-site", "same-origin")
            .header("te", "trailers");
        let scene = Self {
            cache: Cache::new(clock, Limits { max_bytes: 256 << 20, max_object: 8 << 20 }),
            clock,
            digester: Digester::random(),
            policy: CachePolicy::standard("lists"),
            request: request.body(()).unwrap_or_default().into_parts().0,
        };
        let response = Response::builder()
            .header("cache-control", "max-age=3600, stale-while-revalidate=30")
            .header("content-type", "application/json")
            .header("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"")
            .header("vary", "accept-encoding")
            .header("server", "uvicorn")
            .header("x-content-type-options", "nosniff");
        let response = response.body(()).unwrap_or_default().into_parts().0;
        let key = scene.key();
        let fetch = scene.cache.begin(&scene.policy, key, "example.org/api/scans?page=2&sort=name", &[]);
        let now = clock.now();
        let exchange =
            Exchange { request: &scene.request, credentialed: false, requested: now, received: now };
        if let Ok(plan) = scene.cache.judge(&scene.policy, &exchange, &response).verdict {
            let body = [Bytes::from_static(&[b'x'; 1024])];
            let _ = scene.cache.store(&fetch, &plan, &scene.request.headers, &response, body);
        }
        scene
    }

    fn key(&self) -> CacheKey {
        self.policy.key.key(&self.digester, "http", &self.request)
    }

    fn query(&self, key: CacheKey, now: Instant) -> Query<'_> {
        Query { policy: &self.policy, key, request: &self.request, credentialed: false, now }
    }

    fn hit(&self, recycled: HeaderMap) -> HeaderMap {
        let now = self.clock.now();
        match self.cache.lookup(self.query(self.key(), now)) {
            Lookup::Fresh(found) => {
                let precondition = found.evaluate(&self.request.headers);
                found.answer(&self.request.method, precondition, None, recycled).1
            }
            _ => recycled,
        }
    }
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn key(bencher: Bencher<'_, '_>) {
    let scene = Scene::with_a_stored_response();
    bencher.bench_local(|| black_box(scene.key()));
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn lookup(bencher: Bencher<'_, '_>) {
    let scene = Scene::with_a_stored_response();
    let key = scene.key();
    let now = scene.clock.now();
    bencher.bench_local(|| black_box(scene.cache.lookup(scene.query(key, now))));
}

#[divan::bench(sample_count = 200, sample_size = 1000, threads = [1, 2])]
fn whole_hit(bencher: Bencher<'_, '_>) {
    let scene = Scene::with_a_stored_response();
    // As the server's parser leaves it: with room for a few more; a clone would have none.
    let recycled = || {
        let mut headers = HeaderMap::with_capacity(scene.request.headers.len());
        scene.request.headers.iter().for_each(|(name, value)| {
            headers.insert(name.clone(), value.clone());
        });
        headers
    };
    bencher.with_inputs(recycled).bench_values(|headers| black_box(scene.hit(headers)));
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn miss(bencher: Bencher<'_, '_>) {
    let scene = Scene::with_a_stored_response();
    let key = scene.key().for_identity(1, &scene.digester);
    let now = scene.clock.now();
    bencher.bench_local(|| black_box(scene.cache.lookup(scene.query(key, now))));
}
