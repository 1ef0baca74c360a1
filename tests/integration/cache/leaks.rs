//! Every kind of identity against every kind of answer: each client gets its own.

use super::cache;
use crate::harness::client::Request;
use crate::harness::{Gate, Origin, Proxy, Script, request, wait_until};

/// The clients: as they are called by the origin, and what they send.
const CLIENTS: [(&str, &[(&str, &str)]); 13] = [
    ("nobody", &[]),
    ("a1", &[("Authorization", "Bearer a1")]),
    ("a2", &[("Authorization", "Bearer a2")]),
    ("p1", &[("Proxy-Authorization", "Basic p1")]),
    ("c1", &[("Cookie", "session=c1")]),
    ("c2", &[("Cookie", "session=c2")]),
    ("c1 a", &[("Cookie", "session=c1; theme=a")]),
    ("k1", &[("X-Api-Key", "k1")]),
    ("k2", &[("X-Api-Key", "k2")]),
    ("a1 c1", &[("Authorization", "Bearer a1"), ("Cookie", "session=c1")]),
    ("a1 c2", &[("Authorization", "Bearer a1"), ("Cookie", "session=c2")]),
    ("a1 twice", &[("Authorization", "Bearer a1"), ("Authorization", "Bearer a2")]),
    ("empty", &[("Authorization", "")]),
];

/// What an answer may say besides; whether it is for nobody but the one who asked, even among those without a name.
const ANSWERS: [(&[(&str, &str)], bool); 12] = [
    (&[], false),
    (&[("Cache-Control", "max-age=60")], false),
    (&[("Cache-Control", "no-store")], false),
    (&[("Cache-Control", "max-age=60"), ("Set-Cookie", "session=new")], true),
    (&[("Cache-Control", "public, max-age=60"), ("Set-Cookie", "session=new")], true),
    (&[("Cache-Control", "private, max-age=60")], true),
    (&[("Cache-Control", "private=\"x-user\", max-age=60")], false),
    (&[("Cache-Control", "no-cache=\"set-cookie\", max-age=60"), ("Set-Cookie", "session=new")], true),
    (&[("Cache-Control", "max-age=60"), ("Vary", "Cookie")], false),
    (&[("Cache-Control", "max-age=60"), ("Vary", "*")], true),
    (&[("Cache-Control", "max-age=60"), ("Vary", "Authorization, Cookie, X-Api-Key")], false),
    (&[("Cache-Control", "MAX-AGE=60, PRIVATE")], true),
];

fn ask(client: usize) -> Request {
    CLIENTS[client].1.iter().fold(request("GET /a"), |request, (name, value)| request.field(name, value))
}

fn name(client: usize) -> String {
    CLIENTS[client].1.iter().map(|(name, value)| format!("{}={value};", name.to_lowercase())).collect()
}

/// An origin that calls its clients by what they send, and numbers its answers.
fn origin(fields: &'static [(&'static str, &'static str)], gate: &Gate) -> Origin {
    let (origin, gate) = (Origin::start(), gate.clone());
    origin.on_each("*", move |seen| {
        let identity = ["authorization", "proxy-authorization", "cookie", "x-api-key"];
        let said = identity
            .iter()
            .flat_map(|name| seen.head.all(name).into_iter().map(move |value| format!("{name}={value};")));
        let answer = Script::ok(format!("{} {}", said.collect::<String>(), seen.nth)).when(&gate);
        fields.iter().fold(answer, |answer, (name, value)| answer.field(name, value))
    });
    origin
}

#[tokio::test]
async fn each_client_gets_its_own_answer_one_after_another_and_at_once() {
    for (fields, is_personal) in ANSWERS {
        for settings in ["", "mode = 'off'", "mode = 'force', ttl = '1h'"] {
            let gate = Gate::closed();
            let origin = origin(fields, &gate);
            let proxy = Proxy::start(&origin, &cache(settings)).await;
            let crowd: Vec<_> =
                (0..3 * CLIENTS.len()).map(|number| proxy.begin(&ask(number % CLIENTS.len()))).collect();
            wait_until("they are there", || async { origin.active("*") == CLIENTS.len() }).await;
            gate.open();
            let mut answers = Vec::new();
            for (number, one) in crowd.into_iter().enumerate() {
                answers.push((number % CLIENTS.len(), one.await.unwrap()));
            }
            for client in (0..CLIENTS.len()).chain((0..CLIENTS.len()).rev()) {
                answers.push((client, proxy.send(&ask(client)).await));
            }
            let mut of_nobody = Vec::new();
            for (client, answer) in &answers {
                let (whose, number) = answer.text().rsplit_once(' ').unwrap();
                assert_eq!(
                    whose,
                    name(*client),
                    "{fields:?}, {settings}: {} gets {answer:?}",
                    CLIENTS[*client].0
                );
                if *client == 0 {
                    of_nobody.push(number.to_owned());
                }
            }
            if is_personal {
                let count = of_nobody.len();
                of_nobody.sort();
                of_nobody.dedup();
                assert_eq!(of_nobody.len(), count, "{fields:?}, {settings}: shared by those without a name");
            }
        }
    }
}

#[tokio::test]
async fn what_was_purged_does_not_come_back_in_any_disguise() {
    let origin = Origin::start();
    origin.on("/a", Script::ok("old").field("ETag", "\"old\""));
    let settings = "mode = 'force', ttl = '1h', stale_while_revalidate = '1h', stale_if_error = '1h'";
    let proxy = Proxy::start(&origin, &cache(settings)).await;
    for clear in ["{\"url\":\"/a\"}", "{\"prefix\":\"/\"}", "{\"route\":\"all\"}", "{}"] {
        origin.on("/a", Script::ok("old").field("ETag", "\"old\""));
        proxy.get("/a").await;
        assert!(proxy.get("/a").await.cache_says("hit"));
        assert_eq!(proxy.admin_post("/api/cache/clear", clear).await.status(), 200, "{clear}");
        origin.on("/a", Script::nothing());
        for request in [
            request("GET /a"),
            request("HEAD /a"),
            request("GET /a").field("Range", "bytes=0-0"),
            request("GET /%61"),
            request("GET /a").field("If-None-Match", "\"old\""),
            request("GET /a").field("Cache-Control", "max-stale, only-if-cached"),
            request("GET /x/../a"),
        ] {
            let answer = proxy.send(&request).await;
            assert!(
                answer.status() >= 500 && !answer.cache_says("hit"),
                "{clear}: {request:?} gets {answer:?}"
            );
        }
    }
}
