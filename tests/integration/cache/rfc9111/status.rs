//! What `Cache-Status` tells: RFC 9211.

use super::{Case, after, run};

#[tokio::test]
async fn the_reason_for_every_forward_is_told() {
    const STALE: &str = "Cache-Control: max-age=60, stale-if-error=900 | Age: 70 | ETag: \"a\"";
    let nothing = |asks, answer, comes| -> Case { ("2.2: nothing stored", vec![(asks, answer, comes)]) };
    let mut cases = vec![
        nothing("", "", "asked | Cache-Status: forebay; fwd=uri-miss"),
        nothing(
            "",
            "Cache-Control: max-age=600",
            "asked | Cache-Status: forebay; fwd=uri-miss; stored; ttl=600",
        ),
        nothing("", "Cache-Status: far; hit", "asked | Cache-Status: far; hit, forebay; fwd=uri-miss"),
        nothing("POST", "", "asked | Cache-Status: forebay; fwd=method"),
        nothing("If-Match: \"a\"", "", "asked | Cache-Status: forebay; fwd=bypass"),
        nothing("Cache-Control: no-store", "", "asked | Cache-Status: forebay; fwd=request"),
    ];
    cases.extend(after(
        "2.2: with a fresh response stored",
        "Cache-Control: max-age=6000 | Age: 1000",
        &[
            ("Cache-Control: no-cache", "", "asked | Cache-Status: forebay; fwd=request"),
            ("Cache-Control: max-age=60", "", "asked | Cache-Status: forebay; fwd=request"),
        ],
    ));
    let other = ("X-A: 2", "", "asked | Cache-Status: forebay; fwd=vary-miss");
    cases.extend(after("2.2: another variant stored", "Cache-Control: max-age=60 | Vary: X-A", &[other]));
    cases.extend(after(
        "2.2, 2.3 and 2.4: with a stale one",
        STALE,
        &[
            ("", "", "asked | Cache-Status: forebay; fwd=stale"),
            (
                "",
                "304 | Cache-Control: max-age=600 | ETag: \"a\" | Age: 0",
                "kept | Cache-Status: forebay; fwd=stale; fwd-status=304; stored; ttl=600",
            ),
            ("", "503", "kept | Cache-Status: forebay; fwd=stale; fwd-status=503; detail=stale-if-error"),
            ("", "close", "kept | Cache-Status: forebay; fwd=stale; detail=stale-if-error"),
        ],
    ));
    run(cases).await;
}
