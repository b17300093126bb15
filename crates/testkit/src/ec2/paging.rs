//! Pages and tokens as EC2 documents them.
//!
//! A token says where the listing stands (after which id), which page comes next and what was asked, so that it stays
//! good while the account changes and is refused with another request.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Bound;

use super::error::ApiError;
use super::ids::digest;
use super::query::Request;

/// What an action says about its pages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRules {
    /// Least and greatest `MaxResults`.
    pub(crate) range: (u32, u32),
    /// Size of a page when the request names none; without one, everything is one page.
    pub(crate) default: Option<u32>,
    /// The parameter that lists ids, which excludes `MaxResults`.
    pub(crate) ids: Option<&'static str>,
}

/// Where a listing goes on and how much of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    limit: Option<usize>,
    after: Option<String>,
    question: u64,
    /// Which page this is, from 1.
    page: u32,
}

/// A page of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page<'a, T> {
    /// What is on it.
    pub(crate) items: Vec<&'a T>,
    /// The token of the next one.
    pub(crate) next: Option<String>,
}

impl Cursor {
    /// Reads `MaxResults` and `NextToken`.
    pub(crate) fn parse(request: &Request, rules: PageRules) -> Result<Self, ApiError> {
        let params = &request.params;
        let asked = params.typed::<u32>("MaxResults")?;
        let (least, most) = rules.range;
        if let Some(asked) = asked.filter(|asked| !(least..=most).contains(asked)) {
            return Err(ApiError::value(format!(
                "Value ( {asked} ) for parameter maxResults is invalid. Expecting a value between {least} and {most}."
            )));
        }
        if let Some(ids) = rules.ids.filter(|ids| asked.is_some() && !params.list(ids).is_empty()) {
            let message = format!("The parameter {ids} cannot be used with the parameter maxResults");
            return Err(ApiError::client("InvalidParameterCombination", message));
        }
        let question = digest(&question(request));
        let limit = asked.or(rules.default).map(|limit| limit as usize);
        match params.get("NextToken") {
            None => Ok(Self { limit, after: None, question, page: 1 }),
            Some("") => Err(ApiError::value("Value () for parameter NextToken is invalid. Token is empty.")),
            Some(token) => {
                let (page, after) = read_token(token, question).ok_or_else(|| bad_token(token))?;
                Ok(Self { limit, after: Some(after), question, page })
            }
        }
    }

