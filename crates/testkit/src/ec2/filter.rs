//! `Filter.N.Name` and `Filter.N.Value.M`: filters are joined by *and*, their values by *or*, `*` and `?` are wildcards.

use std::borrow::Cow;

use super::error::ApiError;
use super::query::Params;
use super::seed::Tags;

/// Values that one filter may have.
const MOST_VALUES: usize = 200;

/// Something that can be filtered.
pub(crate) trait Filterable {
    /// The filters that EC2 documents for it, besides `tag:…` and `tag-key`.
    const FILTERS: &'static [&'static str];

    /// The values that it has under a filter's name; none when it lacks the thing.
    fn values(&self, filter: &str) -> Vec<Cow<'_, str>>;

    /// Its tags.
    fn tags(&self) -> Option<&Tags>;
}

/// The filters of a request.
#[derive(Debug, Default)]
pub(crate) struct Filters(Vec<Filter>);

#[derive(Debug)]
struct Filter {
    name: String,
    patterns: Vec<Pattern>,
}

impl Filters {
    /// Reads the filters, refusing names that are not documented for the thing.
    pub(crate) fn parse<T: Filterable>(params: &Params) -> Result<Self, ApiError> {
        let filters = params.structs("Filter").into_iter().map(|filter| {
            let name = filter.need("Name")?.to_owned();
            let known = T::FILTERS.contains(&name.as_str()) || name.starts_with("tag:") || name == "tag-key";
            if !known {
                return Err(ApiError::value(format!("The filter '{name}' is invalid")));
            }
            let values = filter.list("Value");
            if values.len() > MOST_VALUES {
                let message =
                    format!("The maximum number of filter values specified on a single call is {MOST_VALUES}");
                return Err(ApiError::client("FilterLimitExceeded", message));
            }
            Ok(Filter { name, patterns: values.into_iter().map(Pattern::new).collect() })
        });
        filters.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a thing passes.
    pub(crate) fn match_all<T: Filterable>(&self, one: &T) -> bool {
        self.0.iter().all(|filter| filter.matches(one))
    }
}

impl Filter {
    fn matches<T: Filterable>(&self, one: &T) -> bool {
        let any = |value: &str| self.patterns.iter().any(|pattern| pattern.matches(value));
        if let Some(key) = self.name.strip_prefix("tag:") {
            return one.tags().and_then(|tags| tags.get(key)).is_some_and(|value| any(value));
        }
        if self.name == "tag-key" {
            return one.tags().is_some_and(|tags| tags.keys().any(|key| any(key)));
        }
        one.values(&self.name).iter().any(|value| any(value))
    }
}

/// A value with wildcards; a backslash takes the meaning from the next character.
#[derive(Debug)]
enum Pattern {
    Exact(String),
    Wild(Vec<Piece>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Many,
    One,
    Just(char),
}

impl Pattern {
    fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '*' => Piece::Many,
                '?' => Piece::One,
                '\\' => Piece::Just(chars.next().unwrap_or('\\')),
                _ => Piece::Just(c),
            });
        }
        let exact: Option<String> =
            pieces.iter().map(|piece| if let Piece::Just(c) = piece { Some(*c) } else { None }).collect();
        exact.map_or(Self::Wild(pieces), Self::Exact)
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => text == value,
            Self::Wild(pieces) => {
                let value: Vec<char> = value.chars().collect();
                wild(pieces, &value)
            }
        }
    }
}

/// Matches with one step back to the latest `*`, which is enough because an earlier one need never take more.
fn wild(pieces: &[Piece], value: &[char]) -> bool {
    let (mut p, mut v) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while v < value.len() {
        match pieces.get(p) {
            Some(Piece::Many) => {
                back = Some((p + 1, v));
                p += 1;
            }
            Some(Piece::One) => (p, v) = (p + 1, v + 1),
            Some(Piece::Just(c)) if *c == value[v] => (p, v) = (p + 1, v + 1),
            _ => match back {
                Some((after, from)) => {
                    back = Some((after, from + 1));
                    (p, v) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pieces[p..].iter().all(|piece| *piece == Piece::Many)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(Tags);

    impl Filterable for Thing {
        const FILTERS: &'static [&'static str] = &["colour", "absent"];

        fn values(&self, filter: &str) -> Vec<Cow<'_, str>> {
            if filter == "colour" { vec!["red".into(), "green".into()] } else { Vec::new() }
        }

        fn tags(&self) -> Option<&Tags> {
            Some(&self.0)
        }
    }

    fn passes(body: &str) -> bool {
        let thing = Thing(Tags::from([("env".to_owned(), "prod-1".to_owned())]));
        Filters::parse::<Thing>(&Params::parse(body)).unwrap().match_all(&thing)
    }

    #[test]
    fn filters_are_joined_by_and_and_values_by_or() {
        assert!(passes("Filter.1.Name=colour&Filter.1.Value.1=blue&Filter.1.Value.2=green"));
        assert!(!passes("Filter.1.Name=colour&Filter.1.Value.1=red&Filter.2.Name=absent&Filter.2.Value.1=*"));
        assert!(passes("Filter.1.Name=tag:env&Filter.1.Value.1=prod-?&Filter.2.Name=tag-key&Filter.2.Value.1=e*v"));
        assert!(!passes("Filter.1.Name=tag:other&Filter.1.Value.1=*"));
    }

    #[test]
    fn wildcards() {
        for (pattern, value, want) in [
            ("aws-K8S-*", "aws-K8S-i-1", true),
            ("aws-K8S-*", "aws-k8s-branch-eni", false),
            ("*", "", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b", "a1b2", false),
            ("?", "", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(value), want, "{pattern} {value}");
        }
    }

    #[test]
    fn refuses_unknown_names_and_too_many_values() {
        let code = |body: &str| Filters::parse::<Thing>(&Params::parse(body)).unwrap_err().code.into_owned();
        assert_eq!(code("Filter.1.Name=nonsense&Filter.1.Value.1=x"), "InvalidParameterValue");
        let many = (1..=201).map(|n| format!("&Filter.1.Value.{n}=x")).collect::<Vec<_>>().concat();
        assert_eq!(code(&format!("Filter.1.Name=colour{many}")), "FilterLimitExceeded");
    }
}
