//! Fields for some caches only: RFC 9213.

use super::{after, run, twice};

#[tokio::test]
async fn a_targeted_field_goes_before_cache_control_and_expires() {
    let mut cases = twice(
        "RFC 9213 2.2",
        &[
            ("CDN-Cache-Control: max-age=60", "hit"),
            ("CDN-Cache-Control: max-age=60 | Cache-Control: no-store", "hit"),
            ("CDN-Cache-Control: max-age=60 | Cache-Control: private", "hit"),
            ("CDN-Cache-Control: max-age=60 | Cache-Control: no-cache", "hit"),
            ("CDN-Cache-Control: max-age=60 | Cache-Control: max-age=0", "hit"),
            ("CDN-Cache-Control: max-age=60 | Expires: 0", "hit"),
            ("CDN-Cache-Control: max-age=60 | Cache-Control: max-age=1 | Age: 30", "hit"),
            ("CDN-Cache-Control: max-age=60 | Age: 70", "asked"),
            ("CDN-Cache-Control: max-age=60, extension=1", "hit"),
            ("CDN-Cache-Control: extension;a=b, max-age=60;c", "hit"),
            ("CDN-Cache-Control: max-age=0 | Cache-Control: max-age=60", "asked"),
            ("CDN-Cache-Control: no-store | Cache-Control: max-age=60", "asked"),
            ("CDN-Cache-Control: no-cache | Cache-Control: max-age=60", "asked"),
            ("CDN-Cache-Control: private | Cache-Control: max-age=60", "asked"),
            ("CDN-Cache-Control: max-age=60, private | Cache-Control: max-age=60", "asked"),
            ("CDN-Cache-Control: public | Expires: @+60", "asked"),
            ("CDN-Cache-Control: max-age=\"60\" | Cache-Control: max-age=60", "asked"),
            ("CDN-Cache-Control: max-age=60.0 | Cache-Control: no-store", "asked"),
            ("CDN-Cache-Control:  | Cache-Control: max-age=60", "hit"),
            ("CDN-Cache-Control: &&& | Cache-Control: max-age=60", "hit"),
            ("CDN-Cache-Control: max-age=60, &&& | Cache-Control: no-store", "asked"),
            ("CDN-Cache-Control: MAX-AGE=60 | Cache-Control: no-store", "asked"),
            ("CDN-Cache-Control: max-age =60 | Cache-Control: no-store", "asked"),
            ("Forebay-Cache-Control: max-age=60 | CDN-Cache-Control: no-store", "hit"),
            ("Forebay-Cache-Control: no-store | CDN-Cache-Control: max-age=60", "asked"),
            ("Forebay-Cache-Control: ? | CDN-Cache-Control: max-age=60 | Cache-Control: no-store", "hit"),
            ("Other-Cache-Control: max-age=60", "asked"),
            ("Other-Cache-Control: no-store | Cache-Control: max-age=60", "hit"),
            ("Surrogate-Control: max-age=60", "asked"),
        ],
    );
    cases.extend(after(
        "RFC 9213 3.1: it goes on to the next cache",
        "CDN-Cache-Control: max-age=60, x | Cache-Control: max-age=1 | Other-Cache-Control: y",
        &[(
            "",
            "",
            "hit | CDN-Cache-Control: max-age=60, x | Cache-Control: max-age=1 | Other-Cache-Control: y",
        )],
    ));
    run(cases).await;
}
