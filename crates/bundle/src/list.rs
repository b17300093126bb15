//! One file of a bundle as rows, and how far it can be relied on.

use std::path::Path;

use ipam_audit_api::views::Interner;
use ipam_audit_core::source::{FaultCategory, Observed, Reading, SourceFault};
use jiff::Timestamp;

use crate::{
    AsOf,
    clock::Head,
    folder::Folder,
    open,
    part::Part,
    stream,
    wrong::{Warning, Wrong},
};

/// So many items of one file are named; the rest is counted.
const NAMED: usize = 5;

/// Reads the files of a bundle, one after another.
#[derive(Debug)]
pub(crate) struct Reader {
    folder: Folder,
    pub(crate) texts: Interner,
    /// The newest moment that the objects read so far prove.
    pub(crate) newest: Option<Timestamp>,
}

/// The rows of one file.
#[derive(Debug)]
pub(crate) struct Listing<T> {
    part: Part,
    /// None where there is no file, or none that can be relied on.
    pub(crate) rows: Option<Vec<T>>,
    fault: Option<SourceFault>,
}

impl Reader {
    pub(crate) fn new(folder: Folder) -> Self {
        Self { folder, texts: Interner::default(), newest: None }
    }

    /// What was noticed, and what was ignored.
    pub(crate) fn into_remarks(self) -> (Vec<Warning>, Vec<String>) {
        (self.folder.warnings, self.folder.ignored)
    }

    /// Notes what is left out and need not be there.
    pub(crate) fn ignore(&mut self, what: String) {
        self.folder.ignored.push(what);
    }

    /// Notes what is wrong with a file as a whole.
    pub(crate) fn warn(&mut self, part: Part, what: &str) {
        self.folder.warnings.push(Warning { file: part.path(), item: None, what: what.to_owned() });
    }

    /// Reads one file. `row` makes a row of an item's text, or none of an item that does not matter.
    pub(crate) fn list<T>(
        &mut self,
        part: Part,
        mut row: impl FnMut(&str, &mut Interner) -> Result<Option<T>, Wrong>,
    ) -> Listing<T> {
        let Some(path) = self.folder.parts.get(&part).cloned() else {
            let message = format!("{part} is not in the bundle; `{}` makes it", part.command());
            return Listing::missing(part, FaultCategory::NotProvided, message);
        };
        let mut problems = Problems { part, warnings: Vec::new(), more: 0 };
        let (rows, ending, items) = match self.items(part, &path, &mut problems, &mut row) {
            Ok(read) => read,
            Err(what) => {
                problems.of_file(what);
                (Vec::new(), stream::Ending::default(), 0)
            }
        };
        let whole = problems.of_ending(part, &ending, items);
        let listing = problems.listing(rows, whole);
        self.folder.warnings.extend(problems.into_warnings());
        listing
    }

    fn items<T>(
        &mut self,
        part: Part,
        path: &Path,
        problems: &mut Problems,
        row: &mut impl FnMut(&str, &mut Interner) -> Result<Option<T>, Wrong>,
    ) -> Result<(Vec<T>, stream::Ending, usize), String> {
        let text = open::open(path).map_err(|error| format!("it cannot be opened: {error}"))?;
        let mut rows = Vec::new();
        let mut index = 0;
        let Self { texts, newest, .. } = self;
        let ending = stream::items(text, part.list_key(), &mut |item| {
            let head = Head::of(item);
            *newest = (*newest).max(head.newest());
            match of_kind(part, &head).and_then(|()| row(item, texts)) {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => {}
                Err(wrong) => problems.of_item(index, wrong.name.or_else(|| head.name()), wrong.what),
            }
            index += 1;
        });
        Ok((rows, ending, index))
    }
}

/// Whether an object is of the kind that its file is for. Those of a raw answer do not say.
fn of_kind(part: Part, head: &Head) -> Result<(), Wrong> {
    match (part.kind(), head.kind.as_deref()) {
        (Some(wanted), Some(kind)) if kind != wanted => Err(Wrong::nameless(format!("it is no {wanted}"))),
        _ => Ok(()),
    }
}

