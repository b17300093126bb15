//! Measures the EC2 simulator with 50,000 interfaces of 15 addresses: loading, listing all pages, memory.
//!
//! `cargo run --release -p ipam-audit-testkit --example ec2-scale`

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::Context as _;
use ipam_audit_testkit::ec2::seed::{Assigned, Attachment, Ec2Seed, Instance, Interface, Subnet, Vpc};
use ipam_audit_testkit::ec2::{Simulator, World};

const NODES: u32 = 25_000;
const NODES_PER_SUBNET: u32 = 2_000;
const PAGE: u32 = 1_000;

fn main() -> anyhow::Result<()> {
    let seed = account()?;
    let mut out = std::io::stdout();
    let start = Instant::now();
    let world = World::load(seed)?;
    writeln!(out, "loaded {} interfaces of 15 addresses in {:.2?}", NODES * 2, start.elapsed())?;
    let simulator = Simulator::start(world)?;
    writeln!(out, "memory after loading: {} kB", memory("VmRSS")?)?;
    let start = Instant::now();
    let (mut pages, mut bytes, mut interfaces) = (0_u32, 0, 0);
    let mut token = None;
    loop {
        let reply = page(&simulator, token.as_deref())?;
        pages += 1;
        bytes += reply.len();
        interfaces += reply.matches("<networkInterfaceId>").count();
        token = reply
            .split_once("<nextToken>")
            .and_then(|(_, rest)| rest.split_once('<'))
            .map(|(token, _)| token.to_owned());
        if token.is_none() {
            break;
        }
    }
    writeln!(
        out,
        "listed {interfaces} interfaces in {pages} pages, {} MB, in {:.2?}",
        bytes / 1_000_000,
        start.elapsed()
    )?;
    writeln!(out, "highest memory, client and seed included: {} kB", memory("VmHWM")?)?;
    Ok(())
}

/// Two-interface nodes in /16 subnets.
fn account() -> anyhow::Result<Ec2Seed> {
    let mut seed = Ec2Seed::default();
    for node in 0..NODES {
        let number = node / NODES_PER_SUBNET;
        let (vpc, subnet, instance) = (format!("vpc-{number}"), format!("subnet-{number}"), format!("i-{node:017x}"));
        if node % NODES_PER_SUBNET == 0 {
            let cidr = format!("10.{number}.0.0/16").parse()?;
            seed.vpcs.push(Vpc { id: Some(vpc.clone()), cidr, associations: Vec::new(), tags: [].into() });
            seed.subnets.push(Subnet {
                id: Some(subnet.clone()),
                vpc: Some(vpc),
                cidr,
                zone: "eu-central-1a".to_owned(),
                zone_id: None,
                tags: [].into(),
                state: "available".to_owned(),
                owner: None,
            });
        }
        for index in 0..2 {
            let mut interface = Interface::new(subnet.as_str());
            interface.description = format!("aws-K8S-{instance}");
            interface.secondary = Assigned::Count(14);
            interface.attachment = Some(Attachment::new(instance.as_str(), index));
            interface.tags.insert("node.k8s.amazonaws.com/instance_id".to_owned(), instance.clone());
            seed.interfaces.push(interface);
        }
        seed.instances.push(Instance {
            id: Some(instance),
            instance_type: "m6i.xlarge".to_owned(),
            subnet,
            zone: None,
            state: "running".to_owned(),
            tags: [].into(),
        });
    }
    Ok(seed)
}

fn page(simulator: &Simulator, token: Option<&str>) -> anyhow::Result<String> {
    let token = token.map(|token| format!("&NextToken={token}")).unwrap_or_default();
    let body = format!("Action=DescribeNetworkInterfaces&Version=2016-11-15&MaxResults={PAGE}{token}");
    let mut stream = TcpStream::connect(simulator.endpoint().trim_start_matches("http://"))?;
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: ec2\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

/// A figure of this process, in kB.
fn memory(field: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("memory can only be measured on Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).with_context(|| format!("no {field}"))
}
