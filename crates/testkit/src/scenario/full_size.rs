//! Nodes and pods with everything that kubelet, the scheduler and controllers write into them: 13 and 7 kB of JSON.
//!
//! A scenario states what an audit looks at; a cluster also sends the rest, which a reader has to get past. Who wrote
//! what is recorded as the API server records it (`managedFields`), from the object itself.

use serde_json::{Map, Value, json};

use super::Scenario;
use super::bundle::Stored;
use super::large::Mode;
use super::workloads::AWS_NODE_CONTAINER;

const IMAGES_OF_A_NODE: usize = 32;
const MODULES: [&str; 10] = [
    "accounts",
    "billing",
    "catalogue",
    "checkout",
    "gateway",
    "inventory",
    "ledger",
    "payments",
    "search",
    "shipping",
];

/// Fills up an object; other kinds stay as they are.
pub(super) fn fill_up(scenario: &Scenario, stored: &mut Stored<'_>) {
    match stored.kind {
        "Node" => node(scenario, &mut stored.object),
        "Pod" => {
            let mode = stored.node.map(|node| Mode::of(&scenario.group(node).name));
            aws_node(&mut stored.object, mode.unwrap_or(Mode::Plain));
            pod(scenario, &mut stored.object);
        }
        _ => {}
    }
}

/// Nodes of some groups were started with other settings of the CNI.
fn aws_node(pod: &mut Value, mode: Mode) {
    let containers = pod["spec"]["containers"].as_array_mut();
    let Some(container) = containers.into_iter().flatten().find(|one| one["name"] == AWS_NODE_CONTAINER) else {
        return;
    };
    for variable in container["env"].as_array_mut().into_iter().flatten() {
        if let Some((_, value)) = mode.env().iter().find(|(name, _)| variable["name"] == *name) {
            variable["value"] = json!(value);
        }
    }
    let known: Vec<Value> = container["env"].as_array().into_iter().flatten().map(|one| one["name"].clone()).collect();
    if let Some(env) = container["env"].as_array_mut() {
        let further = mode.env().iter().filter(|(name, _)| !known.contains(&json!(name)));
        env.extend(further.map(|(name, value)| json!({"name": name, "value": value})));
    }
}

fn node(scenario: &Scenario, node: &mut Value) {
    let name = text(&node["metadata"]["name"]).to_owned();
    let instance = text(&node["spec"]["providerID"]).rsplit('/').next().unwrap_or_default().to_owned();
    let kind = node["metadata"]["labels"]["node.kubernetes.io/instance-type"].clone();
    let zone = node["metadata"]["labels"]["topology.kubernetes.io/zone"].clone();
    extend(
        &mut node["metadata"]["labels"],
        json!({
            "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/instance-type": kind,
            "beta.kubernetes.io/os": "linux", "eks.amazonaws.com/nodegroup-image": "ami-0123456789abcdef0",
            "eks.amazonaws.com/sourceLaunchTemplateId": "lt-0123456789abcdef0",
            "eks.amazonaws.com/sourceLaunchTemplateVersion": "3",
            "failure-domain.beta.kubernetes.io/region": scenario.region(), "failure-domain.beta.kubernetes.io/zone": zone,
            "k8s.io/cloud-provider-aws": "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "topology.ebs.csi.aws.com/zone": zone,
        }),
    );
    let address = node["status"]["addresses"][0]["address"].clone();
    node["metadata"]["annotations"] = json!({
        "alpha.kubernetes.io/provided-node-ip": address,
        "csi.volume.kubernetes.io/nodeid": format!("{{\"ebs.csi.aws.com\":\"{instance}\",\"efs.csi.aws.com\":\"{instance}\"}}"),
        "node.alpha.kubernetes.io/ttl": "300",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    });
    for part in ["capacity", "allocatable"] {
        extend(
            &mut node["status"][part],
            json!({
                "attachable-volumes-aws-ebs": "25", "ephemeral-storage": "104779756Ki",
                "hugepages-1Gi": "0", "hugepages-2Mi": "0",
            }),
        );
    }
    node["status"]["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": 10250}});
    let digits = |what: &str, from: usize, to: usize| scenario.names.hex(what, &[&name])[from..to].to_owned();
    extend(
        &mut node["status"]["nodeInfo"],
        json!({
            "machineID": digits("machine", 0, 32), "systemUUID": uuid(&digits("machine", 0, 32)),
            "bootID": uuid(&digits("boot", 0, 32)), "osImage": "Amazon Linux 2023.9.20251110",
        }),
    );
    let images: Vec<Value> = (0..IMAGES_OF_A_NODE).map(|at| image(scenario, at)).collect();
    node["status"]["images"] = json!(images);
    let since = node["metadata"]["creationTimestamp"].clone();
    let record = json!([
        managed(&["metadata"], node, ("aws-cloud-controller-manager", "", &since), &["labels"]),
        managed(&["spec"], node, ("aws-cloud-controller-manager", "", &since), &["providerID"]),
        managed(&["metadata"], node, ("kube-controller-manager", "", &since), &["annotations"]),
        managed(
            &["status"],
            node,
            ("kubelet", "status", &since),
            &["conditions", "capacity", "allocatable", "images", "nodeInfo"]
        ),
    ]);
    node["metadata"]["managedFields"] = record;
}

