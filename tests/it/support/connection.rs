use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, StatusCode};

use super::broker::Reply;

/// One connection to a listener, its handshake done.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(crate) const fn over(sender: SendRequest<Full<Bytes>>) -> Self {
        Self { sender }
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Reply> {
        let mut request = Request::builder().method(method).uri(path).header("host", "broker");
        for (name, value) in headers {
            let (name, value) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
            request = request.header(name.unwrap(), value.unwrap());
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        self.sender.ready().await.map_err(std::io::Error::other)?;
        let response = self.sender.send_request(request).await.map_err(std::io::Error::other)?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes().to_vec();
        let status: StatusCode = parts.status;
        let reply = Reply { status: status.as_u16(), headers: parts.headers, body };
        crate::openapi::check(method, path, &reply);
        Ok(reply)
    }
}