/// What is wrong with one file.
struct Problems {
    part: Part,
    warnings: Vec<Warning>,
    /// Items beyond those that are named.
    more: usize,
}

impl Problems {
    fn of_file(&mut self, what: String) {
        // What ends a file goes before what is wrong inside of it.
        self.warnings.insert(0, Warning { file: self.part.path(), item: None, what });
    }

    fn of_item(&mut self, index: usize, name: Option<String>, what: String) {
        if self.warnings.len() >= NAMED {
            self.more += 1;
            return;
        }
        let item = match name {
            Some(name) => format!("item {index} ({name})"),
            None => format!("item {index}"),
        };
        self.warnings.push(Warning { file: self.part.path(), item: Some(item), what });
    }

    /// What the end of a file tells; whether all of it was read.
    fn of_ending(&mut self, part: Part, ending: &stream::Ending, items: usize) -> bool {
        if !self.warnings.is_empty() && items == 0 {
            return false;
        }
        if let Some(broken) = &ending.broken {
            self.of_file(broken.clone());
        } else if ending.more_pages {
            self.of_file("it is not the last page: further pages are lacking".to_owned());
        } else if !ending.has_list {
            self.of_file(format!("it is empty, as when the command fails that makes it: `{}`", part.command()));
        } else if items == 0 && part.is_required() {
            self.of_file("it lists nothing, which cannot be of a cluster in use".to_owned());
        } else {
            return true;
        }
        false
    }

    /// The rows as far as they can be relied on.
    fn listing<T>(&self, rows: Vec<T>, whole: bool) -> Listing<T> {
        let part = self.part;
        let is_clean = self.warnings.is_empty();
        let believed = is_clean || !rows.is_empty() && (whole || !part.misleads_by_half());
        Listing { part, rows: believed.then_some(rows), fault: self.fault() }
    }

    fn fault(&self) -> Option<SourceFault> {
        let first = self.warnings.first()?;
        let others = self.warnings.len() - 1 + self.more;
        let message = match others {
            0 => first.to_string(),
            _ => format!("{first} (and {others} more)"),
        };
        Some(SourceFault { category: FaultCategory::Malformed, message })
    }

    fn into_warnings(mut self) -> Vec<Warning> {
        if self.more > 0 {
            let what = format!("{} further items make no sense", self.more);
            self.warnings.push(Warning { file: self.part.path(), item: None, what });
        }
        self.warnings
    }
}

impl<T> Listing<T> {
    fn missing(part: Part, category: FaultCategory, message: String) -> Self {
        Self { part, rows: None, fault: Some(SourceFault { category, message }) }
    }

    /// The rows are not to be relied on after all.
    pub(crate) fn disbelieve(&mut self, what: &str) {
        self.rows = None;
        self.fault =
            Some(SourceFault { category: FaultCategory::Malformed, message: format!("{}: {what}", self.part) });
    }

    /// Takes the rows out and leaves none.
    pub(crate) fn take(&mut self) -> Self {
        Self { part: self.part, rows: self.rows.take(), fault: self.fault.clone() }
    }

    /// The rows that there are; none of a file that is not there.
    pub(crate) fn all(&self) -> &[T] {
        self.rows.as_deref().unwrap_or_default()
    }

    /// The same file as other rows.
    pub(crate) fn map<U>(self, change: impl FnOnce(Vec<T>) -> Vec<U>) -> Listing<U> {
        Listing { part: self.part, rows: self.rows.map(change), fault: self.fault }
    }

    /// The rows in order, each once: pages may overlap.
    pub(crate) fn sorted<K: Ord>(self, key: impl Fn(&T) -> K) -> Self {
        self.map(|mut rows| {
            rows.sort_by_cached_key(&key);
            rows.dedup_by(|a, b| key(a) == key(b));
            rows
        })
    }

    /// What a snapshot has of the file.
    pub(crate) fn reading(self, as_of: &AsOf<'_>) -> Reading<Vec<T>> {
        let as_of = as_of(self.part);
        Reading { last_good: self.rows.map(|value| Observed { value, as_of }), fault: self.fault }
    }

    /// Why the rows are not there, or not all of them.
    pub(crate) fn fault(&self) -> Option<&SourceFault> {
        self.fault.as_ref()
    }
}
