use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is wrong with a request's head that the HTTP library mends in silence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flaw {
    /// `#` in its first line: what follows is dropped.
    Fragment,
    /// Two lengths: `Transfer-Encoding` and `Content-Length`, or one of them twice; or an encoding other than
    /// `chunked`. Another implementation on the way could see another request.
    Lengths,
}

/// What is wrong with the heads of a connection's requests, in their order.
#[derive(Clone, Default)]
pub(crate) struct Flaws(Arc<Mutex<VecDeque<Option<Flaw>>>>);

impl Flaws {
    /// Of the next request. A head that was not seen may have two lengths.
    pub(crate) fn next(&self) -> Option<Flaw> {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heads.pop_front().unwrap_or(Some(Flaw::Lengths))
    }
}

/// A stream that looks at the heads of the requests that are read from it, as they came. It changes nothing.
pub(crate) struct Heads<S> {
    stream: S,
    flaws: Flaws,
    framing: Framing,
}

impl<S> Heads<S> {
    pub(crate) fn new(stream: S) -> (Self, Flaws) {
        let flaws = Flaws::default();
        (Self { stream, flaws: flaws.clone(), framing: Framing::default() }, flaws)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heads<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        let this = &mut *self;
        if let Some(bytes) = into.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            let heads = this.framing.read(bytes);
            if !heads.is_empty() {
                this.flaws.0.lock().unwrap_or_else(PoisonError::into_inner).extend(heads);
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heads<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where in the stream the next byte is (RFC 9112 §2 and §7.1).
#[derive(Default)]
struct Framing {
    stage: Stage,
    /// The beginning of the line at hand: as much as a field of interest has.
    line: Vec<u8>,
    head: Head,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Stage {
    /// In the first line of a head, or in blank lines before it.
    #[default]
    Begin,
    /// In a field of the head.
    Field,
    /// So many bytes of a body or of a chunk with its line break are to come, and then that.
    Bytes(u64, After),
    /// In the line with a chunk's size.
    Size,
    /// In the fields after the last chunk.
    Trailer,
    /// A flaw was found, or this is no HTTP: the connection ends with the request.
    Over,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum After {
    Begin,
    Size,
}

#[derive(Default)]
struct Head {
    flaw: Option<Flaw>,
    length: Option<u64>,
    is_chunked: bool,
}

/// Longest beginning of a line that is kept: a length or an encoding in a longer one is a flaw.
const LINE_BYTES_MAX: usize = 128;
/// As much of a line as tells whether it is about lengths.
const NAME_BYTES: usize = "transfer-encoding:".len();

fn is_about_lengths(line: &[u8]) -> bool {
    let begins = |name: &[u8]| line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
    begins(b"content-length") || begins(b"transfer-encoding")
}

impl Framing {
    /// Takes in what was read, and gives what is wrong with each head that ends in it.
    fn read(&mut self, bytes: &[u8]) -> Vec<Option<Flaw>> {
        let mut heads = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let here = match self.stage {
                Stage::Over => break,
                Stage::Bytes(left, after) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    self.skip(left.saturating_sub(here as u64), after);
                    here
                }
                Stage::Begin | Stage::Field | Stage::Size | Stage::Trailer => {
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    self.keep(end.and_then(|end| rest.get(..end)).unwrap_or(rest));
                    if end.is_some() {
                        self.end_of_line(&mut heads);
                        self.line.clear();
                    }
                    end.map_or(rest.len(), |end| end.saturating_add(1))
                }
            };
            rest = rest.get(here..).unwrap_or_default();
        }
        heads
    }

    /// Keeps more of the line at hand: of a field without a length no more than tells that, since it may be secret.
    fn keep(&mut self, part: &[u8]) {
        if self.stage == Stage::Begin && part.contains(&b'#') {
            self.head.flaw = Some(Flaw::Fragment);
        }
        let (name, rest) = part.split_at(part.len().min(NAME_BYTES.saturating_sub(self.line.len())));
        self.line.extend_from_slice(name);
        if self.stage != Stage::Field || is_about_lengths(&self.line) {
            let room = LINE_BYTES_MAX.saturating_add(1).saturating_sub(self.line.len());
            self.line.extend_from_slice(rest.get(..room).unwrap_or(rest));
        }
    }

    fn skip(&mut self, left: u64, after: After) {
        self.stage = match (left, after) {
            (0, After::Begin) => Stage::Begin,
            (0, After::Size) => Stage::Size,
            (left, after) => Stage::Bytes(left, after),
        };
    }

    /// Adds what is wrong with the head that ends here, if one does.
    fn end_of_line(&mut self, heads: &mut Vec<Option<Flaw>>) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        match (self.stage, line.is_empty()) {
            (Stage::Begin, false) => self.stage = Stage::Field,
            (Stage::Field, false) => self.head.field(line),
            (Stage::Field, true) => heads.push(self.end_of_head()),
            (Stage::Size, _) => {
                let digits: Vec<u8> = line.iter().copied().take_while(u8::is_ascii_hexdigit).collect();
                let size =
                    std::str::from_utf8(&digits).ok().and_then(|hex| u64::from_str_radix(hex, 16).ok());
                self.stage = match size {
                    None => Stage::Over,
                    Some(0) => Stage::Trailer,
                    // With the line break at the end of the chunk.
                    Some(size) => Stage::Bytes(size.saturating_add(2), After::Size),
                };
            }
            (Stage::Trailer, true) => self.stage = Stage::Begin,
            (Stage::Begin, true) | (Stage::Trailer, false) | (Stage::Bytes(..) | Stage::Over, _) => {}
        }
    }

    fn end_of_head(&mut self) -> Option<Flaw> {
        let head = std::mem::take(&mut self.head);
        self.stage = match (head.flaw, head.is_chunked, head.length) {
            (Some(_), ..) => Stage::Over,
            (None, true, _) => Stage::Size,
            (None, false, Some(length)) if length > 0 => Stage::Bytes(length, After::Begin),
            (None, false, _) => Stage::Begin,
        };
        head.flaw
    }
}

impl Head {
    fn field(&mut self, line: &[u8]) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let (is_length, is_encoding) =
            (name.eq_ignore_ascii_case(b"content-length"), name.eq_ignore_ascii_case(b"transfer-encoding"));
        if !is_length && !is_encoding {
            return;
        }
        let is_second = self.length.is_some() || self.is_chunked;
        if is_length {
            let digits = Some(value).filter(|value| value.iter().all(u8::is_ascii_digit));
            self.length = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        } else {
            self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
        }
        let is_known = self.length.is_some() || self.is_chunked;
        if is_second || !is_known || line.len() > LINE_BYTES_MAX {
            self.flaw = Some(Flaw::Lengths);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in `text`, read whole and byte by byte.
    fn found(text: &str) -> Vec<Option<Flaw>> {
        let whole = Framing::default().read(text.as_bytes());
        let mut framing = Framing::default();
        let singly: Vec<_> = text.as_bytes().chunks(1).flat_map(|byte| framing.read(byte)).collect();
        assert_eq!(whole, singly, "{text}");
        whole
    }

    #[test]
    fn each_head_is_found_whatever_bodies_say() {
        let post = "POST /b HTTP/1.1\r\nContent-Length: 12\r\n\r\nGET /a#b\r\n\r\n";
        let chunked = "POST /c HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n\
                       5;x=#\r\nGET #\r\n2\r\n\n\n\r\n0\r\nx: #\r\n\r\n";
        let get = "\r\nGET /d HTTP/1.1\r\nhost: x#y\r\n\r\n";
        assert_eq!(found(&format!("{get}{post}{chunked}{get}")), [None; 4]);
        assert_eq!(found(&format!("{post}GET /a HTTP/1.1\nx: y\n\n")), [None; 2], "bare line feeds");
    }

    #[test]
    fn a_fragment_is_a_flaw_wherever_the_target_has_it() {
        for target in ["/v1/secrets/a#b", "/#", "https://x/v1/a#", "/v1/agents?after=a#b"] {
            let get = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
            assert_eq!(found(&get), [Some(Flaw::Fragment)], "{target}");
            assert_eq!(
                found(&format!("POST /a HTTP/1.1\r\nhost: x\r\n\r\n{get}")),
                [None, Some(Flaw::Fragment)]
            );
        }
    }

    #[test]
    fn two_lengths_are_a_flaw_in_either_order() {
        let (length, chunked) = ("content-length: 5\r\n", "Transfer-Encoding: chunked\r\n");
        let long = format!("content-length:{}5\r\n", " ".repeat(LINE_BYTES_MAX));
        for fields in [
            &format!("{length}{chunked}"),
            &format!("{chunked}x: y\r\n{length}"),
            &format!("{length}{length}"),
            &format!("{chunked}{chunked}"),
            &long,
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: gzip\r\n",
            "transfer-encoding:\r\n",
            "content-length: 5, 5\r\n",
            "content-length: +5\r\n",
            "content-length:\r\n",
        ] {
            let request = format!("POST /a HTTP/1.1\r\n{fields}\r\n5\r\nGET /");
            assert_eq!(found(&request), [Some(Flaw::Lengths)], "{fields}");
        }
    }

    #[test]
    fn no_more_is_kept_of_a_field_than_its_name() {
        let mut framing = Framing::default();
        let heads = framing.read(b"GET /a HTTP/1.1\r\nauthorization: Bearer CNRY-token");
        assert_eq!((heads, framing.line.as_slice()), (Vec::new(), &b"authorization: Bea"[..]));
    }

    #[test]
    fn a_request_that_was_not_seen_has_a_flaw() {
        let (_, flaws) = Heads::new(tokio::io::empty());
        flaws.0.lock().unwrap().push_back(None);
        assert_eq!((flaws.next(), flaws.next()), (None, Some(Flaw::Lengths)));
    }
}
