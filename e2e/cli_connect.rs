//! How the plugin finds a cluster by flags alone, and manifests at URLs.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli_run::{asts, asts_with};
use crate::harness::{Context, Result, Space, set};
use crate::{ensure, ensure_eq, test_list};

test_list![flags_alone_reach_a_cluster, manifests_are_read_at_urls];

/// What the administrator's kubeconfig has in it, as a file.
fn file_of(space: &Space, field: &str) -> Result<PathBuf> {
    let template = format!("{{{{index (index .users 0).user \"{field}\" | base64decode}}}}");
    let text = space.kubectl(&["config", "view", "--raw", "-o", &format!("go-template={template}")], None)?;
    let file = space.suite.cluster.info.dir.join(format!("{}-{field}", space.namespace));
    std::fs::write(&file, text)?;
    Ok(file)
}

async fn flags_alone_reach_a_cluster(space: Space) -> Result {
    space.create(set("web", json!({"replicas": 0}))).await?;
    let info = &space.suite.cluster.info;
    let [certificate, key] = [file_of(&space, "client-certificate-data")?, file_of(&space, "client-key-data")?];
    let shown = |path: &Path| path.display().to_string();
    let who = [&"--client-certificate".to_owned(), &shown(&certificate), &"--client-key".to_owned(), &shown(&key)];
    let ca = format!("--certificate-authority={}", info.ca.display());
    let call = async |flags: &[&str]| {
        let who = who.map(String::as_str);
        let words = [&["get", "web"], flags, &who].concat();
        asts_with(&space, &words, "", &[("KUBECONFIG", "/no/such/file")]).await
    };
    let (_, bare) = info.server.split_once("://").context("a scheme")?;
    for flags in [vec!["-s", &info.server, &ca], vec!["-s", bare, &ca], vec!["-s", bare, "--insecure-skip-tls-verify"]]
    {
        let text = call(&flags).await?.fine().context(format!("{flags:?}"))?;
        ensure!(text.contains("0/0 ready"), "{flags:?}: {text}");
    }
    let unknown = call(&["-s", &info.server]).await?.refused()?;
    ensure!(unknown.contains("certificate"), "a server that nobody vouches for: {unknown}");
    let checked = call(&["-s", &info.server, "--insecure-skip-tls-verify=false"]).await?.refused()?;
    ensure!(checked.contains("certificate"), "checked after all: {checked}");
    let wrong = call(&["-s", &info.server, "--certificate-authority=/no/such/file"]).await?.refused()?;
    ensure!(wrong.starts_with("error: --certificate-authority: cannot read /no/such/file: "), "{wrong}");
    let near = asts_with(&space, &["get", "web"], "", &[("HTTPS_PROXY", "http://127.0.0.1:1")]).await?.fine()?;
    ensure!(near.contains("0/0 ready"), "no proxy stands before this machine's own server: {near}");
    let proxied = ["get", "web", "--proxy-url", "127.0.0.1:1"];
    let refused = asts(&space, &proxied).await?.refused()?;
    ensure!(refused.starts_with("error: client error (Connect): ") && refused.contains("tunnel"), "{refused}");
    let nowhere = asts_with(&space, &["get", "web"], "", &[("KUBECONFIG", "/no/such/file")]).await?.refused()?;
    ensure!(nowhere.contains("/no/such/file"), "{nowhere}");
    Ok(())
}

/// Gives the same text to whoever asks for `/set.yaml`, and nothing to others. It ends with the tests.
fn server(text: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let place = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let Ok(count) = stream.read(&mut request) else { continue };
            let is_there = request[..count].starts_with(b"GET /set.yaml ");
            let (status, text) = if is_there { ("200 OK", text.as_str()) } else { ("403 Forbidden", "no") };
            let length = text.len();
            // Whoever asked may be gone.
            let _ = write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{text}");
        }
    });
    Ok(place)
}

async fn manifests_are_read_at_urls(space: Space) -> Result {
    let manifest = set("web", json!({"replicas": 1}));
    space.create_settled(manifest.clone()).await?;
    let place = server(manifest.to_string())?;
    let url = format!("{place}/set.yaml");
    let status = asts(&space, &["rollout", "status", "-f", &url]).await?.fine()?;
    ensure!(status.contains("\"web\" successfully rolled out"), "{status}");
    ensure_eq!(asts(&space, &["plan", "-f", &url]).await?.fine()?, "web: 1 Pod: nothing would change\n", "a plan");
    for words in [vec!["plan"], vec!["rollout", "pause"], vec!["convert"]] {
        let words = [&words[..], &["-f", &place]].concat();
        let said = asts(&space, &words).await?.refused()?;
        let expected = format!("error: unable to read URL {place:?}, server reported 403 Forbidden, status code=403\n");
        ensure_eq!(said, expected, "{words:?}");
    }
    Ok(())
}
