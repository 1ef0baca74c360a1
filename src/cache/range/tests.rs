use bytes::Bytes;
use http::header::{ETAG, LAST_MODIFIED};
use proptest::prelude::*;

use super::*;
use crate::cache::body::Chunks;

fn wanted(line: &str, length: u64) -> Wanted {
    let request = HeaderMap::from_iter([(RANGE, HeaderValue::from_str(line).unwrap())]);
    Wanted::of(&request, length)
}

fn spans(pairs: &[(u64, u64)]) -> Wanted {
    Wanted::Spans(pairs.iter().map(|(first, last)| Span { first: *first, last: *last }).collect())
}

/// RFC 9110 14.1.1, 14.1.2.
#[test]
fn one_range_is_understood_in_all_its_forms() {
    for (line, expected) in [
        ("bytes=0-0", spans(&[(0, 0)])),
        ("bytes=0-499", spans(&[(0, 499)])),
        ("Bytes=500-999", spans(&[(500, 999)])),
        ("bytes=9500-", spans(&[(9500, 9999)])),
        ("bytes=-500", spans(&[(9500, 9999)])),
        ("bytes=-20000", spans(&[(0, 9999)])),
        ("bytes=9999-10000", spans(&[(9999, 9999)])),
        ("bytes=0-99999999999999999999999999", spans(&[(0, 9999)])),
        ("bytes= 0-1", spans(&[(0, 1)])),
        ("bytes=,0-1, ,", spans(&[(0, 1)])),
        ("bytes=10000-", Wanted::Nothing),
        ("bytes=99999999999999999999999999-", Wanted::Nothing),
        ("bytes=-0", Wanted::Nothing),
        ("bytes=10000-10001,-0", Wanted::Nothing),
        ("bytes=10000-10001,0-0", spans(&[(0, 0)])),
    ] {
        assert_eq!(wanted(line, 10_000), expected, "{line}");
    }
}

/// RFC 9110 14.2.
#[test]
fn what_is_no_byte_range_is_ignored() {
    for line in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=1",
        "bytes=2-1",
        "bytes=a-b",
        "bytes=0-1,x",
        "bytes=0-1,5-4",
        "bytes =0-1",
        "bytes=0 -1",
        "bytes=0-+1",
        "bytes=--1",
        "bytes=0-1-2",
        "items=0-1",
        "=0-1",
        "0-1",
        "bytes: 0-1",
    ] {
        assert_eq!(wanted(line, 10_000), Wanted::Whole, "{line}");
    }
    let mut two = HeaderMap::new();
    two.append(RANGE, HeaderValue::from_static("bytes=0-1"));
    two.append(RANGE, HeaderValue::from_static("bytes=2-3"));
    assert_eq!(Wanted::of(&two, 10), Wanted::Whole);
    assert_eq!(Wanted::of(&HeaderMap::new(), 10), Wanted::Whole);
}

#[test]
fn of_nothing_there_is_no_part() {
    for line in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
        assert_eq!(wanted(line, 0), Wanted::Whole, "{line}");
    }
}

/// RFC 9110 15.3.7.2.
#[test]
fn ranges_that_touch_are_sent_once() {
    for (line, expected) in [
        ("bytes=0-0,-1", spans(&[(0, 0), (9999, 9999)])),
        ("bytes=5000-5001,0-1", spans(&[(5000, 5001), (0, 1)])),
        ("bytes=0-999,500-1500", spans(&[(0, 1500)])),
        ("bytes=0-9,10-19", spans(&[(0, 19)])),
        ("bytes=0-9,50-59", spans(&[(0, 59)])),
        ("bytes=0-9,1000-1009,5-1005", spans(&[(0, 1009)])),
        ("bytes=0-,0-,0-,0-", spans(&[(0, 9999)])),
    ] {
        assert_eq!(wanted(line, 10_000), expected, "{line}");
    }
    let many: Vec<_> = (0..=MAX_RANGES).map(|at| format!("{0}-{0}", at * 200)).collect();
    assert_eq!(wanted(&format!("bytes={}", many.join(",")), 10_000), Wanted::Whole);
}

/// RFC 9110 13.1.5.
#[test]
fn if_range_compares_strongly() {
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    for (condition, etag, date, expected) in [
        ("\"a\"", Some("\"a\""), LATER, true),
        ("\"b\"", Some("\"a\""), LATER, false),
        ("W/\"a\"", Some("W/\"a\""), LATER, false),
        ("W/\"a\"", Some("\"a\""), LATER, false),
        ("\"a\"", Some("W/\"a\""), LATER, false),
        ("\"a\"", None, LATER, false),
        (MODIFIED, None, LATER, true),
        (MODIFIED, Some("\"a\""), LATER, true),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None, LATER, true),
        (MODIFIED, None, MODIFIED, false),
        (LATER, None, LATER, false),
        ("yesterday", None, LATER, false),
        ("", None, LATER, false),
    ] {
        let request = HeaderMap::from_iter([(IF_RANGE, HeaderValue::from_static(condition))]);
        let stored = Validators {
            etag: etag.map(HeaderValue::from_static),
            last_modified: Some(HeaderValue::from_static(MODIFIED)),
            changed: None,
        };
        let date = httpdate::parse_http_date(date).ok();
        assert_eq!(if_range_holds(&request, &stored, date), expected, "{condition} {etag:?}");
    }
    assert!(if_range_holds(&HeaderMap::new(), &Validators::default(), None));
}