    /// The page of a listing sorted by id, of what matches.
    pub(crate) fn page_of<'a, K, T>(&self, all: &'a BTreeMap<K, T>, matches: impl Fn(&T) -> bool) -> Page<'a, T>
    where
        K: Borrow<str> + Ord,
    {
        let from = self.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = all.range::<str, _>((from, Bound::Unbounded)).filter(|(_, one)| matches(one));
        let Some(limit) = self.limit else {
            return Page { items: rest.map(|(_, one)| one).collect(), next: None };
        };
        let found: Vec<_> = rest.by_ref().take(limit).collect();
        let next = rest.next().and_then(|_| found.last()).map(|(id, _)| self.token((*id).borrow()));
        Page { items: found.into_iter().map(|(_, one)| one).collect(), next }
    }

    /// The token that asks for this very page again, for replies that are empty though there is more.
    pub(crate) fn same_page(&self) -> String {
        self.token(self.after.as_deref().unwrap_or_default())
    }

    fn token(&self, after: &str) -> String {
        let clear = format!("{:016x}/{}/{after}", self.question, self.page + 1);
        let sealed = format!("{:016x}/{clear}", digest(&clear));
        sealed.bytes().fold(String::with_capacity(sealed.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    }
}

/// Which page a request asks for, from 1; a token that cannot be read counts as the first.
pub(crate) fn page_number(request: &Request) -> u32 {
    let question = digest(&question(request));
    let token = request.params.get("NextToken").and_then(|token| read_token(token, question));
    token.map_or(1, |(page, _)| page)
}

fn question(request: &Request) -> String {
    format!("{}\n{}", request.action, request.params.fingerprint())
}

fn read_token(token: &str, question: u64) -> Option<(u32, String)> {
    let pairs = token.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> =
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    let sealed = String::from_utf8(bytes?).ok()?;
    let (seal, clear) = sealed.split_once('/')?;
    let (asked, rest) = clear.split_once('/')?;
    let (page, after) = rest.split_once('/')?;
    let untouched = seal == format!("{:016x}", digest(clear)) && asked == format!("{question:016x}");
    if untouched { Some((page.parse().ok()?, after.to_owned())) } else { None }
}

fn bad_token(token: &str) -> ApiError {
    let shown: String = token.chars().take(40).collect();
    ApiError::client("InvalidNextToken", format!("The token '{shown}' is invalid for this request"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: PageRules = PageRules { range: (5, 1000), default: None, ids: Some("SubnetId") };

    fn request(body: &str) -> Request {
        Request::parse("", &format!("Action=DescribeSubnets&{body}"), None).unwrap()
    }

    fn numbers(count: u32) -> BTreeMap<String, u32> {
        (0..count).map(|n| (format!("id-{n:05}"), n)).collect()
    }

    fn pages(all: &BTreeMap<String, u32>, size: u32, keep: impl Fn(&u32) -> bool + Copy) -> Vec<Vec<u32>> {
        let mut pages = Vec::new();
        let mut body = format!("MaxResults={size}");
        loop {
            let cursor = Cursor::parse(&request(&body), RULES).unwrap();
            assert_eq!(page_number(&request(&body)) as usize, pages.len() + 1);
            let page = cursor.page_of(all, keep);
            pages.push(page.items.into_iter().copied().collect());
            match page.next {
                Some(token) => body = format!("MaxResults={size}&NextToken={token}"),
                None => return pages,
            }
        }
    }

    proptest! {
        #[test]
        fn pages_hold_everything_once_and_in_order(count in 0_u32..300, size in 5_u32..60, modulus in 1_u32..4) {
            let all = numbers(count);
            let pages = pages(&all, size, |n| n % modulus == 0);
            prop_assert!(pages.iter().rev().skip(1).all(|page| page.len() == size as usize));
            let want: Vec<u32> = (0..count).filter(|n| n % modulus == 0).collect();
            prop_assert_eq!(pages.concat(), want);
        }
    }

    #[test]
    fn without_max_results_everything_is_one_page() {
        let page = Cursor::parse(&request(""), RULES).unwrap();
        assert_eq!(page.page_of(&numbers(3000), |_| true).items.len(), 3000);
        let rules = PageRules { default: Some(100), ..RULES };
        let page = Cursor::parse(&request(""), rules).unwrap().page_of(&numbers(101), |_| true).next;
        assert!(page.is_some());
    }

    #[test]
    fn refuses_what_ec2_refuses() {
        let code = |body: &str| Cursor::parse(&request(body), RULES).unwrap_err().code.into_owned();
        assert_eq!(code("MaxResults=4"), "InvalidParameterValue");
        assert_eq!(code("MaxResults=1001"), "InvalidParameterValue");
        assert_eq!(code("NextToken="), "InvalidParameterValue");
        assert_eq!(code("NextToken=nonsense"), "InvalidNextToken");
        assert_eq!(code("MaxResults=5&SubnetId.1=subnet-1"), "InvalidParameterCombination");
    }

    #[test]
    fn a_token_belongs_to_its_question() {
        let all = numbers(20);
        let cursor =
            Cursor::parse(&request("MaxResults=5&Filter.1.Name=state&Filter.1.Value.1=available"), RULES).unwrap();
        let token = cursor.page_of(&all, |_| true).next.unwrap();
        let other = request(&format!("MaxResults=5&NextToken={token}"));
        assert_eq!(Cursor::parse(&other, RULES).unwrap_err().code, "InvalidNextToken");
        let larger = request(&format!("MaxResults=7&Filter.1.Name=state&Filter.1.Value.1=available&NextToken={token}"));
        assert_eq!(Cursor::parse(&larger, RULES).unwrap().page_of(&all, |_| true).items.len(), 7);
    }

    #[test]
    fn a_token_outlives_the_item_it_names() {
        let mut all = numbers(20);
        let cursor = Cursor::parse(&request("MaxResults=5"), RULES).unwrap();
        let token = cursor.page_of(&all, |_| true).next.unwrap();
        all.remove("id-00004");
        all.insert("id-00000a".to_owned(), 99);
        let next = Cursor::parse(&request(&format!("MaxResults=5&NextToken={token}")), RULES).unwrap();
        assert_eq!(next.page_of(&all, |_| true).items, [&5, &6, &7, &8, &9]);
    }
}
