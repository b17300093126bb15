//! Reads a request of the EC2 Query protocol: an action and its parameters, from the form body or the query string.
//!
//! Lists are flat (`SubnetId.1`), structures dotted (`Filter.1.Value.2`). The signature is not verified; what it says
//! about the caller (access key id) and the region is kept.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::error::ApiError;
use super::seed::Tags;

/// The parameters of a request or of one element of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads `a=b&c=d`, percent-encoded, with `+` for a space.
    pub(crate) fn parse(encoded: &str) -> Self {
        let pairs = encoded.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(key, value)| (decode(key), decode(value)))
                .collect(),
        )
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a parameter that the action cannot do without.
    pub(crate) fn need(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| ApiError::missing(name))
    }

    /// A parameter as a number, an address or a block.
    pub(crate) fn typed<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        self.get(name).map(|value| read(name, value)).transpose()
    }

    /// Whether a flag is set.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The values of a list, in the order of their numbers.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        let mut values: Vec<(u32, &str)> =
            self.under(name).filter_map(|(rest, value)| rest.parse().ok().map(|number| (number, value))).collect();
        values.sort_unstable_by_key(|(number, _)| *number);
        values.into_iter().map(|(_, value)| value).collect()
    }

    /// The values of a list as addresses or blocks.
    pub(crate) fn typed_list<T: FromStr>(&self, name: &str) -> Result<Vec<T>, ApiError> {
        self.list(name).into_iter().map(|value| read(name, value)).collect()
    }

    /// The structures of a list, in the order of their numbers.
    pub(crate) fn structs(&self, name: &str) -> Vec<Self> {
        let mut found: BTreeMap<u32, Self> = BTreeMap::new();
        for (rest, value) in self.under(name) {
            if let Some((number, field)) = rest.split_once('.')
                && let Ok(number) = number.parse()
            {
                found.entry(number).or_default().0.insert(field.to_owned(), value.to_owned());
            }
        }
        found.into_values().collect()
    }

    /// The tags that a creating request asks for on resources of a type.
    pub(crate) fn tag_specification(&self, resource: &str) -> Tags {
        let specifications = self.structs("TagSpecification").into_iter();
        specifications.filter(|one| one.get("ResourceType") == Some(resource)).flat_map(|one| one.tag_list()).collect()
    }

    /// `Tag.N.Key` and `Tag.N.Value`.
    pub(crate) fn tag_list(&self) -> Tags {
        let text = |tag: &Self, name| tag.get(name).unwrap_or_default().to_owned();
        self.structs("Tag").iter().map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect()
    }

    /// A text that is equal for requests that ask for the same, whatever page they are at.
    pub(crate) fn fingerprint(&self) -> String {
        const PAGING: [&str; 3] = ["NextToken", "MaxResults", "ClientToken"];
        let told = self.0.iter().filter(|(key, _)| !PAGING.contains(&key.as_str()));
        told.flat_map(|(key, value)| [key.as_str(), "=", value.as_str(), "\n"]).collect()
    }

    /// Whether the request asks for something less than everything: by filter, page or id.
    pub(crate) fn narrowed(&self) -> bool {
        let narrow = |key: &String| key == "MaxResults" || key.starts_with("Filter.") || key.contains("Id.");
        self.0.keys().any(narrow)
    }

    /// All parameters.
    pub(crate) const fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    fn under(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let prefix = format!("{name}.");
        let from = self.0.range(prefix.clone()..);
        from.map_while(move |(key, value)| key.strip_prefix(prefix.as_str()).map(|rest| (rest, value.as_str())))
    }
}

fn read<T: FromStr>(name: &str, value: &str) -> Result<T, ApiError> {
    value.parse().map_err(|_| ApiError::value(format!("Value ({value}) for parameter {name} is invalid.")))
}

/// A request as far as the protocol goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The `Action`.
    pub(crate) action: String,
    /// Everything else.
    pub(crate) params: Params,
    /// Who signed it, if anybody did.
    pub(crate) access_key: Option<String>,
    /// The region it was signed for.
    pub(crate) region: Option<String>,
}

impl Request {
    /// Reads the query string, the form body and the Authorization header.
    pub(crate) fn parse(query: &str, body: &str, authorization: Option<&str>) -> Result<Self, ApiError> {
        let mut params = Params::parse(query);
        params.0.extend(Params::parse(body).0);
        let action = params.0.remove("Action").filter(|action| !action.is_empty());
        let action = action.ok_or_else(|| ApiError::client("MissingAction", "The request is missing an action"))?;
        // Signed either in the header or, when presigned, in the query.
        let presigned = params.get("X-Amz-Credential");
        let scope =
            authorization.and_then(|header| header.split_once("Credential=")).map(|(_, rest)| rest).or(presigned);
        let mut parts = scope.unwrap_or_default().split([',', ' ']).next().unwrap_or_default().split('/');
        let access_key = parts.next().filter(|key| !key.is_empty()).map(str::to_owned);
        let region = parts.nth(1).map(str::to_owned);
        Ok(Self { action, params, access_key, region })
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |i: usize| bytes.get(i).and_then(|byte| u8::try_from(char::from(*byte).to_digit(16)?).ok());
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_in_the_order_of_their_numbers() {
        let params = Params::parse("SubnetId.10=j&SubnetId.2=b&SubnetId.1=a&SubnetIdX.1=no");
        assert_eq!(params.list("SubnetId"), ["a", "b", "j"]);
        let params = Params::parse("Filter.2.Name=b&Filter.1.Name=a&Filter.1.Value.2=y&Filter.1.Value.1=x%2B+%41");
        let filters = params.structs("Filter");
        assert_eq!(filters.len(), 2);
        assert_eq!((filters[0].get("Name"), filters[0].list("Value")), (Some("a"), vec!["x+ A", "y"]));
    }

    #[test]
    fn reads_tags_of_the_resource_asked_for() {
        let params = Params::parse(
            "TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=no&TagSpecification.1.Tag.1.Value=x\
             &TagSpecification.2.ResourceType=network-interface&TagSpecification.2.Tag.1.Key=k&TagSpecification.2.Tag.1.Value=v",
        );
        assert_eq!(params.tag_specification("network-interface"), Tags::from([("k".to_owned(), "v".to_owned())]));
    }

    #[test]
    fn knows_who_signed_and_for_which_region() {
        let header = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-central-1/ec2/aws4_request, SignedHeaders=host, Signature=00";
        let request = Request::parse("", "Action=DescribeVpcs&Version=2016-11-15", Some(header)).unwrap();
        assert_eq!(request.action, "DescribeVpcs");
        assert_eq!(request.access_key.as_deref(), Some("AKIDEXAMPLE"));
        assert_eq!(request.region.as_deref(), Some("eu-central-1"));
        let unsigned = Request::parse("Action=DescribeVpcs", "", None).unwrap();
        assert_eq!((unsigned.access_key, unsigned.region), (None, None));
        assert_eq!(Request::parse("", "Version=1", None).unwrap_err().code, "MissingAction");
    }

    #[test]
    fn bad_numbers_are_refused_by_name() {
        let error = Params::parse("MaxResults=ten").typed::<u32>("MaxResults").unwrap_err();
        assert_eq!(error.code, "InvalidParameterValue");
        assert!(error.message.contains("MaxResults") && error.message.contains("ten"));
    }

    #[test]
    fn broken_escapes_are_kept_as_they_are() {
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%e2%82%ac"), "%zz€");
    }
}