fn answer(line: &str, body: &[u8]) -> (StatusCode, HeaderMap, Vec<u8>) {
    let whole = StoredBody::new(&std::sync::Arc::new(Chunks::pack([Bytes::copy_from_slice(body)])));
    let mut headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("text/plain")),
        (CONTENT_LENGTH, HeaderValue::from(body.len())),
        (ETAG, HeaderValue::from_static("\"a\"")),
        (DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")),
        (LAST_MODIFIED, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")),
        (HeaderName::from_static("content-digest"), HeaderValue::from_static("sha-256=:x:")),
    ]);
    let mut status = StatusCode::OK;
    let cut = cut(&wanted(line, body.len() as u64), &mut status, &mut headers, whole);
    let mut read = Vec::new();
    match cut {
        Cut::Empty => {}
        Cut::Piece(mut body) => {
            while let Some(chunk) = body.next_chunk() {
                read.extend_from_slice(&chunk);
            }
        }
        Cut::Several(mut body) => {
            while let Some(chunk) = body.next_piece() {
                read.extend_from_slice(&chunk);
            }
        }
    }
    (status, headers, read)
}

#[test]
fn a_part_says_which_it_is() {
    let (status, headers, body) = answer("bytes=2-4", b"0123456789");
    assert_eq!((status.as_u16(), body.as_slice()), (206, b"234".as_slice()));
    assert!(headers[CONTENT_RANGE] == "bytes 2-4/10" && headers[CONTENT_LENGTH] == "3", "{headers:?}");
    assert!(headers[ETAG] == "\"a\"" && headers[CONTENT_TYPE] == "text/plain", "{headers:?}");
    assert!(!headers.contains_key("content-digest"), "it is of the whole");
}

#[test]
fn beyond_the_end_there_is_416_with_the_length() {
    let (status, headers, body) = answer("bytes=10-", b"0123456789");
    assert_eq!((status.as_u16(), body.len()), (416, 0));
    assert!(headers[CONTENT_RANGE] == "bytes */10" && headers[CONTENT_LENGTH] == "0", "{headers:?}");
    assert!(!headers.contains_key(ETAG) && !headers.contains_key(CONTENT_TYPE));
}

#[test]
fn several_parts_are_one_multipart() {
    let whole: Vec<u8> = (b'a'..=b'z').cycle().take(1000).collect();
    let (status, headers, body) = answer("bytes=0-1, 500-501, -2", &whole);
    assert_eq!(status, 206);
    assert_eq!(headers[CONTENT_LENGTH].to_str().unwrap().parse(), Ok(body.len()));
    assert!(!headers.contains_key(CONTENT_RANGE));
    let boundary = headers[CONTENT_TYPE].to_str().unwrap();
    let boundary = boundary.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range: &str, data: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/1000\r\n\r\n{data}"
        )
    };
    let data = |from: usize| std::str::from_utf8(&whole[from..from + 2]).unwrap();
    let expected = [part("0-1", data(0)), part("500-501", data(500)), part("998-999", data(998))].concat();
    assert_eq!(String::from_utf8(body).unwrap(), format!("{expected}\r\n--{boundary}--\r\n"));
}

proptest! {
    /// However a set is written, what is sent lies within the representation, nothing is sent twice, and what was asked
    /// for is there.
    #[test]
    fn parts_never_outweigh_the_whole(
        length in 0_u64..5_000,
        ranges in proptest::collection::vec((0_u64..6_000, proptest::option::of(0_u64..6_000)), 1..40),
    ) {
        let text: Vec<_> = ranges.iter().map(|(first, last)| match last {
            Some(last) => format!("{first}-{last}"),
            None => format!("{first}-"),
        }).collect();
        match wanted(&format!("bytes={}", text.join(",")), length) {
            Wanted::Whole => {}
            Wanted::Nothing => prop_assert!(length > 0 && ranges.iter().all(|(first, _)| *first >= length)),
            Wanted::Spans(spans) => {
                prop_assert!(spans.iter().all(|span| span.first <= span.last && span.last < length));
                prop_assert!(spans.iter().map(|span| span.length()).sum::<u64>() <= length);
                let mut sorted = spans.clone();
                sorted.sort_by_key(|span| span.first);
                prop_assert!(sorted.windows(2).all(|pair| pair[0].last + GAP < pair[1].first));
                for (first, last) in ranges.iter().filter(|(first, _)| *first < length) {
                    let last = last.unwrap_or(u64::MAX).min(length - 1);
                    let asked = Span { first: *first, last };
                    prop_assert!(spans.iter().any(|span| span.contains(asked)));
                }
            }
        }
    }

    #[test]
    fn no_field_makes_the_parser_panic(line in "bytes=[0-9, -]{0,80}", length in any::<u64>()) {
        let _ = wanted(&line, length);
    }
}
