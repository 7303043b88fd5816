//! The near end of a connection: what `kube::Client` talks to.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame};
use kube::client::Body as ClientBody;
use serde_json::Value;
use tokio::sync::oneshot;

use super::Shared;
use super::call::{self, Call, Lines, Reply};
use crate::control::client::SILENCE_MAX;

/// A client of the simulated apiserver, as one life of a manager has it.
pub fn client(shared: Shared, manager: usize, epoch: u64) -> kube::Client {
    let service = tower::service_fn(move |request: Request<ClientBody>| {
        let shared = shared.clone();
        async move { send(shared, manager, epoch, request).await }
    });
    kube::Client::new(service, super::super::store::NAMESPACE)
}

async fn send(
    shared: Shared,
    manager: usize,
    epoch: u64,
    request: Request<ClientBody>,
) -> Result<Response<AnswerBody>, tower::BoxError> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
    let target = call::parse(&parts.uri).ok_or_else(|| format!("no such path: {}", parts.uri))?;
    let content = parts.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let (answer, answered) = oneshot::channel();
    shared.lock().sent(Call {
        manager,
        epoch,
        method: parts.method,
        resource: target.resource,
        name: target.name,
        subresource: target.subresource,
        query: target.query,
        is_merge_patch: content == Some("application/merge-patch+json"),
        body,
        answer: Some(answer),
        fault: None,
        request: None,
    });
    // As the real connection has it.
    let reply = tokio::time::timeout(SILENCE_MAX, answered).await.map_err(|_| "silence")?;
    let reply = reply.map_err(|_| "the connection was reset")?;
    let (code, body) = match reply {
        Reply::Json(code, value) => (code, AnswerBody::Whole(Some(value.to_string().into()))),
        Reply::Lines(lines) => (200, AnswerBody::Lines(lines)),
    };
    Ok(Response::builder().status(code).body(body)?)
}

/// The body of an answer: all at once, or line by line as a watch has it.
pub enum AnswerBody {
    Whole(Option<Bytes>),
    Lines(Lines),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match &mut *self {
            AnswerBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            AnswerBody::Lines(lines) => lines.poll_recv(context).map(|line| line.map(|line| line.map(Frame::data))),
        }
    }
}
