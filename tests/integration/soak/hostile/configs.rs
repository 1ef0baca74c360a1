//! The configurations that take turns: those of the gentle soak, and more.

use std::net::SocketAddr;

use crate::soak::CONFIG;

/// Deadlines that a run of ten minutes sees many times; a steady upstream, and one that dies, beside the faulty one.
const MORE: &str = "
    [listener]
    header_timeout = '2s'
    idle_timeout = '4s'
    max_header_bytes = '16KiB'
    max_body_bytes = '1MiB'
    [upstreams.steady]
    [upstreams.mortal]
    breaker = { failures = 5, open = '1s' }
    health = { path = '/health', interval = '500ms', timeout = '2s', unhealthy_after = 2, healthy_after = 1 }
    [in_flight.visits]
    max = 32
    queue = { size = 100, timeout = '20s' }
    [in_flight.sockets]
    max = 20
    [rate_limits.few]
    key = 'client_ip'
    rates = ['50/10s']
    [[routes]]
    name = 'steady'
    match = '/steady/{*rest}'
    upstream = 'steady'
    in_flight = 'visits'
    [[routes]]
    name = 'echo'
    match = '/echo/{*rest}'
    upstream = 'steady'
    [[routes]]
    name = 'abandoned'
    match = '/abandoned/{*rest}'
    in_flight = 'sockets'
    idle_timeout = '3s'
    [[routes]]
    name = 'limited'
    match = '/limited/{*rest}'
    rate_limits = ['few']
    collapse = 'off'
    [[routes]]
    name = 'mortal'
    match = '/mortal/{*rest}'
    upstream = 'mortal'
    [[routes]]
    name = 'stale'
    match = '/stale/{*rest}'
    upstream = 'mortal'
    cache = { mode = 'force', ttl = '200ms', stale_if_error = '1h' }";

/// What every other configuration says otherwise: a route more, bounds, and settings of upstreams.
const ODD: &str = "
    cache.max_bytes = '6MiB'
    in_flight.pool.max = 12
    in_flight.visits.max = 24
    upstreams.origin.max_connections = 80
    upstreams.mortal.breaker.failures = 4
    listener.min_body_rate = '300B'
    [[routes]]
    name = 'odd'
    match = '/odd/{*rest}'
    upstream = 'steady'";

pub(super) fn has_odd_route(nth: usize) -> bool {
    nth % 2 == 1
}

/// The configuration after so many reloads, with the mortal upstream at this address.
pub(super) fn nth(mortal: SocketAddr, nth: usize) -> String {
    let mut config: toml::Table = CONFIG.parse().unwrap();
    merge(&mut config, MORE.parse().unwrap());
    if has_odd_route(nth) {
        merge(&mut config, ODD.parse().unwrap());
    }
    merge(&mut config, format!("upstreams.mortal.servers = ['http://{mortal}']").parse().unwrap());
    for route in config["routes"].as_array_mut().unwrap() {
        let route = route.as_table_mut().unwrap();
        route.entry("upstream").or_insert_with(|| "origin".into());
    }
    config.to_string()
}

/// Adds the keys of `more`: lists grow, tables are merged, other values replaced.
fn merge(into: &mut toml::Table, more: toml::Table) {
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(more)) => merge(into, more),
            (Some(toml::Value::Array(into)), toml::Value::Array(more)) => into.extend(more),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}
