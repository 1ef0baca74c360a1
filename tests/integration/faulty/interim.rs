//! Interim answers: never taken for the final one, and not without end.

use super::{Case, LATE, Refused, Whole, assert_outcomes};
use crate::harness::websocket::handshake;
use crate::harness::{Origin, Proxy, Script, request, seconds};

const FINAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
const EARLY: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";

#[tokio::test]
async fn a_few_interim_answers_are_skipped() {
    let before = |interim: &str| Script::raw(format!("{interim}{FINAL}"));
    let slowly = (0..4).fold(Script::raw(""), |script, _| script.body(EARLY).pause(seconds(0.05)));
    let fine = Whole(200, "abc");
    let cases: Vec<Case> = vec![
        ("100-unasked", before("HTTP/1.1 100 Continue\r\n\r\n"), fine),
        ("102", before("HTTP/1.1 102 Processing\r\n\r\n"), fine),
        ("103", before(EARLY), fine),
        ("199", before("HTTP/1.1 199 Whatever\r\n\r\n"), fine),
        ("without-reason", before("HTTP/1.1 103\r\n\r\n"), fine),
        ("with-a-length", before("HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n"), fine),
        ("fifty", before(&EARLY.repeat(50)), fine),
        ("apart", slowly.body(FINAL), fine),
    ];
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn a_flood_of_interim_answers_is_502() {
    let many = |interim: String, times| Script::raw("").repeat(interim, times).body(FINAL);
    let invalid = Refused(502, "http_protocol_error");
    let cases: Vec<Case> = vec![
        ("a-thousand", many(EARLY.repeat(1000), 1), invalid),
        ("a-million", many("HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), 1000), invalid),
        (
            "large-ones",
            Script::raw("HTTP/1.1 103 Early Hints\r\nLink: ")
                .repeat("</a>, ".repeat(1000), 15)
                .body("\r\n\r\n")
                .body(FINAL),
            invalid,
        ),
        (
            "in-trickles",
            (0..120)
                .fold(Script::raw(""), |script, _| script.body("HTTP/1.1 100\r\n\r\n").pause(seconds(0.001)))
                .body(FINAL),
            invalid,
        ),
    ];
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn interim_answers_do_not_stop_the_clock() {
    let dripping = (0..100).fold(Script::raw(""), |script, _| script.body(EARLY).pause(seconds(0.2)));
    let cases: Vec<Case> =
        vec![("then-nothing", Script::raw(EARLY).hang(), LATE), ("dripping", dripping, LATE)];
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_502() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: evil\r\n\r\n";
    let unasked = Refused(502, "http_upgrade_failed");
    let cases: Vec<Case> = vec![
        ("plain", Script::raw(switch).hang(), unasked),
        ("with-bytes", Script::raw(format!("{switch}{FINAL}")).hang(), unasked),
        ("without-fields", Script::raw("HTTP/1.1 101 Switching\r\n\r\n").kept(), unasked),
        ("after-hints", Script::raw(format!("{EARLY}{switch}")).hang(), unasked),
    ];
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn a_write_is_safe_from_floods_too() {
    let origin = Origin::start();
    origin.on("/flood", Script::raw("").repeat(EARLY, 100_000).body(FINAL));
    origin.on("/few", Script::raw(format!("HTTP/1.1 100 Continue\r\n\r\n{EARLY}{FINAL}")));
    let proxy = Proxy::start(&origin, "").await;
    proxy.send(&request("POST /flood").body("x")).await.assert_problem(502);
    assert_eq!(proxy.send(&request("POST /few").body("x")).await.text(), "abc");
    assert_eq!((origin.count("/flood"), origin.count("/few")), (1, 1));
}

#[tokio::test]
async fn an_upgrade_to_another_protocol_than_the_one_asked_for_is_no_tunnel() {
    let origin = Origin::start();
    origin.on(
        "/ws",
        Script::raw("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: evil\r\n\r\n").hang(),
    );
    let proxy = Proxy::start(&origin, "").await;
    proxy.send(&handshake("/ws")).await.assert_problem(502);
}
