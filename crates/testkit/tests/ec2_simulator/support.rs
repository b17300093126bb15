//! A small account, and a client that speaks the protocol by hand so that nothing is read through the AWS SDK's eyes.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ipam_audit_testkit::ec2::{Ec2Seed, Simulator, World};

/// What the server sent, as far as it sent it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// The texts of all elements of a name, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let parts = self.body.split(open.as_str()).skip(1);
        parts.filter_map(|part| part.split_once(close.as_str())).map(|(text, _)| text).collect()
    }

    /// The text of the first element of a name.
    pub(crate) fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        all.first().copied().unwrap_or_else(|| panic!("no {name} in {}", self.body))
    }

    /// The error code, which there must be.
    pub(crate) fn code(&self) -> &str {
        assert!(self.status >= 400, "{}", self.body);
        self.one("Code")
    }

    /// This reply, which must be no error.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.body);
        self
    }
}

/// Sends a request and reads until the server closes.
pub(crate) fn http(simulator: &Simulator, line: &str, headers: &str, body: &str) -> Reply {
    let endpoint = simulator.endpoint();
    let mut stream = TcpStream::connect(endpoint.trim_start_matches("http://")).unwrap();
    let length = body.len();
    let request =
        format!("{line} HTTP/1.1\r\nhost: ec2\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // A reply that is cut off may end in a reset; what came before it counts.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.as_str(), ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}

/// Calls an action without a signature.
pub(crate) fn call(simulator: &Simulator, parameters: &str) -> Reply {
    http(simulator, "POST /", "", &format!("Version=2016-11-15&Action={parameters}"))
}

/// Calls an action as a caller in a region.
pub(crate) fn call_as(simulator: &Simulator, key: &str, region: &str, parameters: &str) -> Reply {
    let header = format!(
        "authorization: AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/ec2/aws4_request, SignedHeaders=host, Signature=0\r\n"
    );
    http(simulator, "POST /", &header, &format!("Version=2016-11-15&Action={parameters}"))
}

/// Follows the tokens of a listing; gives the pages.
pub(crate) fn pages(simulator: &Simulator, parameters: &str) -> Vec<Reply> {
    let mut pages = vec![call(simulator, parameters).ok()];
    while let Some(token) = pages.last().unwrap().all("nextToken").first().map(|token| (*token).to_owned()) {
        pages.push(call(simulator, &format!("{parameters}&NextToken={token}")).ok());
    }
    pages
}

/// What `DescribeSubnets` says is available, by subnet.
pub(crate) fn available(simulator: &Simulator) -> BTreeMap<String, u32> {
    let reply = call(simulator, "DescribeSubnets").ok();
    let counts = reply.all("availableIpAddressCount");
    let ids = reply.all("subnetId");
    ids.into_iter().map(str::to_owned).zip(counts.into_iter().map(|count| count.parse().unwrap())).collect()
}

/// Reads a seed.
pub(crate) fn parse(yaml: &str) -> Ec2Seed {
    serde_saphyr::from_str(yaml).unwrap()
}

/// Starts with the account of a seed.
pub(crate) fn start(yaml: &str) -> Simulator {
    Simulator::start(World::load(parse(yaml)).unwrap()).unwrap()
}

/// A VPC with two zones, a node in the first, a trunk with a branch, and interfaces of others.
pub(crate) const SMALL: &str = "
region: eu-central-1
vpcs:
  - id: vpc-1
    cidr: 10.0.0.0/16
    associations: [{cidr: 100.64.0.0/16}, {cidr: 100.65.0.0/16, state: disassociated}]
    tags: {Name: pods & more}
subnets:
  - {id: subnet-a, cidr: 10.0.0.0/24, zone: eu-central-1a, tags: {kubernetes.io/role/elb: '1'}}
  - {id: subnet-b, cidr: 10.0.1.0/24, zone: eu-central-1b, zoneId: euc1-az3}
  - {id: subnet-c, cidr: 100.64.0.0/26, zone: eu-central-1a}
instances:
  - {id: i-1, type: m5.large, subnet: subnet-a, tags: {eks:cluster-name: demo}}
interfaces:
  - {id: eni-1, subnet: subnet-a, primary: 10.0.0.10, secondary: 9, groups: [sg-1], attachment: {instance: i-1}}
  - id: eni-2
    subnet: subnet-a
    kind: trunk
    description: aws-k8s-trunk-eni
    attachment: {instance: i-1, deviceIndex: 1, attachTime: 2026-03-04T05:06:07Z}
  - id: eni-3
    subnet: subnet-a
    kind: branch
    description: aws-k8s-branch-eni
    trunk: {trunk: eni-2, vlan: 7}
    tags: {vpcresources.k8s.aws/vlan-id: '7'}
  - {id: eni-4, subnet: subnet-a, description: aws-K8S-i-0gone, tags: {node.k8s.amazonaws.com/instance_id: i-0gone}}
  - id: eni-5
    subnet: subnet-b
    kind: nat_gateway
    requesterManaged: true
    requesterId: amazon-aws
    description: Interface for NAT Gateway nat-1
    attachment: {instanceOwner: amazon-aws}
  - {id: eni-6, subnet: subnet-b, operator: {principal: eks.amazonaws.com, hidden: true}}
";
