//! Writes the XML of EC2 replies: elements, escaped text, lists of items.

use std::fmt::{Display, Write as _};

use super::seed::Tags;

/// A document being written.
#[derive(Debug, Default)]
pub(crate) struct Xml {
    out: String,
}

impl Xml {
    /// A document with its declaration.
    pub(crate) fn document() -> Self {
        Self { out: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n") }
    }

    /// The finished text.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// An element with content.
    pub(crate) fn nest(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.open(name);
        content(self);
        self.close(name);
    }

    /// An element with content and a namespace.
    pub(crate) fn root(&mut self, name: &str, namespace: &str, content: impl FnOnce(&mut Self)) {
        let _ = write!(self.out, "<{name} xmlns=\"{namespace}\">");
        content(self);
        self.close(name);
    }

    /// A set of `item` elements, present even when empty.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut Self, T),
    ) {
        self.open(name);
        for one in items {
            self.nest("item", |xml| item(xml, one));
        }
        self.close(name);
    }

    /// A set of `item` elements that are texts.
    pub(crate) fn texts<'a>(&mut self, name: &str, items: impl IntoIterator<Item = &'a str>) {
        self.open(name);
        items.into_iter().for_each(|item| self.text("item", item));
        self.close(name);
    }

    /// What another document holds.
    pub(crate) fn append(&mut self, other: &Self) {
        self.out.push_str(&other.out);
    }

    /// An element with text.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        escape(&mut self.out, text);
        self.close(name);
    }

    /// An element with a value whose text needs no escape: a number, an address, a flag.
    pub(crate) fn value(&mut self, name: &str, value: impl Display) {
        self.open(name);
        let _ = write!(self.out, "{value}");
        self.close(name);
    }

    /// A `tagSet`.
    pub(crate) fn tags(&mut self, tags: &Tags) {
        self.list("tagSet", tags, |xml, (key, value)| {
            xml.text("key", key);
            xml.text("value", value);
        });
    }

    fn open(&mut self, name: &str) {
        self.out.push('<');
        self.out.push_str(name);
        self.out.push('>');
    }

    fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // A parser would turn a bare carriage return into a line feed.
            '\r' => out.push_str("&#xD;"),
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_text_and_keeps_empty_lists() {
        let mut xml = Xml::default();
        xml.nest("a", |xml| {
            xml.text("b", "<\"x\" & 'y'>");
            xml.list("c", [1, 2], |xml, n| xml.value("n", n));
            xml.tags(&Tags::new());
        });
        let want = "<a><b>&lt;&quot;x&quot; &amp; 'y'&gt;</b><c><item><n>1</n></item><item><n>2</n></item></c><tagSet></tagSet></a>";
        assert_eq!(xml.finish(), want);
    }
}
