//! Rounds against real sockets and an API server in memory.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use ipam_audit_api::views::{AwsNodePodView, NodeView};
use ipam_audit_core::source::FaultCategory;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    state::{AwsNodePods, Part, Place, Rows as _},
    tests::{Answer, Asked, Log, client, refused},
};

const NUMBERS: &str = "awscni_total_ip_addresses 6\nawscni_assigned_ip_addresses 3\n";

fn http(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// What a fake node does with a connection.
#[derive(Clone)]
enum Node {
    Says(Vec<u8>),
    /// Takes the question and never answers.
    Hangs,
    /// Sends numbers without end.
    Floods,
}

/// Listens on an address of its own for each node, all on one port; the port.
async fn listen(nodes: Vec<Node>) -> u16 {
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let mut listeners = vec![first];
    for at in 1..nodes.len() {
        listeners.push(TcpListener::bind(format!("127.0.0.{}:{port}", at + 1)).await.unwrap());
    }
    for (listener, node) in listeners.into_iter().zip(nodes) {
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let node = node.clone();
                tokio::spawn(async move {
                    let mut question = [0; 1024];
                    let _ = stream.read(&mut question).await;
                    match node {
                        Node::Says(answer) => drop(stream.write_all(&answer).await),
                        Node::Hangs => std::future::pending().await,
                        Node::Floods => {
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
                        }
                    }
                });
            }
        });
    }
    port
}

fn asker(client: Client) -> Asker {
    Asker {
        client,
        scrapes: Arc::new(Scrapes::new()),
        state: Arc::new(State::new(Duration::ZERO)),
        leadership: Leadership::always(),
        settings: Settings::default(),
    }
}

/// A node with an address and, if it is said so, an aws-node pod.
fn add_node(asker: &Asker, number: usize, with_pod: bool) {
    let name = format!("node-{number}");
    let node: NodeView = serde_json::from_value(json!({
        "metadata": {"name": name, "uid": name, "labels": {"pool": if number == 1 { "a" } else { "b" }}},
        "spec": {"providerID": format!("aws:///eu-central-1a/i-{number}")},
        "status": {"addresses": [{"type": "InternalIP", "address": format!("127.0.0.{number}")}]},
    }))
    .unwrap();
    asker.state.change(|parts, interner| parts.nodes.rows.apply(&node, interner).unwrap());
    if with_pod {
        let place = Place { namespace: "kube-system".into(), name: "aws-node".into() };
        let pod: AwsNodePodView = serde_json::from_value(json!({
            "metadata": {"name": format!("aws-node-{number}"), "uid": format!("pod-{number}")},
            "spec": {"nodeName": name, "containers": [{"name": "aws-node", "image": "amazon-k8s-cni:v1.20.4"}]},
        }))
        .unwrap();
        asker.state.change(|parts, interner| {
            let part = parts.cni.pods.entry(place);
            let part = part.or_insert_with(|| Part::<AwsNodePods>::new("aws-node pods", Duration::ZERO));
            part.rows.apply(&pod, interner).unwrap()
        });
    }
}

fn terms(concurrency: usize) -> Terms {
    let timeout = Duration::from_secs(3);
    Terms { interval: Duration::from_mins(1), timeout, concurrency, nodes: vec![Selector::default()] }
}

/// One round; a word for each node in the order of their names, with the kind and the words of its fault.
async fn round(asker: &Asker, way: Way, terms: &Terms) -> Vec<String> {
    let (targets, mut answers) = round::ask_all(asker, way, terms).await;
    assert_eq!(targets.len(), answers.len(), "every node was asked");
    answers.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let word = |answer: &rows::Answer| match answer {
        Ok(said) => format!("{:?}/{:?}", said.pool.assigned.unwrap(), said.pool.total.unwrap()),
        Err(fault) => format!("{}: {}", fault.category.name(), fault.message),
    };
    answers.iter().map(|(.., answer)| word(answer)).collect()
}

fn nobody() -> (Client, Log) {
    client(|asked| panic!("the API server was asked for {}", asked.path))
}