/// One of the images that kubelet lists: by digest and by tag.
fn image(scenario: &Scenario, at: usize) -> Value {
    let module = MODULES[at % MODULES.len()];
    let repository = format!("111122223333.dkr.ecr.eu-central-1.amazonaws.com/platform/{module}");
    let digest = scenario.names.hex("image", &[&at.to_string()]);
    let names = [format!("{repository}@sha256:{digest}"), format!("{repository}:2025.{}.{at}", at % 12 + 1)];
    json!({"names": names, "sizeBytes": 48_000_000 + at * 1_234_567})
}

fn pod(scenario: &Scenario, pod: &mut Value) {
    let name = text(&pod["metadata"]["name"]).to_owned();
    // Each workload has an account of its own name.
    let own = pod["metadata"]["labels"]["app"].as_str().unwrap_or("default");
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or(own).to_owned();
    let volumes = volumes(&account);
    let digest = |what: &str| scenario.names.hex(what, &[&name]);
    pod["metadata"]["generateName"] = json!(name.rsplit_once('-').map_or("", |(base, _)| base).to_owned() + "-");
    pod["metadata"]["generation"] = json!(1);
    let (app, team) = (pod["metadata"]["labels"]["app"].clone(), pod["metadata"]["namespace"].clone());
    extend(&mut pod["metadata"]["labels"], json!({"app.kubernetes.io/instance": app, "team": team}));
    if pod["metadata"]["annotations"].is_null() {
        pod["metadata"]["annotations"] = json!({});
    }
    extend(
        &mut pod["metadata"]["annotations"],
        json!({
            "checksum/config": digest("config"), "prometheus.io/scrape": "true", "prometheus.io/port": "9090",
        }),
    );
    for container in pod["spec"]["containers"].as_array_mut().into_iter().flatten() {
        fill_container(container);
    }
    extend(
        &mut pod["spec"],
        json!({
            "volumes": volumes, "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst", "serviceAccountName": account, "serviceAccount": account,
            "securityContext": {"runAsNonRoot": true, "fsGroup": 2000}, "schedulerName": "default-scheduler",
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
            "priority": 0, "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority",
        }),
    );
    pod["status"]["qosClass"] = json!("Burstable");
    let digests = (digest("image"), digest("container"));
    for status in pod["status"]["containerStatuses"].as_array_mut().into_iter().flatten() {
        status["imageID"] = json!(format!("{}@sha256:{}", text(&status["image"]), digests.0));
        status["containerID"] = json!(format!("containerd://{}", digests.1));
        status["lastState"] = json!({});
    }
    let since = pod["metadata"]["creationTimestamp"].clone();
    let status: Vec<&str> = pod["status"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let spec: Vec<&str> = pod["spec"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .filter(|key| *key != "nodeName")
        .collect();
    let record = json!([
        managed(
            &["metadata", "spec"],
            pod,
            ("kube-controller-manager", "", &since),
            &[&spec[..], &["labels", "ownerReferences", "generateName"]].concat()
        ),
        managed(&["status"], pod, ("kubelet", "status", &since), &status),
    ]);
    pod["metadata"]["managedFields"] = record;
}

fn fill_container(container: &mut Value) {
    if container["env"].is_null() {
        let field = |path: &str| json!({"fieldRef": {"apiVersion": "v1", "fieldPath": path}});
        container["env"] = json!([
            {"name": "POD_NAME", "valueFrom": field("metadata.name")},
            {"name": "LOG_LEVEL", "value": "info"},
        ]);
    }
    if container["resources"].is_null() {
        container["resources"] = json!({});
    }
    for (part, cpu) in [("limits", "1"), ("requests", "250m")] {
        if container["resources"][part].is_null() {
            container["resources"][part] = json!({});
        }
        extend(&mut container["resources"][part], json!({"cpu": cpu, "memory": "512Mi"}));
    }
    let probe = |path: &str, period: u32| {
        json!({
            "httpGet": {"path": path, "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": period,
            "successThreshold": 1, "failureThreshold": 3,
        })
    };
    extend(
        container,
        json!({
            "ports": [
                {"name": "http", "containerPort": 8080, "protocol": "TCP"},
            ],
            "readinessProbe": probe("/readyz", 5),
            "volumeMounts": [
                {"name": "config", "mountPath": "/etc/app", "readOnly": true}, {"name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true},
            ],
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent",
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            },
        }),
    );
}

fn volumes(account: &str) -> Value {
    json!([
        {"name": "config", "configMap": {"name": format!("{account}-config"), "defaultMode": 420}},
        {"name": "kube-api-access-x7k2p", "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}},
    ])
}

/// The record of who wrote some fields of some parts of an object.
fn managed(
    parts: &[&str],
    object: &Value,
    (manager, subresource, since): (&str, &str, &Value),
    keys: &[&str],
) -> Value {
    let mut fields = Map::new();
    for part in parts {
        let of_part = object[*part].as_object().into_iter().flatten().filter(|(key, _)| keys.contains(&key.as_str()));
        let of_part: Map<String, Value> =
            of_part.map(|(key, value)| (format!("f:{key}"), fields_of(key, value))).collect();
        fields.insert(format!("f:{part}"), json!(of_part));
    }
    let mut record = json!({
        "manager": manager, "operation": "Update", "apiVersion": "v1", "time": since, "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    });
    if !subresource.is_empty() {
        record["subresource"] = json!(subresource);
    }
    record
}

/// Fields as the API server writes them: `f:` for a key of an object, `k:` for an item of a list that has a key.
fn fields_of(key: &str, value: &Value) -> Value {
    let keys: &[&str] = match key {
        "containers" | "initContainers" | "env" | "volumes" => &["name"],
        "conditions" => &["type"],
        "volumeMounts" => &["mountPath"],
        "ports" => &["containerPort", "protocol"],
        "podIPs" | "hostIPs" => &["ip"],
        "ownerReferences" => &["uid"],
        _ => &[],
    };
    match value {
        Value::Object(object) if key != "nodeInfo" && !object.is_empty() => {
            let fields = object.iter().map(|(key, value)| (format!("f:{key}"), fields_of(key, value)));
            let own = [(".".to_owned(), json!({}))];
            own.into_iter().chain(fields).collect::<Map<_, _>>().into()
        }
        Value::Array(items) if !keys.is_empty() => {
            let item = |item: &Value| {
                let name: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), item[*key].clone())).collect();
                (format!("k:{}", Value::from(name)), fields_of("", item))
            };
            [(".".to_owned(), json!({}))].into_iter().chain(items.iter().map(item)).collect::<Map<_, _>>().into()
        }
        _ => json!({}),
    }
}

/// Adds what is not there yet.
fn extend(target: &mut Value, further: Value) {
    if let (Value::Object(target), Value::Object(further)) = (target, further) {
        for (key, value) in further {
            target.entry(key).or_insert(value);
        }
    }
}

fn uuid(digits: &str) -> String {
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
