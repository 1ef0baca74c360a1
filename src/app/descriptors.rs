//! File descriptors: as many as the system allows, and a word in time when they are too few.

use crate::config::Config;

/// Log, cache of DNS, admin listener and the like.
const OTHERS: u64 = 128;

/// Raises the limit to the hard one; says so in the log when that is too low for what the configuration allows.
pub(super) fn provide(config: &Config) {
    let limit = match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(limit) => limit,
        Err(error) => return tracing::warn!(%error, "cannot raise the limit of open files"),
    };
    let wanted = wanted(config);
    if limit < wanted {
        tracing::warn!(
            limit,
            wanted,
            "fewer files may be open than the configured connections need; \
             raise the hard limit (LimitNOFILE= in a systemd unit, --ulimit nofile=) or lower listener.max_connections"
        );
    }
}

/// A descriptor for every connection that may be open at once.
fn wanted(config: &Config) -> u64 {
    let upstreams = config.upstreams.values().map(|upstream| {
        let upstream = upstream.get_ref();
        (upstream.servers.len() as u64).saturating_mul(upstream.max_connections as u64)
    });
    upstreams.fold(OTHERS + config.listener.max_connections as u64, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_on_both_sides_needs_one() {
        let text = "listener.max_connections = 1000\n\
                    upstreams.a = { servers = ['http://a', 'http://b'], max_connections = 10 }";
        let loaded = crate::config::parse("f", text, &|_| None).unwrap();
        assert_eq!(wanted(&loaded.config), 1000 + 20 + OTHERS);
    }
}
