//! Leaves out of an answer, while it is read, what nobody looks at.
//!
//! A thousand instances are ten megabytes of XML, nine of them their interfaces, disks and options, and the SDK makes
//! several times as much of it before a row is made. What is named here goes no further than the piece of the answer that
//! it came in. Everything else goes through untouched, byte by byte, whatever it is: also what EC2 adds tomorrow.

use aws_sdk_ec2::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextMut},
    error::BoxError,
};
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;

/// A tag that is longer is none of those that are looked for.
const LONGEST_TAG: usize = 256;

/// Elements by name, at whatever depth.
pub(crate) type Unread = &'static [&'static str];

/// Takes elements out of the answer to one call.
#[derive(Debug)]
pub(crate) struct Sieve(pub(crate) Unread);

impl Intercept for Sieve {
    fn name(&self) -> &'static str {
        "ipam-audit sieve"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response_mut().body_mut();
        let whole = std::mem::replace(body, SdkBody::taken());
        let mut left = Left::new(self.0);
        *body = SdkBody::from_body_1_x(whole.map_frame(move |frame| frame.map_data(|data| left.of(&data).into())));
        Ok(())
    }
}

/// What is left of a text that comes in pieces.
#[derive(Debug)]
struct Left {
    unread: Unread,
    /// The tag under way, from its `<` on.
    tag: Vec<u8>,
    /// The element that is being left out, and how many of its name are open.
    leaving_out: Option<(&'static str, u32)>,
}

impl Left {
    fn new(unread: Unread) -> Self {
        Self { unread, tag: Vec::new(), leaving_out: None }
    }

    /// What is left of one more piece.
    fn of(&mut self, mut piece: &[u8]) -> Vec<u8> {
        let mut kept = Vec::new();
        while !piece.is_empty() {
            if self.tag.is_empty() {
                let text = memchr::memchr(b'<', piece).unwrap_or(piece.len());
                if self.leaving_out.is_none() {
                    kept.extend_from_slice(&piece[..text]);
                }
                piece = &piece[text..];
                if piece.is_empty() {
                    break;
                }
            }
            let (part, closed) = match memchr::memchr(b'>', piece) {
                Some(at) => (&piece[..=at], true),
                None => (piece, false),
            };
            self.tag.extend_from_slice(part);
            piece = &piece[part.len()..];
            if closed {
                self.tag_ended(&mut kept);
            } else if self.tag.len() > LONGEST_TAG && self.leaving_out.is_none() {
                kept.append(&mut self.tag);
            }
        }
        kept
    }

    fn tag_ended(&mut self, kept: &mut Vec<u8>) {
        let (name, turn) = parts(&self.tag);
        match (&mut self.leaving_out, turn) {
            (Some((left_out, open)), Turn::Begins) if left_out.as_bytes() == name => *open += 1,
            (Some((left_out, open)), Turn::Ends) if left_out.as_bytes() == name => {
                *open -= 1;
                if *open == 0 {
                    self.leaving_out = None;
                }
            }
            (Some(_), _) => {}
            (None, turn) => match self.unread.iter().find(|unread| unread.as_bytes() == name) {
                Some(unread) if turn == Turn::Begins => self.leaving_out = Some((unread, 1)),
                Some(_) if turn == Turn::IsEmpty => {}
                _ => kept.extend_from_slice(&self.tag),
            },
        }
        self.tag.clear();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Begins,
    Ends,
    IsEmpty,
}

/// The name in a tag such as `<item>`, `</item>` or `<item/>`.
fn parts(tag: &[u8]) -> (&[u8], Turn) {
    let inner = tag.strip_prefix(b"<").and_then(|tag| tag.strip_suffix(b">")).unwrap_or_default();
    let (inner, turn) = match (inner.strip_prefix(b"/"), inner.strip_suffix(b"/")) {
        (Some(inner), _) => (inner, Turn::Ends),
        (None, Some(inner)) => (inner, Turn::IsEmpty),
        (None, None) => (inner, Turn::Begins),
    };
    let end = inner.iter().position(u8::is_ascii_whitespace).unwrap_or(inner.len());
    (&inner[..end], turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNREAD: Unread = &["b", "dns"];

    fn sieved(text: &str, at_once: usize) -> String {
        let mut left = Left::new(UNREAD);
        let kept: Vec<u8> = text.as_bytes().chunks(at_once).flat_map(|piece| left.of(piece)).collect();
        String::from_utf8(kept).unwrap()
    }

    #[test]
    fn what_is_named_is_left_out_with_all_that_is_in_it_however_the_text_is_cut() {
        for (text, want) in [
            ("<a><b>1</b><c>2</c></a>", "<a><c>2</c></a>"),
            ("<a><b><b>1</b><c/>2</b><c>3</c></a>", "<a><c>3</c></a>"),
            ("<a><b/><b /><c/></a>", "<a><c/></a>"),
            ("<a><b x=\"1\">1</b>2</a>", "<a>2</a>"),
            ("<a><bb>1</bb><dns>2</dns></a>", "<a><bb>1</bb></a>"),
            (
                "<?xml version=\"1.0\"?>\n<a xmlns=\"http://x/\">&lt;b&gt;</a>",
                "<?xml version=\"1.0\"?>\n<a xmlns=\"http://x/\">&lt;b&gt;</a>",
            ),
            ("<a><b>1<c>2</b>", "<a>"),
            ("<a>1</b>", "<a>1</b>"),
            ("no XML at all > or", "no XML at all > or"),
            ("cut off in <the mid", "cut off in "),
            ("", ""),
        ] {
            for at_once in 1..=text.len().max(1) {
                assert_eq!(sieved(text, at_once), want, "{text} by {at_once}");
            }
        }
    }

    #[test]
    fn a_text_without_an_end_is_not_held_back() {
        let mut left = Left::new(UNREAD);
        let kept = left.of(&[b"<".as_slice(), &[b'a'; 3 * LONGEST_TAG]].concat());
        assert_eq!(kept.len(), 1 + 3 * LONGEST_TAG);
        assert_eq!(left.of(&[b'a'; 10]), [b'a'; 10]);
    }
}
