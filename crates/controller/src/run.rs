//! Wiring: every part of the controller, started once.

use std::sync::Arc;

use futures::FutureExt;
use jiff::Timestamp;
use kube::Config;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Admin, LogFilter},
    clients::{self, Clients},
    collect,
    crds::CrdCheck,
    error::Error,
    ipamd::{self, Asker, Scrapes},
    lease::{Elector, Leadership},
    metrics::Metrics,
    poll::{self, OpenInventory, Poller, Polls},
    publish::{Board, Budget, Keeper, Publisher, Writer},
    reconcile::{self, Auditor, Memory},
    scrape::LiveState,
    settings::Settings,
    state::State,
    tasks::Tasks,
    watch::Pace,
};

/// Runs the controller until the shutdown is asked for, or until it cannot go on.
///
/// Nothing that may heal ends it: a missing CRD, a missing right, an API server or an EC2 that is away are waited out.
pub async fn run<O: OpenInventory>(
    config: Config,
    ec2: O,
    log: Arc<dyn LogFilter>,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let listener = admin::listen(settings.listen).await?;
    let config = clients::signed(config, &settings.identity);
    let clients = Clients::new(&config).map_err(Error::client)?;
    let stop = shutdown.child_token();
    let mut tasks = Tasks::new(stop.clone());
    let state = Arc::new(State::new(settings.fault_grace));
    let (polls, metrics) = (Arc::new(Polls::new()), Arc::new(Metrics::new(settings.node_metrics)));
    let memory = Arc::new(Memory::default());
    let scrapes = Arc::new(Scrapes::new());
    let pace = Pace::new(&settings);
    let leadership = lead(&mut tasks, &clients, &pace, &settings, &stop);
    let write_client = clients::for_writes(&config, &leadership).map_err(Error::client)?;
    let (check, crds) = CrdCheck::new(clients.cluster.clone(), pace.clone(), &settings);

    let live = LiveState {
        state: state.clone(),
        polls: polls.clone(),
        scrapes: scrapes.clone(),
        metrics: metrics.clone(),
        leadership: leadership.clone(),
        crds: crds.clone(),
    };
    let admin = Admin {
        state: state.clone(),
        polls: polls.clone(),
        crds: crds.clone(),
        leadership: leadership.clone(),
        memory: memory.clone(),
        registry: registry(live),
        log,
        settings: settings.clone(),
        started: Timestamp::now(),
    };
    let poller = Poller {
        open: ec2,
        polls: polls.clone(),
        state: state.clone(),
        leadership: leadership.clone(),
        settings: settings.clone(),
    };
    let asker = Asker {
        client: clients.nodes.clone(),
        scrapes: scrapes.clone(),
        state: state.clone(),
        leadership: leadership.clone(),
        settings: settings.clone(),
    };
    let writer = Arc::new(Writer::new(write_client, leadership.clone(), &settings));
    let (publisher, keeper) = writing(writer, &state, &metrics, &leadership, &settings);
    let auditor = Auditor {
        state: state.clone(),
        polls,
        scrapes,
        leadership: leadership.clone(),
        crds,
        metrics,
        publisher,
        pace: pace.clone(),
        settings: settings.clone(),
        memory,
    };

    tasks.spawn_graceful("admin server", admin::serve(listener, admin, stop.clone()).map(Ok));
    tasks.spawn("check CRDs", check.run());
    collect::start(&mut tasks, &clients.cluster, &state, pace.clone(), &settings);
    tasks.spawn("poll EC2", poll::run(Arc::new(poller)));
    tasks.spawn_graceful("keep conditions on nodes", keeper.run(stop.clone()).map(Ok));
    tasks.spawn("ask ipamd", ipamd::run(Arc::new(asker)));
    tasks.spawn("announce leadership", announce(leadership, state, pace));
    tasks.spawn_graceful("audit", reconcile::run(clients.cluster, Arc::new(auditor), stop));
    tasks.wait(settings.shutdown_grace).await
}

/// What writes: what audits have to say, and the conditions on nodes.
fn writing(
    writer: Arc<Writer>,
    state: &Arc<State>,
    metrics: &Arc<Metrics>,
    leadership: &Leadership,
    settings: &Settings,
) -> (Publisher, Keeper) {
    let publisher = Publisher {
        writer: writer.clone(),
        metrics: metrics.clone(),
        state: state.clone(),
        budget: Budget::new(settings.events_per_minute),
        pressures: Arc::new(Board::new()),
        identity: settings.identity.clone(),
    };
    let keeper = Keeper {
        board: publisher.pressures.clone(),
        state: state.clone(),
        writer,
        metrics: metrics.clone(),
        leadership: leadership.clone(),
        settings: settings.clone(),
    };
    (publisher, keeper)
}

fn lead(
    tasks: &mut Tasks,
    clients: &Clients,
    pace: &Pace,
    settings: &Settings,
    stop: &CancellationToken,
) -> Leadership {
    if !settings.leader_elect {
        let (leadership, end) = Leadership::alone(stop.clone());
        tasks.spawn_graceful("lead", end.map(Ok));
        return leadership;
    }
    let (elector, leadership) = Elector::new(clients.lease.clone(), pace.clone(), settings);
    tasks.spawn_graceful("lead", elector.run(stop.clone()));
    leadership
}

/// Each time this process begins to lead, audits have to run although nothing changed.
async fn announce(leadership: Leadership, state: Arc<State>, pace: Pace) {
    let mut term = 0;
    loop {
        term = leadership.term_after(term).await;
        pace.wake();
        state.touch();
    }
}

fn registry(live: LiveState) -> Registry {
    let mut registry = Registry::default();
    live.metrics.register(&mut registry);
    registry.register_collector(Box::new(live));
    registry
}
