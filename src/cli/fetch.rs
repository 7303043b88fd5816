//! Manifests at URLs, as kubectl reads them with `-f`.

use std::time::Duration;

use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::{Client, Config};

use super::error::{CliError, of_client};
use super::proxy;

/// As often as Go's client, which kubectl uses, is sent on.
const REDIRECTS_MAX: usize = 10;
/// Calls of a server that is at fault itself, as in kubectl.
const ATTEMPTS_MAX: usize = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// How long a server may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// More than any list of manifests.
const BYTES_MAX: usize = 64 << 20;

/// Whether what `-f` names is at a server.
pub fn is_url(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

/// Reads the text at a URL.
pub async fn text(url: &str) -> Result<String, CliError> {
    let wrong = |message: String| CliError::Failed(format!("unable to read URL {url:?}: {message}"));
    let mut place: Uri = url.parse().map_err(|error| wrong(format!("{error}")))?;
    for _ in 0..=REDIRECTS_MAX {
        let response = answer(&place).await.map_err(&wrong)?;
        let status = response.status();
        if let Some(next) = sent_on(&response) {
            place = resolved(&place, &next).ok_or_else(|| wrong(format!("the server sends on to {next:?}")))?;
            continue;
        }
        if status != StatusCode::OK {
            let message = format!("server reported {status}, status code={}", status.as_u16());
            return Err(CliError::Failed(format!("unable to read URL {url:?}, {message}")));
        }
        let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
        let bytes = body.map_err(|error| wrong(error.to_string()))?.to_bytes();
        return String::from_utf8(bytes.to_vec()).map_err(|_| wrong("what it answers is no text".into()));
    }
    Err(wrong(format!("the server sent on more than {REDIRECTS_MAX} times")))
}

/// The first answer of a server that is not at fault, else its last.
async fn answer(url: &Uri) -> Result<Response<Body>, String> {
    let mut attempt = 1;
    loop {
        let response = call(url).await?;
        if !response.status().is_server_error() || attempt == ATTEMPTS_MAX {
            return Ok(response);
        }
        attempt += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// With none of the cluster's credentials: the server is somebody else's.
async fn call(url: &Uri) -> Result<Response<Body>, String> {
    let mut config = Config::new(url.clone());
    config.read_timeout = Some(SILENCE_MAX);
    config.default_retry = false;
    config.proxy_url = proxy::of_environment(url);
    // The client puts a request's path below that of its server.
    let path = url.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let server = Uri::builder().scheme(url.scheme_str().unwrap_or("http"));
    let authority = url.authority().map_or("", |authority| authority.as_str());
    config.cluster_url = server.authority(authority).path_and_query("/").build().map_err(|error| error.to_string())?;
    let client = Client::try_from(config).map_err(|error| of_client(&error))?;
    let agent = concat!("kubectl-asts/", env!("CARGO_PKG_VERSION"));
    let request = Request::get(path).header(header::USER_AGENT, agent).body(Body::empty());
    client.send(request.map_err(|error| error.to_string())?).await.map_err(|error| of_client(&error))
}

fn sent_on(response: &Response<Body>) -> Option<String> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let place = response.headers().get(header::LOCATION).filter(|_| is_redirect)?;
    place.to_str().ok().map(str::to_owned)
}

/// Where a server sends on to: a URL, or a path of its own.
fn resolved(from: &Uri, to: &str) -> Option<Uri> {
    if is_url(to) {
        return to.parse().ok();
    }
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let place = if to.starts_with("//") {
        format!("{scheme}:{to}")
    } else if to.starts_with('/') {
        format!("{scheme}://{authority}{to}")
    } else {
        let (folder, _) = from.path().rsplit_once('/')?;
        format!("{scheme}://{authority}{folder}/{to}")
    };
    place.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// A server that gives these answers, one a call, and tells what it was asked for.
    fn server(answers: Vec<String>) -> (String, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("http://{}", listener.local_addr().unwrap());
        let (asked, hears) = channel();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let count = stream.read(&mut request).unwrap();
                asked.send(String::from_utf8_lossy(&request[..count]).into_owned()).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (place, hears)
    }

    fn says(status: &str, more: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_text_is_read_where_the_server_sends_on_to() {
        let (place, asked) = server(vec![
            says("302 Found", "Location: /other/b.yaml\r\n", ""),
            says("307 Temporary Redirect", "Location: c.yaml?x=1\r\n", ""),
            says("200 OK", "", "kind: A"),
        ]);
        assert_eq!(text(&format!("{place}/a.yaml?token=t")).await.unwrap(), "kind: A");
        let lines: Vec<String> = asked.iter().map(|it| it.lines().next().unwrap_or_default().to_owned()).collect();
        let paths = ["/a.yaml?token=t", "/other/b.yaml", "/other/c.yaml?x=1"];
        assert_eq!(lines, paths.map(|path| format!("GET {path} HTTP/1.1")));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named_with_what_the_server_says() {
        let (place, asked) = server(vec![says("404 Not Found", "", "none")]);
        let error = text(&format!("{place}/a.yaml")).await.unwrap_err().to_string();
        let expected = "/a.yaml\", server reported 404 Not Found, status code=404";
        assert_eq!(error, format!("unable to read URL \"{place}{expected}"));
        assert!(!asked.recv().unwrap().to_lowercase().contains("authorization"));
        // Nobody listens there any more.
        let error = text(&format!("{place}/a.yaml")).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("unable to read URL \"{place}/a.yaml\": ")), "{error}");
        let error = text("http://a b/").await.unwrap_err().to_string();
        assert!(error.starts_with("unable to read URL \"http://a b/\": "), "{error}");
    }

    #[tokio::test]
    async fn a_server_at_fault_is_asked_again() {
        let (place, _asked) = server(vec![says("503 Service Unavailable", "", ""), says("200 OK", "", "kind: A")]);
        assert_eq!(text(&place).await.unwrap(), "kind: A");
        let (place, _asked) = server(vec![says("302 Found", "Location: /\r\n", ""); 20]);
        assert!(text(&place).await.unwrap_err().to_string().contains("sent on more than 10 times"));
    }
}
