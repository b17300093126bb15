//! The worked examples of the batch interface, its errors, and what holds for every batch.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Cursor;

use ipam_audit_core::batch::{self, ErrorCode, Summary, simulate_line};
use serde_json::{Value, json};

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The answer to a line, without the reason, whose wording is free.
fn answer(line: &str) -> Value {
    let mut answer = value(&simulate_line(1, line).json);
    answer.as_object_mut().unwrap().remove("reason");
    answer
}

#[test]
fn worked_examples() {
    let lines: Vec<_> = include_str!("data/batch-examples.jsonl").lines().collect();
    assert_eq!(lines.len(), 2 * 14);
    for pair in lines.chunks(2) {
        assert_eq!(answer(pair[0]), value(pair[1]), "{}", pair[0]);
    }
}

const LIMITS: &str = r#""limits":{"enis":3,"ipv4PerEni":10,"hypervisor":"nitro"}"#;

#[test]
fn errors_say_what_is_wrong() {
    use ErrorCode::{BadJson, BadValue, MissingField, UnknownField, UnknownInstanceType, Unsupported};
    for (fields, code) in [
        (r#""pod":3"#, UnknownField),
        (r#""env":{"WARM_IP_TARGET":5}"#, BadValue),
        (r#""env":{"WARM_IP_TARGET":null}"#, BadValue),
        (r#""env":[]"#, BadValue),
        (r#""instanceType":"m5.large""#, BadValue),
        (r#""pods":-1"#, BadValue),
        (r#""pods":1.0"#, BadValue),
        (r#""pods":"1""#, BadValue),
        (r#""pods":9223372036854775808"#, BadValue),
        (r#""pods":5,"peakPods":4"#, BadValue),
        (r#""pods":5,"pods":5"#, BadValue),
        (r#""maxPods":0"#, BadValue),
        (r#""subnetFree":31,"subnetFreePrefixes":2"#, BadValue),
        (r#""trunk":"yes""#, BadValue),
        (r#""arrival":"slow""#, BadValue),
        (r#""placement":true"#, BadValue),
        (r#""cordoned":"true""#, BadValue),
        (r#""unmanagedEnis":3"#, BadValue),
        (r#""trunk":"attached","unmanagedEnis":2"#, BadValue),
        (r#""cniVersion":"latest""#, BadValue),
        (r#""cniVersion":"1.8.0""#, Unsupported),
        (r#""env":{"ENABLE_IPv6":"true"}"#, Unsupported),
        (r#""state":{}"#, MissingField),
        (r#""state":{"enis":[]}"#, BadValue),
        (r#""state":{"enis":[{"ip":1}]}"#, UnknownField),
        (r#""state":{"enis":[{"ips":10}]}"#, BadValue),
        (r#""state":{"enis":[{"ips":5,"prefixes":[0,0,0,0,0]}]}"#, BadValue),
        (r#""state":{"enis":[{"ips":1,"assigned":2}]}"#, BadValue),
        (r#""state":{"enis":[{"prefixes":[17]}]}"#, BadValue),
        (r#""state":{"enis":[{"trunk":true}]}"#, BadValue),
        (r#""state":{"enis":[{},{"trunk":true,"ips":1}]}"#, BadValue),
        (r#""state":{"enis":[{},{"trunk":true},{"trunk":true}]}"#, BadValue),
        (r#""state":{"enis":[{},{},{}]},"unmanagedEnis":1"#, BadValue),
        (r#""state":{"enis":[{}]},"trunk":"attached""#, BadValue),
        (r#""pods":}"#, BadJson),
    ] {
        let answer = simulate_line(7, &format!(r#"{{"id":"a",{LIMITS},{fields}}}"#));
        assert_eq!(answer.error, Some(code), "{fields}: {}", answer.json);
        let json = value(&answer.json);
        assert_eq!((&json["line"], &json["error"]["code"]), (&json!(7), &json!(code.as_str())), "{fields}");
        assert_eq!(json["id"], if code == BadJson { Value::Null } else { json!("a") }, "{fields}");
        assert!(!json["error"]["message"].as_str().unwrap().is_empty());
    }
    for (line, code) in [
        (r#"{"id":"a"}"#, MissingField),
        (r#"{"instanceType":"m5.large"}"#, MissingField),
        (r#"{"id":"a","instanceType":"m5.gigantic"}"#, UnknownInstanceType),
        (r#"{"id":"a","limits":{"enis":3,"ipv4PerEni":10}}"#, MissingField),
        (r#"{"id":"a","limits":{"ipv4PerEni":10,"hypervisor":"nitro"}}"#, MissingField),
        (r#"{"id":"a","limits":{"enis":101,"ipv4PerEni":10,"hypervisor":"nitro"}}"#, BadValue),
        (r#"{"id":"a","limits":{"enis":3,"ipv4PerEni":1,"hypervisor":"nitro"}}"#, BadValue),
        (r#"{"id":"a","limits":{"enis":3,"ipv4PerEni":10,"hypervisor":"nitro","cards":2}}"#, UnknownField),
        (r#"{"id":5,"instanceType":"m5.large"}"#, BadValue),
        (r#"["id"]"#, BadValue),
        ("{", BadJson),
        (r#"{"id":"a","instanceType":"m5.large"} x"#, BadJson),
    ] {
        assert_eq!(simulate_line(1, line).error, Some(code), "{line}");
    }
}

#[test]
fn null_is_absent() {
    let nulls = r#""label":null,"cniVersion":null,"env":null,"trunk":null,"unmanagedEnis":null,"eniConfig":null,"maxPods":null,
        "subnetFree":null,"subnetFreePrefixes":null,"pods":null,"peakPods":null,"arrival":null,"placement":null,
        "cordoned":null,"state":null,"instanceType":null"#;
    let plain = format!(r#"{{"id":"a",{LIMITS}}}"#);
    assert_eq!(answer(&format!(r#"{{"id":"a",{LIMITS},{nulls}}}"#)), answer(&plain));
    assert_eq!(answer(&plain)["total"], 9);
}

#[test]
fn texts_come_back_as_given() {
    let id = "tab\t \"quoted\" \\ \u{1} 测试 🦀";
    let line = json!({"id": id, "label": "a\nb", "instanceType": "m5.large"}).to_string();
    let answer = answer(&line);
    assert_eq!((&answer["id"], &answer["label"]), (&json!(id), &json!("a\nb")));
}

fn run(input: &[u8]) -> (Summary, Vec<Value>) {
    let mut output = Vec::new();
    let summary = batch::run(Cursor::new(input), &mut output).unwrap();
    let text = String::from_utf8(output).unwrap();
    (summary, text.lines().map(value).collect())
}

#[test]
fn a_bad_line_does_not_stop_the_others() {
    let input = b"\n{\"id\":\"a\",\"instanceType\":\"m5.large\"}\r\n  \nnonsense\n{\"id\":\"\xff\"}\n{\"id\":\"b\",\"instanceType\":\"m5.large\"}";
    let (summary, answers) = run(input);
    assert_eq!(summary, Summary { lines: 4, errors: 2 });
    assert_eq!(answers[0]["outcome"], "running");
    assert_eq!((&answers[1]["line"], &answers[1]["error"]["code"]), (&json!(4), &json!("bad-json")));
    assert_eq!((&answers[2]["line"], &answers[2]["error"]["code"]), (&json!(5), &json!("bad-json")));
    assert_eq!((&answers[3]["id"], &answers[3]["outcome"]), (&json!("b"), &json!("running")));
}

#[test]
fn nothing_in_nothing_out() {
    assert_eq!(run(b""), (Summary::default(), Vec::new()));
}

/// More pods than any node can hold cost no time: the rest waits.
#[test]
fn absurd_numbers_of_pods() {
    for arrival in ["settled", "burst"] {
        for env in [json!({}), json!({"WARM_ENI_TARGET": "0"}), json!({"WARM_IP_TARGET": "3"})] {
            let line = json!({
                "id": "a", "instanceType": "m5.large", "env": env, "arrival": arrival, "pods": 1_000_000_000_000_u64,
            });
            let answer = answer(&line.to_string());
            assert_eq!((&answer["assigned"], &answer["pending"]), (&json!(27), &json!(999_999_999_973_u64)), "{line}");
        }
    }
}

/// Targets near the largest number overflow in the CNI too, with the effect its compiler gives them.
#[test]
fn targets_that_overflow() {
    let line = |value: &str, per_eni: u32| {
        let limits = json!({"enis": 3, "ipv4PerEni": per_eni, "hypervisor": "nitro"});
        answer(&json!({"id": "a", "limits": limits, "env": {"WARM_ENI_TARGET": value}, "pods": 1}).to_string())
    };
    let largest = i64::MAX.to_string();
    assert_eq!(line(&largest, 15)["total"], 0, "14 times the target is negative: never low");
    let nine_times = line(&largest, 10);
    assert_eq!(nine_times["total"], 18, "9 times the target is large, but 9 times one more is the least number");
    assert_eq!(nine_times["settled"], false, "so that a new interface drives the last one out");
    assert_eq!(line("9223372036854775808", 15)["inForce"]["warmEni"], 1, "no number of 64 bits");
}
