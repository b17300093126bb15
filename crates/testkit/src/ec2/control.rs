//! The control API under `/_sim/`: JSON over HTTP, for scripts and for tests in other processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::faults::Fault;
use super::seed::Ec2Seed;
use super::shared::Shared;
use super::throttle::Throttling;
use super::world::World;

/// The account as a seed, with what EC2 reports as available per subnet.
#[derive(Debug, Serialize)]
struct Account {
    seed: Ec2Seed,
    available: BTreeMap<String, u32>,
}

/// A fault that was set.
#[derive(Debug, Serialize)]
struct SetFault {
    id: u64,
    fault: Fault,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mode {
    throttling: Throttling,
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_sim/health", get(health))
        .route("/_sim/seed", put(load))
        .route("/_sim/state", get(state))
        .route("/_sim/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/_sim/faults/{id}", delete(remove_fault))
        .route("/_sim/throttling", put(throttle))
        .route("/_sim/requests", get(requests).delete(reset))
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let about =
        shared.inspect(|world| BTreeMap::from([("account", world.account.clone()), ("region", world.region.clone())]));
    json(StatusCode::OK, &about)
}

async fn load(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let loaded = read::<Ec2Seed>(&body).and_then(|seed| World::load(seed).map_err(|error| error.to_string()));
    match loaded {
        Ok(world) => {
            shared.replace(world);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(problem) => refuse(&problem),
    }
}

async fn state(State(shared): State<Arc<Shared>>) -> Response {
    let account = shared.inspect(|world| Account {
        seed: world.to_seed(),
        available: world.subnets.values().map(|subnet| (subnet.id.clone(), subnet.book.available())).collect(),
    });
    json(StatusCode::OK, &account)
}

async fn faults(State(shared): State<Arc<Shared>>) -> Response {
    let set: Vec<_> = shared.faults().into_iter().map(|(id, fault)| SetFault { id, fault }).collect();
    json(StatusCode::OK, &set)
}

async fn add_fault(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match read::<Fault>(&body) {
        Ok(fault) => json(StatusCode::CREATED, &SetFault { id: shared.add_fault(fault.clone()), fault }),
        Err(problem) => refuse(&problem),
    }
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.clear_faults(None);
    StatusCode::NO_CONTENT
}

async fn remove_fault(State(shared): State<Arc<Shared>>, Path(id): Path<u64>) -> StatusCode {
    shared.clear_faults(Some(id));
    StatusCode::NO_CONTENT
}

async fn throttle(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match read::<Mode>(&body) {
        Ok(mode) => {
            shared.throttle(mode.throttling);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(problem) => refuse(&problem),
    }
}

async fn requests(State(shared): State<Arc<Shared>>) -> Response {
    json(StatusCode::OK, &shared.log())
}

async fn reset(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.reset_log();
    StatusCode::NO_CONTENT
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn refuse(problem: &str) -> Response {
    json(StatusCode::BAD_REQUEST, &BTreeMap::from([("error", problem)]))
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
