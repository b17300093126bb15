//! Listings by page. The token decides whether there is more, never the size of a page: EC2 answers empty pages with a
//! token and full ones without. Each page of the SDK's is turned into rows and dropped before the next is asked for.

use std::future::Future;

use ipam_audit_core::source::{FaultCategory, SourceFault};

use crate::{action::Action, convert::Malformed, failure::Failure};

/// Far more pages than any VPC has: 500,000 interfaces.
const MAX_PAGES: usize = 500;
/// How often a listing is begun anew when EC2 forgets its token.
const MAX_RESTARTS: usize = 2;

/// One page as it came.
pub(crate) struct Page<I> {
    pub(crate) items: Vec<I>,
    pub(crate) next: Option<String>,
}

impl<I> Page<I> {
    pub(crate) fn new(items: Option<Vec<I>>, next: Option<String>) -> Self {
        Self {
            items: items.unwrap_or_default(),
            // An empty token is none: asking with it is an error or starts over.
            next: next.filter(|token| !token.is_empty()),
        }
    }
}

/// The rows of a complete listing, and what in it could not be read.
#[derive(Debug)]
pub(crate) struct Listing<T> {
    pub(crate) rows: Vec<T>,
    left_out: usize,
    first_left_out: Option<Malformed>,
}

impl<T> Listing<T> {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), left_out: 0, first_left_out: None }
    }

    pub(crate) fn add(&mut self, row: Result<T, Malformed>) {
        match row {
            Ok(row) => self.rows.push(row),
            Err(malformed) => {
                self.left_out += 1;
                self.first_left_out.get_or_insert(malformed);
            }
        }
    }

    pub(crate) const fn is_complete(&self) -> bool {
        self.left_out == 0
    }

    /// Says that the rows are not all there is, if so: what cannot be read is left out, never guessed.
    pub(crate) fn fault(&self, action: Action) -> Option<SourceFault> {
        let first = self.first_left_out.as_ref()?;
        let all = self.rows.len() + self.left_out;
        Some(SourceFault {
            category: FaultCategory::Malformed,
            message: format!(
                "{} of {all} items that {} answered are left out, the first because {first}: \
                 please report it if the endpoint is EC2's",
                self.left_out,
                action.name()
            ),
        })
    }
}

/// Reads all pages, from the start again if EC2 forgets the token on the way.
pub(crate) async fn list<I, T, Fut>(
    fetch: impl Fn(Option<String>) -> Fut + Send,
    mut convert: impl FnMut(I) -> Result<T, Malformed> + Send,
) -> Result<Listing<T>, Failure>
where
    I: Send,
    T: Send,
    Fut: Future<Output = Result<Page<I>, Failure>> + Send,
{
    let mut restarts = 0;
    loop {
        match list_once(&fetch, &mut convert).await {
            Err(failure) if failure.is_expired_token() && restarts < MAX_RESTARTS => restarts += 1,
            outcome => return outcome,
        }
    }
}

async fn list_once<I, T, Fut>(
    fetch: &(impl Fn(Option<String>) -> Fut + Send),
    convert: &mut (impl FnMut(I) -> Result<T, Malformed> + Send),
) -> Result<Listing<T>, Failure>
where
    I: Send,
    T: Send,
    Fut: Future<Output = Result<Page<I>, Failure>> + Send,
{
    let mut listing = Listing::new();
    let mut token: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let page = fetch(token.clone()).await?;
        for item in page.items {
            listing.add(convert(item));
        }
        if page.next.is_none() {
            return Ok(listing);
        }
        if page.next == token {
            return Err(Failure::malformed("a page names itself as the next one"));
        }
        token = page.next;
    }
    Err(Failure::malformed(format!("no end after {MAX_PAGES} pages")))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Mutex;

    use super::*;

    type Answer = Result<(Vec<u32>, Option<&'static str>), &'static str>;

    fn run(answers: Vec<Answer>) -> (Result<Vec<u32>, String>, Vec<Option<String>>) {
        let answers = Mutex::new(answers.into_iter());
        let asked = Mutex::new(Vec::new());
        let fetch = |token: Option<String>| {
            asked.lock().unwrap().push(token);
            let answer = answers.lock().unwrap().next().unwrap();
            async move {
                match answer {
                    Ok((items, next)) => Ok(Page::new(Some(items), next.map(str::to_owned))),
                    Err(code) => Err(Failure {
                        category: FaultCategory::Malformed,
                        code: Some(code.to_owned()),
                        cause: code.to_owned(),
                        lack: None,
                    }),
                }
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let listing = runtime.block_on(list(fetch, Ok));
        let rows = listing.map(|listing| listing.rows).map_err(|failure| failure.cause);
        (rows, asked.into_inner().unwrap())
    }

    #[test]
    fn empty_pages_with_a_token_are_not_the_end() {
        let (rows, asked) = run(vec![Ok((vec![], Some("a"))), Ok((vec![1, 2], Some("b"))), Ok((vec![], Some("")))]);
        assert_eq!(rows, Ok(vec![1, 2]));
        assert_eq!(asked, [None, Some("a".to_owned()), Some("b".to_owned())]);
    }

    #[test]
    fn an_expired_token_restarts_and_counts_nothing_twice() {
        let (rows, asked) =
            run(vec![Ok((vec![1], Some("a"))), Err("InvalidNextToken"), Ok((vec![1], Some("b"))), Ok((vec![2], None))]);
        assert_eq!(rows, Ok(vec![1, 2]));
        assert_eq!(asked.len(), 4);
    }

    #[test]
    fn restarts_are_bounded_and_other_failures_do_not_restart() {
        let (rows, asked) = run(vec![Err("InvalidPaginationToken"); 4]);
        assert_eq!((rows, asked.len()), (Err("InvalidPaginationToken".to_owned()), 3));
        let (rows, asked) = run(vec![Ok((vec![1], Some("a"))), Err("InternalError")]);
        assert_eq!((rows, asked.len()), (Err("InternalError".to_owned()), 2));
    }

    #[test]
    fn a_listing_without_end_is_malformed() {
        let (rows, _) = run(vec![Ok((vec![1], Some("a"))), Ok((vec![1], Some("a")))]);
        assert_eq!(rows, Err("a page names itself as the next one".to_owned()));
        let turn = Cell::new(0);
        let endless = (0..MAX_PAGES).map(|_| {
            turn.set(turn.get() + 1);
            Ok((vec![], Some(if turn.get() % 2 == 0 { "even" } else { "odd" })))
        });
        assert_eq!(run(endless.collect()).0, Err("no end after 500 pages".to_owned()));
    }

    #[test]
    fn what_is_left_out_is_named() {
        let mut listing = Listing::new();
        listing.add(Ok(1));
        assert_eq!(listing.fault(Action::DescribeSubnets), None);
        listing.add(Err(Malformed::new("subnet-1", "availableIpAddressCount")));
        listing.add(Err(Malformed::new("subnet-2", "vpcId")));
        let fault = listing.fault(Action::DescribeSubnets).unwrap();
        assert_eq!(fault.category, FaultCategory::Malformed);
        assert!(
            fault.message.starts_with("2 of 3 items that DescribeSubnets answered are left out")
                && fault.message.contains("subnet-1 has no readable availableIpAddressCount"),
            "{}",
            fault.message
        );
    }
}
