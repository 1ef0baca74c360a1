//! References from one resource to another (RFC 3986 section 5), as far as they stay on its host.
//!
//! Promises: what is found is spelled like the target of a request that was taken in, so that both name the same thing;
//! another host's resource is never found.

use super::host::canonical_host;
use super::target::canonical_path;

/// A resource on the same host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its canonical path.
    pub path: String,
    /// Its query as it stands.
    pub query: Option<String>,
}

/// What `reference` means in the answer to a request for `path` and `query` on `host`, all canonical. `None` where that
/// is on another host, or nothing that a request could ask for.
///
/// http and https are one here: behind a proxy that ends TLS, servers refer to themselves by either.
pub fn resolve(reference: &str, host: &str, path: &str, query: Option<&str>) -> Option<Target> {
    let reference = reference.split('#').next()?.trim();
    let (scheme, rest) = split_scheme(reference);
    let default_port = match scheme {
        None => 80,
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => 80,
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => 443,
        Some(_) => return None,
    };
    let (has_authority, rest) = match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            if canonical_host(authority, default_port).ok()? != host {
                return None;
            }
            (true, rest)
        }
        // `http:path` means different things to different readers (RFC 3986 section 5.2.2).
        None if scheme.is_some() => return None,
        None => (false, rest),
    };
    let (named, own_query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let merged = match named {
        "" if has_authority => "/".to_owned(),
        "" => path.to_owned(),
        absolute if absolute.starts_with('/') => absolute.to_owned(),
        relative => format!("{}/{relative}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
    };
    let query = own_query.or(query.filter(|_| named.is_empty() && !has_authority));
    Some(Target { path: canonical_path(&merged).ok()?.into_owned(), query: query.map(str::to_owned) })
}

/// `scheme:` and what follows it; a colon after the first slash belongs to the path.
fn split_scheme(reference: &str) -> (Option<&str>, &str) {
    match reference.find([':', '/', '?']) {
        Some(at) if reference.get(at..=at) == Some(":") => {
            let (scheme, rest) = reference.split_at(at);
            (Some(scheme), rest.get(1..).unwrap_or_default())
        }
        _ => (None, reference),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(reference: &str) -> Option<String> {
        let target = resolve(reference, "h.example:81", "/b/c/d", Some("q"))?;
        Some(target.query.map_or(target.path.clone(), |query| format!("{}?{query}", target.path)))
    }

    /// RFC 3986 section 5.4, and the spellings of section 6.
    #[test]
    fn references_lead_where_they_say() {
        for (reference, expected) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d?y"),
            ("g?y", "/b/c/g?y"),
            ("g?y/./x", "/b/c/g?y/./x"),
            ("#s", "/b/c/d?q"),
            ("", "/b/c/d?q"),
            ("g#s", "/b/c/g"),
            (".", "/b/c/"),
            ("..", "/b/"),
            ("../g", "/b/g"),
            ("../../../g", "/g"),
            ("/a/./b/../%7Eg", "/a/~g"),
            ("//h.example:81/g", "/g"),
            ("//H.Example:81?y", "/?y"),
            ("http://h.example:81", "/"),
            ("HTTP://h.example:81/g?y", "/g?y"),
            ("https://h.example:81/g", "/g"),
            (" /g ", "/g"),
            ("g:h/../i", ""),
            ("/g:h", "/g:h"),
            ("./g:h", "/b/c/g:h"),
            ("/ä", "/%C3%A4"),
        ] {
            assert_eq!(found(reference).unwrap_or_default(), expected, "{reference}");
        }
    }

    #[test]
    fn nothing_of_another_host_is_found() {
        for reference in [
            "//other.example/g",
            "http://h.example/g",
            "http://h.example:82/g",
            "http://u@h.example:81/g",
            "http://h.example:81.other.example/g",
            "ftp://h.example:81/g",
            "mailto:a@h.example",
            "http:g",
            "http:/g",
            "/a%2fb",
            "/..;/g",
            "/a\0b",
            "/%",
        ] {
            assert_eq!(found(reference), None, "{reference}");
        }
        for (host, reference) in [("h", "http://h:80/g"), ("h", "https://h:443/g"), ("h", "//h./g")] {
            assert_eq!(resolve(reference, host, "/", None).unwrap().path, "/g", "{reference}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_canonical(reference in "\\PC{0,40}", like in "[a-c./:?#%;]{0,30}") {
            for reference in [reference, like] {
                if let Some(target) = resolve(&reference, "h", "/b/c", None) {
                    let again = canonical_path(&target.path).map(std::borrow::Cow::into_owned);
                    prop_assert_eq!(again, Ok(target.path));
                }
            }
        }
    }
}