#[tokio::test]
async fn every_way_to_answer_or_not_has_its_sentence() {
    let port = listen(vec![
        Node::Says(http(NUMBERS)),
        Node::Hangs,
        Node::Floods,
        Node::Says(http("awscni_total_ip_addresses { 6\n")),
        Node::Says(http("up 1\n")),
        Node::Says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Node::Says(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Node::Says(Vec::new()),
        Node::Says(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nawscni_total_ip_addresses 6\n".to_vec()),
    ])
    .await;
    let asker = asker(nobody().0);
    (1..=10).for_each(|number| add_node(&asker, number, false));
    let way = Way { through_api_server: false, port };
    let at = |number: u8, what: &str| format!("127.0.0.{number}:{port} {what}");
    let expected = [
        "3/6".to_owned(),
        format!("Unreachable: {}", at(10, "refuses the connection: nobody listens there")),
        format!("Unreachable: {}", at(2, "gives no answer within 3 seconds")),
        format!("Malformed: {}", at(3, "answers with more than 1 MiB: this is not ipamd")),
        format!("Malformed: {}", at(4, "answers what is not the format of metrics")),
        format!("Malformed: {}", at(5, "answers without ipamd's numbers: something else listens there")),
        format!("Malformed: {}", at(6, "answers HTTP 404 to /metrics")),
        format!("ServerFault: {}", at(7, "answers HTTP 500 to /metrics")),
        format!("Unreachable: {}", at(8, "ends the connection without an answer")),
        format!("Unreachable: {}", at(9, "ends the connection without an answer")),
    ];
    assert_eq!(round(&asker, way, &terms(16)).await, expected);
}

#[tokio::test]
async fn through_the_api_server_the_pod_is_asked_and_its_words_are_told_from_the_servers() {
    let (client, log) = client(|asked: &Asked| match asked.path.rsplit('/').nth(2).unwrap() {
        "aws-node-1:61678" => Answer::Now(200, NUMBERS.into()),
        "aws-node-2:61678" => refused(404, "NotFound"),
        "aws-node-3:61678" => Answer::Now(404, b"404 page not found".to_vec()),
        "aws-node-4:61678" => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 503, "reason": "ServiceUnavailable",
                "message": "error trying to reach service: dial tcp 10.0.0.9:61678: connect: connection refused"});
            Answer::Now(503, status.to_string().into_bytes())
        }
        "aws-node-5:61678" => Answer::Never,
        _ => refused(500, "InternalError"),
    });
    let asker = asker(client);
    (1..=6).for_each(|number| add_node(&asker, number, true));
    add_node(&asker, 7, false);
    let way = Way { through_api_server: true, port: 61678 };
    let expected = [
        "3/6",
        "NotFound: the pod kube-system/aws-node-2 is gone",
        "Malformed: port 61678 of kube-system/aws-node-3 answers HTTP 404 to /metrics",
        "Unreachable: port 61678 of kube-system/aws-node-4 refuses the API server's connection: nobody listens there",
        "Unreachable: port 61678 of kube-system/aws-node-5 gives no answer within 3 seconds",
        "Unreachable: port 61678 of kube-system/aws-node-6 cannot be reached by the API server",
        "NotFound: there is no aws-node pod on the node to ask through",
    ];
    assert_eq!(round(&asker, way, &terms(16)).await, expected);
    let mut paths: Vec<String> = log.lock().unwrap().iter().map(|asked| asked.path.clone()).collect();
    paths.sort_unstable();
    assert_eq!(paths[0], "/api/v1/namespaces/kube-system/pods/aws-node-1:61678/proxy/metrics");
    assert_eq!(paths.len(), 6, "nobody was asked twice: {paths:?}");
}

#[tokio::test]
async fn a_missing_right_is_asked_for_once_and_named() {
    let (client, log) = client(|_| refused(403, "Forbidden"));
    let asker = asker(client);
    (1..=9).for_each(|number| add_node(&asker, number, true));
    let way = Way { through_api_server: true, port: 61678 };
    let said = round(&asker, way, &terms(1)).await;
    assert_eq!(log.lock().unwrap().len(), 1, "what is denied for one is denied for all");
    let expected = "Denied: the operator's ServiceAccount may not get pods/proxy in namespace kube-system; apply the right \
                    that `ipam-audit rbac --with pod-proxy` prints";
    assert!(said.iter().all(|word| word == expected), "{said:?}");
}

