//! Unix sockets as the public listener's addresses.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use crate::harness::wire::Wire;
use crate::harness::{Origin, Proxy, Request, Response, Scratch, forebay, request, wait_until, within};

async fn ask(socket: &Path, request: &Request) -> Response {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(&request.bytes()).await.unwrap();
    within("an answer", Wire::new(stream).response(request.method())).await.unwrap()
}

fn config(socket: &Path, more: &str) -> String {
    format!("[listener]\naddress = ['127.0.0.1:0', 'unix:{}']\n{more}", socket.display())
}

#[tokio::test]
async fn a_list_of_addresses_is_served_and_the_socket_file_ends_with_the_process() {
    let origin = Origin::start();
    let files = Scratch::new();
    let socket = files.path().join("s");
    // Left over from a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut proxy = Proxy::start(&origin, &config(&socket, "socket_mode = '0640'")).await;
    assert_eq!(proxy.get("/tcp").await.status(), 200);
    assert_eq!(ask(&socket, &request("GET /unix")).await.status(), 200);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(origin.only("/unix").field("x-forwarded-for"), Some("127.0.0.1"));
    proxy.signal("TERM");
    assert_eq!(proxy.ended().await.code(), Some(0));
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_socket_in_use_is_left_to_its_owner() {
    let origin = Origin::start();
    let files = Scratch::new();
    let socket = files.path().join("s");
    let proxy = Proxy::start(&origin, &config(&socket, "")).await;
    let text = format!(
        "{}\nadmin.address = '127.0.0.1:0'\n[upstreams.a]\nservers = ['http://127.0.0.1:1']\n[[routes]]\nname = 'a'\nmatch = '/'",
        config(&socket, "").replace("[listener]\naddress", "listener.address")
    );
    files.write("forebay.toml", &text);
    let second = forebay(&["run"]).within(files.path()).run().await;
    assert_eq!(second.status, Some(2), "{}", second.stderr);
    assert!(second.stderr.contains("in use by another process"), "{}", second.stderr);
    assert_eq!(ask(&socket, &request("GET /")).await.status(), 200);
    drop(proxy);
}

#[tokio::test]
async fn what_a_unix_peer_says_of_the_client_is_believed_only_where_it_is_named() {
    let origin = Origin::start();
    let files = Scratch::new();
    let socket = files.path().join("s");
    let proxy = Proxy::start(&origin, &config(&socket, "trusted_proxies = ['0.0.0.0/0']")).await;
    let told = request("GET /told").field("X-Forwarded-For", "203.0.113.7");
    ask(&socket, &told).await;
    assert_eq!(origin.only("/told").field("x-forwarded-for"), Some("127.0.0.1"));
    origin.forget();
    proxy.rewrite(&config(&socket, "trusted_proxies = ['unix:']"));
    assert_eq!(proxy.admin_post("/api/reload", "").await.status(), 200);
    ask(&socket, &told).await;
    assert_eq!(origin.only("/told").field("x-forwarded-for"), Some("203.0.113.7, 127.0.0.1"));
    proxy.send(&request("GET /tcp").field("X-Forwarded-For", "203.0.113.7")).await;
    assert_eq!(origin.only("/tcp").field("x-forwarded-for"), Some("127.0.0.1"));
    wait_until("nobody is left", || async { origin.active("*") == 0 }).await;
}
