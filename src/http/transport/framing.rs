use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Errors in a request's head that the HTTP library corrects silently.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FramingFault {
    /// `#` in the first line: the library drops the rest.
    Fragment,
    /// Two lengths: `Transfer-Encoding` and `Content-Length`, or one of them twice; or an encoding other than `chunked`. A
    /// proxy could see another request.
    Lengths,
}

/// The errors in the heads of a connection's requests, in order.
#[derive(Clone, Default)]
pub(crate) struct FramingFaults(Arc<Mutex<VecDeque<Option<FramingFault>>>>);

impl FramingFaults {
    /// The error of the next request. An unseen head counts as one with two lengths.
    pub(crate) fn next(&self) -> Option<FramingFault> {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heads.pop_front().unwrap_or(Some(FramingFault::Lengths))
    }
}

/// A stream that checks the heads of the requests that are read from it, without changing them.
pub(crate) struct HeadReader<S> {
    stream: S,
    flaws: FramingFaults,
    framing: Framing,
}

impl<S> HeadReader<S> {
    pub(crate) fn new(stream: S) -> (Self, FramingFaults) {
        let flaws = FramingFaults::default();
        (Self { stream, flaws: flaws.clone(), framing: Framing::default() }, flaws)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadReader<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadReader<S> {
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

/// The position of the next byte (RFC 9112 §2 and §7.1).
#[derive(Default)]
struct Framing {
    stage: ScanStage,
    /// The beginning of the current line, as long as a relevant field can be.
    line: Vec<u8>,
    head: HeadScan,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum ScanStage {
    /// In the first line of a head, or in empty lines before it.
    #[default]
    Begin,
    /// In a field of the head.
    Field,
    /// This number of bytes of a body, or of a chunk with its line break, and then the position.
    Bytes(u64, After),
    /// In the line with a chunk's size.
    Size,
    /// In the fields after the last chunk.
    Trailer,
    /// After an error, or not HTTP: the connection ends with the request.
    Over,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum After {
    Begin,
    Size,
}

#[derive(Default)]
struct HeadScan {
    flaw: Option<FramingFault>,
    length: Option<u64>,
    is_chunked: bool,
}

/// Longest stored beginning of a line: a length or an encoding in a longer line is an error.
const LINE_BYTES_MAX: usize = 128;
/// Enough of a line to recognise a field with a length.
const NAME_BYTES: usize = "transfer-encoding:".len();

fn is_about_lengths(line: &[u8]) -> bool {
    let begins = |name: &[u8]| line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
    begins(b"content-length") || begins(b"transfer-encoding")
}

impl Framing {
    /// Reads bytes, and adds the result of each head that ends in them.
    fn read(&mut self, bytes: &[u8]) -> Vec<Option<FramingFault>> {
        let mut heads = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let here = match self.stage {
                ScanStage::Over => break,
                ScanStage::Bytes(left, after) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    self.skip(left.saturating_sub(here as u64), after);
                    here
                }
                ScanStage::Begin | ScanStage::Field | ScanStage::Size | ScanStage::Trailer => {
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

    /// Stores more of the current line; of other fields only the beginning, because they may contain a secret.
    fn keep(&mut self, part: &[u8]) {
        if self.stage == ScanStage::Begin && part.contains(&b'#') {
            self.head.flaw = Some(FramingFault::Fragment);
        }
        let (name, rest) = part.split_at(part.len().min(NAME_BYTES.saturating_sub(self.line.len())));
        self.line.extend_from_slice(name);
        if self.stage != ScanStage::Field || is_about_lengths(&self.line) {
            let room = LINE_BYTES_MAX.saturating_add(1).saturating_sub(self.line.len());
            self.line.extend_from_slice(rest.get(..room).unwrap_or(rest));
        }
    }

    fn skip(&mut self, left: u64, after: After) {
        self.stage = match (left, after) {
            (0, After::Begin) => ScanStage::Begin,
            (0, After::Size) => ScanStage::Size,
            (left, after) => ScanStage::Bytes(left, after),
        };
    }

    /// Adds the result of the head, if it ends here.
    fn end_of_line(&mut self, heads: &mut Vec<Option<FramingFault>>) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        match (self.stage, line.is_empty()) {
            (ScanStage::Begin, false) => self.stage = ScanStage::Field,
            (ScanStage::Field, false) => self.head.field(line),
            (ScanStage::Field, true) => heads.push(self.end_of_head()),
            (ScanStage::Size, _) => {
                let digits: Vec<u8> = line.iter().copied().take_while(u8::is_ascii_hexdigit).collect();
                let size =
                    std::str::from_utf8(&digits).ok().and_then(|hex| u64::from_str_radix(hex, 16).ok());
                self.stage = match size {
                    None => ScanStage::Over,
                    Some(0) => ScanStage::Trailer,
                    // Including the line break at the end of the chunk.
                    Some(size) => ScanStage::Bytes(size.saturating_add(2), After::Size),
                };
            }
            (ScanStage::Trailer, true) => self.stage = ScanStage::Begin,
            (ScanStage::Begin, true)
            | (ScanStage::Trailer, false)
            | (ScanStage::Bytes(..) | ScanStage::Over, _) => {}
        }
    }

    fn end_of_head(&mut self) -> Option<FramingFault> {
        let head = std::mem::take(&mut self.head);
        self.stage = match (head.flaw, head.is_chunked, head.length) {
            (Some(_), ..) => ScanStage::Over,
            (None, true, _) => ScanStage::Size,
            (None, false, Some(length)) if length > 0 => ScanStage::Bytes(length, After::Begin),
            (None, false, _) => ScanStage::Begin,
        };
        head.flaw
    }
}

impl HeadScan {
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
            self.flaw = Some(FramingFault::Lengths);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in `text`, read whole and byte by byte.
    fn found(text: &str) -> Vec<Option<FramingFault>> {
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
            assert_eq!(found(&get), [Some(FramingFault::Fragment)], "{target}");
            assert_eq!(
                found(&format!("POST /a HTTP/1.1\r\nhost: x\r\n\r\n{get}")),
                [None, Some(FramingFault::Fragment)]
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
            assert_eq!(found(&request), [Some(FramingFault::Lengths)], "{fields}");
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
        let (_, flaws) = HeadReader::new(tokio::io::empty());
        flaws.0.lock().unwrap().push_back(None);
        assert_eq!((flaws.next(), flaws.next()), (None, Some(FramingFault::Lengths)));
    }
}
