//! A real Lua, pinned by hashes and installed into the cache the first time it is asked for: it runs the scripts that
//! GitOps tools run.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::venv::Venv;

const VENV: Venv = Venv { name: "lua", requirements: include_str!("../../../tests/lua/requirements.txt") };

/// Runs a script with `obj` set, as Argo CD does, and prints the table that it returns.
const RUNNER: &str = r#"
import json, sys
from lupa import LuaRuntime
given = json.load(sys.stdin)
lua = LuaRuntime(unpack_returned_tuples=True)
def table(value):
    if isinstance(value, dict):
        return lua.table_from({key: table(item) for key, item in value.items() if item is not None})
    if isinstance(value, list):
        return lua.table_from([table(item) for item in value])
    return value
lua.globals()["obj"] = table(given["object"])
print(json.dumps(dict(lua.execute(given["script"]))))
"#;

/// What a health script of Argo CD says of an object. Blocks: the first time it installs Lua, from the Python package index.
///
/// # Errors
/// If Lua cannot be had, or the script fails.
pub fn health(script: &str, object: &Value) -> Result<Value> {
    let python = VENV.programs()?.join("python");
    let mut child = Command::new(python)
        .args(["-c", RUNNER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run Python")?;
    let given = serde_json::json!({"script": script, "object": object}).to_string();
    child.stdin.take().context("no standard input")?.write_all(given.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the script fails: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the script returned no table")
}
