//! A URL that looks like something public, so that a page with somebody's data is stored under it.

use crate::harness::{Origin, Proxy, Script, request};

const CONFIG: &str = "
    routes = [
        { name = 'static', match = '/static/{*rest}', cache = { mode = 'force', ttl = '1h' } },
        { name = 'rest', match = '/{*rest}' },
    ]";

#[tokio::test]
async fn no_disguise_has_a_personal_page_stored() {
    let disguises = [
        "/account/x.css",
        "/account;.css",
        "/account;x.css",
        "/account%3B.css",
        "/account%0A.css",
        "/account%0D%0A.css",
        "/account%09.css",
        "/account%20.css",
        "/account%3F.css",
        "/account%23.css",
        "/account%26.css",
        "/account%2F.css",
        "/account%2Fx.css",
        "/account%5C.css",
        "/account%00.css",
        "/account%FF.css",
        "/account%252F.css",
        "/account%253F.css",
        "/account.css",
        "/account.css/",
        "/account/.css",
        "/account/..css",
        "/account/x/..;/.css",
        "/account?x.css",
        "/account?.css",
        "/account.json?x=.css",
        "/account//x.css",
        "/account/./x.css",
        "/static/../account",
        "/static/..%2Faccount",
        "/static/%2e%2e/account",
        "/static/%2E%2E%2Faccount",
        "/static/..%5Caccount",
        "/static/..;/account",
        "/static/..%3B/account",
        "/static/.%2e/account",
        "/static/%2e%2e%3b/account",
        "/static/x/..%252faccount",
        "/static//../account",
        "/static/..%00/account",
        "/static\\..\\account",
        "/account/..%2Fstatic/x",
        "/account%2F..%2Fstatic/x",
        "/account/%2e%2e/static/..%2faccount",
        "/STATIC/../account",
    ];
    let origin = Origin::start();
    // A careless application: whatever contains the word is the page.
    origin.on_each("*", |seen| {
        let user = seen.field("cookie").unwrap_or("nobody").to_owned();
        let decoded = seen.target.replace("%2F", "/").replace("%2f", "/");
        Script::ok(if decoded.contains("account") { user } else { "a file".to_owned() })
    });
    let proxy = Proxy::start(&origin, CONFIG).await;
    for disguise in disguises {
        let victim = proxy.send(&request(&format!("GET {disguise}")).field("Cookie", "victim")).await;
        for attacker in [
            request(&format!("GET {disguise}")),
            request(&format!("GET {disguise}")).field("Cookie", "attacker"),
        ] {
            let answer = proxy.send(&attacker).await;
            assert!(!answer.text().contains("victim"), "{disguise}: {answer:?} after {victim:?}");
        }
        let is_page = victim.status() == 200 && victim.text() == "victim";
        let again = proxy.send(&request(&format!("GET {disguise}")).field("Cookie", "victim")).await;
        assert!(
            !is_page || !again.cache_says("hit") || disguise.starts_with("/static"),
            "{disguise} is stored"
        );
    }
}
