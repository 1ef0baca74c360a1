//! `Range` and `If-Range`: whatever is cut lies in what there is.

use forebay::cache::Wanted;
use forebay::cache::range::cut_live;
use forebay::http::fields::content_length;
use http::StatusCode;

/// `data`: the fields of a request, an empty line, those of a response.
pub fn run(data: &[u8]) {
    let (request, response) = super::halves(data);
    let (request, mut response) = (super::fields(request), super::fields(response));
    let length = content_length(&response);
    for length in [0, 1, 100, u64::MAX, length.unwrap_or(7)] {
        let Wanted::Spans(spans) = Wanted::of(&request, length) else { continue };
        assert!(!spans.is_empty() && spans.len() <= 32);
        assert!(
            spans.iter().all(|span| span.first <= span.last && span.last < length),
            "{spans:?} of {length}"
        );
        for (at, span) in spans.iter().enumerate() {
            let apart =
                |other: &forebay::cache::range::Span| other.last < span.first || span.last < other.first;
            assert!(spans[at + 1..].iter().all(apart), "{spans:?} touch");
        }
    }
    let mut status = StatusCode::OK;
    match cut_live(&request, &mut status, &mut response) {
        Some(span) => {
            assert_eq!(status, StatusCode::PARTIAL_CONTENT);
            assert!(span.last < length.unwrap());
            assert_eq!(content_length(&response), Some(span.length()));
        }
        None => assert!(status == StatusCode::OK && content_length(&response) == length),
    }
}