#[tokio::test]
async fn no_more_than_so_many_are_asked_at_the_same_time_and_only_those_that_are_wanted() {
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (running, peak) = (under_way.clone(), most.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (running, peak) = (running.clone(), peak.clone());
            peak.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::spawn(async move {
                let mut question = [0; 1024];
                let _ = stream.read(&mut question).await;
                tokio::task::yield_now().await;
                running.fetch_sub(1, SeqCst);
                let _ = stream.write_all(&http(NUMBERS)).await;
            });
        }
    });
    let asker = asker(nobody().0);
    for number in 1..=20 {
        let node: NodeView = serde_json::from_value(json!({
            "metadata": {"name": format!("node-{number}"), "uid": format!("{number}"),
                "labels": {"pool": if number <= 12 { "a" } else { "b" }}},
            "spec": {"providerID": format!("aws:///eu-central-1a/i-{number}")},
            "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]},
        }))
        .unwrap();
        asker.state.change(|parts, interner| parts.nodes.rows.apply(&node, interner).unwrap());
    }
    let pool = Selector::from_iter([kube::core::Expression::Equal("pool".to_owned(), "a".to_owned())]);
    let few = Terms { nodes: vec![pool], timeout: Duration::from_secs(20), ..terms(3) };
    let said = round(&asker, Way { through_api_server: false, port }, &few).await;
    assert_eq!(said, vec!["3/6"; 12]);
    assert!((1..=3).contains(&most.load(SeqCst)), "{most:?}");
}

#[test]
fn audits_that_ask_in_the_same_way_share_one_task_on_the_terms_of_all() {
    let scrapes = Scrapes::new();
    let settings = |seconds: u64, concurrency| IpamdSettings {
        through_api_server: true,
        port: 61678,
        interval: Duration::from_secs(seconds),
        timeout: Duration::from_secs(seconds / 10),
        concurrency,
    };
    let way = Way::from(&settings(60, 16));
    scrapes.want("a", Some(&settings(60, 16)), &Selector::default());
    scrapes.want("b", Some(&settings(30, 32)), &Selector::default());
    let terms = scrapes.terms();
    assert_eq!(terms.len(), 1);
    assert_eq!((terms[&way].interval.as_secs(), terms[&way].timeout.as_secs(), terms[&way].concurrency), (30, 6, 32));
    scrapes.want("b", None, &Selector::default());
    assert_eq!(scrapes.terms()[&way].concurrency, 16);
    scrapes.retain(&BTreeSet::new());
    assert!(scrapes.terms().is_empty());
    let off = scrapes.reading(None);
    assert_eq!(off.fault.map(|fault| fault.category), Some(FaultCategory::NotCollected));
    assert!(scrapes.was_asked(None) && !scrapes.was_asked(Some(way)));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_until_an_audit_wants_it_and_nobody_once_none_does() {
    let (client, log) = client(|_| Answer::Now(200, NUMBERS.into()));
    let asker = Arc::new(asker(client));
    add_node(&asker, 1, true);
    let running = tokio::spawn(run(asker.clone()));
    let requests = || log.lock().unwrap().len();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(requests(), 0);
    let settings = IpamdSettings {
        through_api_server: true,
        port: 61678,
        interval: Duration::from_mins(1),
        timeout: Duration::from_secs(5),
        concurrency: 16,
    };
    asker.scrapes.want("cluster", Some(&settings), &Selector::default());
    tokio::time::sleep(Duration::from_mins(10)).await;
    let rounds = requests();
    assert!((8..=14).contains(&rounds), "{rounds} rounds in ten minutes");
    let before = asker.state.generation();
    tokio::time::sleep(Duration::from_mins(3)).await;
    assert!(requests() > rounds, "it goes on");
    assert_eq!(asker.state.generation(), before, "and the same again is no change");
    asker.scrapes.want("cluster", None, &Selector::default());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let rounds = requests();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(requests(), rounds);
    assert!(!running.is_finished());
}
