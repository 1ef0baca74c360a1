//! Both parsers of `Cache-Control`, that of targeted fields included.

use std::time::Duration;

use forebay::cache::control::{RequestControl, ResponseControl};
use forebay::cache::freshness::http_date;
use http::{HeaderMap, HeaderValue, header};

/// `data`: fields, as lines.
pub fn run(data: &[u8]) {
    let mut headers = super::fields(data);
    let (response, request) = (ResponseControl::of(&headers), RequestControl::of(&headers));
    let lifetimes = [
        response.max_age,
        response.s_maxage,
        response.stale_while_revalidate,
        response.stale_if_error,
        request.max_age,
        request.min_fresh,
        request.max_stale,
        request.stale_if_error,
    ];
    assert!(lifetimes.into_iter().flatten().all(|lifetime| lifetime <= Duration::from_secs(1 << 31)));
    let _ = (http_date(&headers, &header::DATE), http_date(&headers, &header::EXPIRES));
    if response.is_targeted {
        return;
    }
    let shouted = shouted(&headers);
    assert_eq!(ResponseControl::of(&shouted), response, "case means something in {headers:?}");
    assert_eq!(RequestControl::of(&shouted), request, "case means something in {headers:?}");
    // No line, however broken, takes another one's word away.
    headers.append(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    assert_eq!(ResponseControl::of(&headers), ResponseControl { no_store: true, ..response });
    assert!(RequestControl::of(&headers).no_store);
}

fn shouted(headers: &HeaderMap) -> HeaderMap {
    let shout =
        |value: &HeaderValue| HeaderValue::from_bytes(&value.as_bytes().to_ascii_uppercase()).unwrap();
    headers.iter().map(|(name, value)| (name.clone(), shout(value))).collect::<Vec<_>>().into_iter().fold(
        HeaderMap::new(),
        |mut all, (name, value)| {
            all.append(name, value);
            all
        },
    )
}
