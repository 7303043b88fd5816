//! A container registry on loopback, which hands its layers out as slowly as a test wants. Its images are the test
//! image `v2` with one file more, so that no node has their layer yet.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::harness::{Context, Failure, Result};

const BLOCK_BYTES: usize = 512;
const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// `user:secret`, as HTTP's basic authentication and a pull secret have it.
pub const CREDENTIALS: &str = "dXNlcjpzZWNyZXQ=";

/// Ends with the runtime of the tests.
pub struct Registry {
    pub address: String,
    images: Arc<Mutex<HashMap<String, Image>>>,
}

#[derive(Clone)]
struct Image {
    manifest: Bytes,
    config: Bytes,
    layer: Bytes,
    layer_takes: Duration,
    is_private: bool,
}

impl Registry {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let images: Arc<Mutex<HashMap<String, Image>>> = Arc::default();
        let served = images.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let images = served.clone();
                let service = service_fn(move |request| answer(images.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { address, images })
    }

    /// Offers an image that nobody has. Gives its reference back.
    pub fn offer(&self, name: &str, layer_takes: Duration, is_private: bool) -> Result<String> {
        let image = Image { layer_takes, is_private, ..pack(&format!("{} {name}", self.address))? };
        self.images.lock().map_err(|_| Failure("the images' lock".to_owned()))?.insert(name.to_owned(), image);
        Ok(format!("{}/{name}:v1", self.address))
    }
}

async fn answer(
    images: Arc<Mutex<HashMap<String, Image>>>,
    request: Request<Incoming>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let image = |name: &str| images.lock().ok().and_then(|images| images.get(name).cloned());
    let nothing = || reply(StatusCode::NOT_FOUND, "text/plain", Bytes::new());
    let ["v2", name, kind, reference] = parts.as_slice() else {
        return Ok(if path == "/v2/" { reply(StatusCode::OK, "text/plain", Bytes::new()) } else { nothing() });
    };
    let Some(image) = image(name) else { return Ok(nothing()) };
    let authorized = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if image.is_private && authorized != Some(&format!("Basic {CREDENTIALS}")) {
        let mut refusal = reply(StatusCode::UNAUTHORIZED, "text/plain", Bytes::new());
        refusal.headers_mut().insert("www-authenticate", http::HeaderValue::from_static("Basic realm=\"tests\""));
        return Ok(refusal);
    }
    Ok(match *kind {
        "manifests" => reply(StatusCode::OK, MANIFEST_TYPE, image.manifest),
        _ if *reference == digest(&image.config) => reply(StatusCode::OK, "application/octet-stream", image.config),
        _ if *reference == digest(&image.layer) => {
            tokio::time::sleep(image.layer_takes).await;
            reply(StatusCode::OK, "application/octet-stream", image.layer)
        }
        _ => nothing(),
    })
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let content_digest = digest(&body);
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(content_type));
    if let Ok(value) = http::HeaderValue::from_str(&content_digest) {
        response.headers_mut().insert("docker-content-digest", value);
    }
    response
}

fn digest(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The test image `v2` with a file that holds this text.
fn pack(unique: &str) -> Result<Image> {
    let files = entries(&std::fs::read(archive()?)?)?;
    let file = |name: &str| files.get(name).cloned().context(name);
    let listed: Value = serde_json::from_slice(&file("manifest.json")?)?;
    let named = |pointer: &str| listed.pointer(pointer).and_then(Value::as_str).context(pointer);
    let mut layer = file(named("/0/Layers/0")?)?;
    let end = layer.chunks(BLOCK_BYTES).rposition(|block| block.iter().any(|byte| *byte != 0)).context("a layer")?;
    layer.truncate((end + 1) * BLOCK_BYTES);
    layer.extend(entry("unique", unique.as_bytes()));
    layer.extend([0; 2 * BLOCK_BYTES]);
    let mut config: Value = serde_json::from_slice(&file(named("/0/Config")?)?)?;
    config["rootfs"]["diff_ids"] = json!([digest(&layer)]);
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
            "size": config.len(), "digest": digest(&config)},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar",
            "size": layer.len(), "digest": digest(&layer)}],
    });
    Ok(Image {
        manifest: manifest.to_string().into(),
        config: config.into(),
        layer: layer.into(),
        layer_takes: Duration::ZERO,
        is_private: false,
    })
}

/// The newest archive of the test image, where `asts-cluster` keeps what it builds.
fn archive() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/asts"));
    let cache = std::env::var_os("ASTS_CACHE_DIR").map(PathBuf::from).or_else(home).context("a home folder")?;
    let mut found = Vec::new();
    for folder in std::fs::read_dir(&cache)? {
        let path = folder?.path().join("v2.tar");
        if let Ok(about) = std::fs::metadata(&path) {
            found.push((about.modified()?, path));
        }
    }
    found.sort();
    Ok(found.pop().context(format!("an archive of a test image in {}", cache.display()))?.1)
}

/// The files of a tar archive by name.
fn entries(archive: &[u8]) -> Result<HashMap<String, Vec<u8>>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_matches(['\0', ' ']).to_owned();
    let mut files = HashMap::new();
    let mut rest = archive;
    while let Some(header) = rest.get(..BLOCK_BYTES).filter(|header| header[0] != 0) {
        let size = usize::from_str_radix(&text(&header[124..136]), 8)?;
        let prefix = text(&header[345..500]);
        let name = text(&header[..100]);
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let content = rest.get(BLOCK_BYTES..BLOCK_BYTES + size).context("a whole archive")?;
        files.insert(name, content.to_vec());
        rest = rest.get(BLOCK_BYTES + size.next_multiple_of(BLOCK_BYTES)..).unwrap_or_default();
    }
    Ok(files)
}

/// A file as a tar archive has it.
fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; BLOCK_BYTES];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut entry = header.to_vec();
    entry.extend(content);
    entry.resize(BLOCK_BYTES + content.len().next_multiple_of(BLOCK_BYTES), 0);
    entry
}
