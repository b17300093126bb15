//! Reads EC2, by the leader only: one task per distinct scope, however many audits share it.
//!
//! What was read last stays, with its age, when a later reading fails; a reading that says the same again is no change
//! and causes no audit. A first failure that may pass is tried again before it is reported. How often is in [`interval`].

mod histories;
mod interval;
mod reader;
mod region;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ipam_audit_api::{settings::AwsSettings, views::NodeRow};
use ipam_audit_core::{
    ids::{InstanceId, InstanceType, SubnetId, VpcId, Zone},
    inventory::{Interface, Inventory, InventoryScope, Subnet},
    snapshot::Platform,
    source::{FaultCategory, Observed, Reading, Source, SourceFault, SourceState},
};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::Instant,
};

pub use self::reader::{CallStats, CountCalls, Ec2Place, OpenInventory};
pub(crate) use self::{histories::Forecasts, interval::Rhythm};
use self::{
    histories::Histories,
    interval::{Interval, Stock},
    reader::{Reader, sums},
};

use crate::{
    backoff::{Backoff, jittered},
    lease::Leadership,
    settings::Settings,
    state::{State, may_pass},
};

/// What one audit wants of EC2; audits that want the same share it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ec2Scope {
    pub(crate) aws: AwsSettings,
    pub(crate) vpc: Option<String>,
}

/// The latest view of one scope.
#[derive(Debug, Default)]
struct View {
    inventory: Inventory,
    /// How the free addresses of its subnets went; they go with the scope and with the process.
    histories: Histories,
    /// Whether EC2 was asked at least once.
    asked: bool,
    /// The last request for a new reading that this view has answered.
    answered: u64,
}

/// All that can be said of one scope without its contents.
#[derive(Debug)]
pub(crate) struct ScopeReport {
    pub(crate) scope: Ec2Scope,
    /// The audits that share it.
    pub(crate) audits: Vec<String>,
    /// How often the audits want it read; none once nobody does.
    pub(crate) interval: Option<Duration>,
    /// The time between readings as it is now.
    pub(crate) now_every: Option<Duration>,
    /// Whether EC2 was asked at least once.
    pub(crate) asked: bool,
    pub(crate) sources: Vec<SourceState>,
    pub(crate) calls: Vec<CallStats>,
}

type Wishes = BTreeMap<String, (Ec2Scope, Rhythm)>;

/// How the reading of one scope goes.
#[derive(Debug, Clone)]
struct Progress {
    calls: Vec<CallStats>,
    region: Option<(String, &'static str)>,
    interval: Duration,
}

/// Which scopes are wanted, and what is known of each.
#[derive(Debug)]
pub(crate) struct Polls {
    wishes: watch::Sender<Wishes>,
    /// How often a new reading of a scope was asked for.
    requests: watch::Sender<BTreeMap<Ec2Scope, u64>>,
    views: Mutex<BTreeMap<Ec2Scope, View>>,
    progress: Mutex<BTreeMap<Ec2Scope, Progress>>,
}

impl Polls {
    pub(crate) fn new() -> Self {
        Self {
            wishes: watch::Sender::new(Wishes::new()),
            requests: watch::Sender::default(),
            views: Mutex::default(),
            progress: Mutex::default(),
        }
    }

    /// An audit wants a scope, read in this rhythm.
    pub(crate) fn want(&self, audit: &str, scope: &Ec2Scope, rhythm: Rhythm) {
        let wish = (scope.clone(), rhythm);
        self.wishes.send_if_modified(|wishes| wishes.insert(audit.to_owned(), wish.clone()).as_ref() != Some(&wish));
    }

    /// Audits that are gone or suspended want nothing any more.
    pub(crate) fn retain(&self, audits: &BTreeSet<String>) {
        self.wishes.send_if_modified(|wishes| {
            let before = wishes.len();
            wishes.retain(|audit, _| audits.contains(audit));
            wishes.len() < before
        });
    }

    /// An audit wants nothing for now.
    pub(crate) fn drop_wish(&self, audit: &str) {
        self.wishes.send_if_modified(|wishes| wishes.remove(audit).is_some());
    }

    /// Asks for a reading that begins from now on, whatever the interval; the answer is known by the number.
    pub(crate) fn request(&self, scope: &Ec2Scope) -> u64 {
        let mut number = 0;
        self.requests.send_modify(|requests| {
            let count = requests.entry(scope.clone()).or_default();
            *count += 1;
            number = *count;
        });
        number
    }

    /// Whether a reading has ended that began after a request.
    pub(crate) fn has_answered(&self, scope: &Ec2Scope, request: u64) -> bool {
        lock(&self.views).get(scope).is_some_and(|view| view.answered >= request)
    }

    /// What is known of a scope.
    pub(crate) fn inventory(&self, scope: &Ec2Scope) -> Inventory {
        lock(&self.views).get(scope).map(|view| view.inventory.clone()).unwrap_or_default()
    }

    /// Whether EC2 was asked for a scope at least once.
    pub(crate) fn was_asked(&self, scope: &Ec2Scope) -> bool {
        lock(&self.views).get(scope).is_some_and(|view| view.asked)
    }

    /// Calls sent so far, by action, over all scopes.
    pub(crate) fn calls(&self) -> BTreeMap<&'static str, CallStats> {
        sums(lock(&self.progress).values().flat_map(|progress| progress.calls.iter().copied()))
    }

    /// The region that a scope is read in, and what told it.
    pub(crate) fn region(&self, scope: &Ec2Scope) -> Option<(String, &'static str)> {
        lock(&self.progress).get(scope)?.region.clone()
    }

    /// The time between readings as it is now, by audit.
    pub(crate) fn intervals(&self) -> Vec<(String, Duration)> {
        let (wishes, progress) = (self.wishes.borrow(), lock(&self.progress));
        let of =
            |(audit, (scope, _)): (&String, &(Ec2Scope, Rhythm))| Some((audit.clone(), progress.get(scope)?.interval));
        wishes.iter().filter_map(of).collect()
    }

    /// When the subnets of each audit's scope will be exhausted, by audit; audits that share a scope share it.
    pub(crate) fn forecasts(&self) -> BTreeMap<String, Arc<Forecasts>> {
        let (wishes, views) = (self.wishes.borrow(), lock(&self.views));
        let of = |view: &View| Arc::new(view.histories.forecasts(&view.inventory.subnets));
        let by_scope: BTreeMap<&Ec2Scope, Arc<Forecasts>> =
            views.iter().map(|(scope, view)| (scope, of(view))).collect();
        let of_audit =
            |(audit, (scope, _)): (&String, &(Ec2Scope, Rhythm))| Some((audit.clone(), by_scope.get(scope)?.clone()));
        wishes.iter().filter_map(of_audit).collect()
    }

    /// Every source of EC2, as old as its oldest view over all scopes.
    pub(crate) fn source_states(&self) -> Vec<SourceState> {
        let mut oldest: BTreeMap<Source, SourceState> = BTreeMap::new();
        for state in lock(&self.views).values().flat_map(|view| view.inventory.states()) {
            match oldest.get(&state.source) {
                Some(known) if known.as_of <= state.as_of => {}
                _ => drop(oldest.insert(state.source, state)),
            }
        }
        oldest.into_values().collect()
    }

    /// Every scope that is wanted or known, with all that can be said of it.
    pub(crate) fn report(&self) -> Vec<ScopeReport> {
        let (wishes, views, progress) = (self.wishes.borrow().clone(), lock(&self.views), lock(&self.progress));
        let scopes: BTreeSet<&Ec2Scope> =
            wishes.values().map(|(scope, _)| scope).chain(views.keys()).chain(progress.keys()).collect();
        let of = |scope: &Ec2Scope| {
            let wanted = || wishes.iter().filter(|(_, (wanted, _))| wanted == scope);
            let view = views.get(scope);
            ScopeReport {
                scope: scope.clone(),
                audits: wanted().map(|(audit, _)| audit.clone()).collect(),
                interval: wanted().map(|(_, (_, rhythm))| rhythm.interval).min(),
                now_every: progress.get(scope).map(|progress| progress.interval),
                asked: view.is_some_and(|view| view.asked),
                sources: view.map(|view| view.inventory.states().to_vec()).unwrap_or_default(),
                calls: progress.get(scope).map(|progress| progress.calls.clone()).unwrap_or_default(),
            }
        };
        scopes.into_iter().map(of).collect()
    }

    /// Puts a reading on top of what was known. Whether an audit could see a difference.
    pub(crate) fn merge(&self, scope: &Ec2Scope, now: Inventory, certain: bool, request: u64) -> bool {
        let mut views = lock(&self.views);
        let view = views.entry(scope.clone()).or_default();
        let before = std::mem::take(&mut view.inventory);
        let faults = before.states().map(|state| state.fault);
        // Whoever asked for this reading waits for it, also if it says the same.
        let mut merge = Merge { certain, news: !view.asked || view.answered != request };
        (view.asked, view.answered) = (true, request);
        view.inventory = Inventory {
            vpcs: merge.part(before.vpcs, now.vpcs),
            subnets: merge.part(before.subnets, now.subnets),
            interfaces: merge.part(before.interfaces, now.interfaces),
            instance_types: merge.part(before.instance_types, now.instance_types),
            reservations: merge.part(before.reservations, now.reservations),
            instances: merge.part(before.instances, now.instances),
            security_groups: merge.part(before.security_groups, now.security_groups),
            route_tables: merge.part(before.route_tables, now.route_tables),
        };
        // That nothing happened is part of a history, too, and no news.
        view.histories.note(&view.inventory.subnets);
        log(&faults, &view.inventory.states());
        merge.news
    }

    fn scopes(&self) -> BTreeMap<Ec2Scope, Rhythm> {
        let mut scopes: BTreeMap<Ec2Scope, Rhythm> = BTreeMap::new();
        for (scope, rhythm) in self.wishes.borrow().values() {
            let shared = scopes.entry(scope.clone()).or_insert(*rhythm);
            *shared = shared.with(*rhythm);
        }
        scopes
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a poller needs.
pub(crate) struct Poller<O> {
    pub(crate) open: O,
    pub(crate) polls: Arc<Polls>,
    pub(crate) state: Arc<State>,
    pub(crate) leadership: Leadership,
    pub(crate) settings: Settings,
}

/// Starts and stops a task for each wanted scope, for ever. Ends only if one of them ends, which none should.
pub(crate) async fn run<O: OpenInventory>(poller: Arc<Poller<O>>) {
    let mut running = JoinSet::new();
    let mut started: BTreeMap<(Ec2Scope, Rhythm), AbortHandle> = BTreeMap::new();
    let mut wishes = poller.polls.wishes.subscribe();
    loop {
        wishes.mark_unchanged();
        let scopes = poller.polls.scopes();
        for (_, gone) in started.extract_if(.., |(scope, rhythm), _| scopes.get(scope) != Some(rhythm)) {
            gone.abort();
        }
        lock(&poller.polls.views).retain(|scope, _| scopes.contains_key(scope));
        for key in scopes {
            started
                .entry(key)
                .or_insert_with_key(|(scope, rhythm)| running.spawn(poll(poller.clone(), scope.clone(), *rhythm)));
        }
        tokio::select! {
            wish = wishes.changed() => if wish.is_err() { return },
            Some(ended) = running.join_next() => if !ended.is_err_and(|error| error.is_cancelled()) { return },
        }
    }
}

async fn poll<O: OpenInventory>(poller: Arc<Poller<O>>, scope: Ec2Scope, rhythm: Rhythm) {
    let mut interval = Interval::new(rhythm, poller.settings.ec2_interval);
    let mut backoff = Backoff::new(poller.settings.ec2_retry.min(interval.usual()), interval.usual());
    let mut failures = 0_u32;
    let mut reader = Reader::new(&poller.open);
    let mut requests = poller.polls.requests.subscribe();
    let mut last: Option<Instant> = None;
    poller.first_nodes().await;
    loop {
        poller.leadership.held().await;
        let request = number_of(&requests.borrow_and_update(), &scope);
        let (began, before) = (Instant::now(), reader.throttles());
        let wish = poller.wish(&scope);
        let nodes: HashSet<InstanceId> = wish.instances.iter().cloned().collect();
        let now = reader.read(poller.place(&scope), wish).await;
        let faults = Faults::of(&now);
        failures = if faults.passing { failures + 1 } else { 0 };
        poller.merge(&scope, now, failures > 1, request);
        let throttled = faults.throttled || reader.throttles() > before;
        let since = last.map(|last| began.duration_since(last));
        let stocks = poller.stocks(&scope, &nodes).filter(|_| !faults.passing);
        let every = interval.next(stocks.as_deref(), throttled, since);
        last = Some(began);
        poller.note(&scope, &reader, every);
        if faults.refused {
            reader.close();
        }
        let pause = if faults.passing && !throttled {
            backoff.pause()
        } else {
            // Throttling is no reason to come back soon.
            backoff.reset();
            jittered(every)
        };
        let requested = requests.wait_for(|requests| number_of(requests, &scope) > request);
        drop(tokio::time::timeout(pause, requested).await);
    }
}

fn number_of(requests: &BTreeMap<Ec2Scope, u64>, scope: &Ec2Scope) -> u64 {
    requests.get(scope).copied().unwrap_or_default()
}

/// What kinds of faults a reading has.
struct Faults {
    /// One that may pass by itself.
    passing: bool,
    throttled: bool,
    /// AWS refuses the credentials, or there are none.
    refused: bool,
}

impl Faults {
    fn of(inventory: &Inventory) -> Self {
        let states = inventory.states();
        let any = |kind: fn(FaultCategory) -> bool| {
            states.iter().filter_map(|state| state.fault.as_ref()).any(|fault| kind(fault.category))
        };
        Self {
            passing: any(may_pass),
            throttled: any(|category| category == FaultCategory::Throttled),
            refused: any(|category| category == FaultCategory::Credentials),
        }
    }
}

impl<O> Poller<O> {
    /// Waits for the first list of nodes, which the scope depends on, but not for one that will not come.
    async fn first_nodes(&self) {
        let mut changes = self.state.changes();
        let listed = async {
            while self.state.read(|parts| parts.nodes.health.is_pending()) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(self.settings.first_list_wait, listed).await);
    }

    fn place(&self, scope: &Ec2Scope) -> Ec2Place {
        let of_nodes = || {
            self.state.read(|parts| {
                let nodes = parts.nodes.rows.rows().map(NodeRow::node);
                region::of_most(nodes.filter_map(|node| node.zone.as_ref()).map(Zone::as_str))
            })
        };
        let AwsSettings { region, endpoint, role } = scope.aws.clone();
        let region_of_nodes = if region.is_none() { of_nodes() } else { None };
        Ec2Place { region, region_of_nodes, endpoint, role }
    }

    /// What the subnets that the nodes have interfaces in have left; none while that is not known.
    fn stocks(&self, scope: &Ec2Scope, nodes: &HashSet<InstanceId>) -> Option<Vec<Stock>> {
        let views = lock(&self.polls.views);
        let inventory = &views.get(scope)?.inventory;
        let on_node = |interface: &&Interface| {
            let attached = interface.attachment.as_ref().and_then(|attachment| attachment.instance.as_ref());
            attached.is_some_and(|instance| nodes.contains(instance))
        };
        let used: HashSet<&SubnetId> =
            inventory.interfaces.value()?.iter().filter(on_node).map(|interface| &interface.subnet).collect();
        let subnets = inventory.subnets.value()?.iter().filter(|subnet| used.contains(&subnet.id));
        let stock = |subnet: &Subnet| {
            let size = 1_u32.checked_shl(32 - u32::from(subnet.cidr?.prefix_len()))?;
            Some(Stock { subnet: subnet.id.clone(), free: subnet.available, usable: size.saturating_sub(5) })
        };
        Some(subnets.filter_map(stock).collect())
    }

    /// Notes how the reading goes, and says when its pace changes.
    fn note<I: OpenInventory>(&self, scope: &Ec2Scope, reader: &Reader<'_, I>, interval: Duration) {
        let progress = Progress { calls: reader.calls(), region: reader.region(), interval };
        let before = lock(&self.polls.progress).insert(scope.clone(), progress);
        if before.is_none_or(|before| before.interval != interval) {
            tracing::debug!(seconds = interval.as_secs_f64(), "EC2 is read this often now");
        }
    }

    fn wish(&self, scope: &Ec2Scope) -> InventoryScope {
        let (mut instances, mut types): (BTreeSet<InstanceId>, BTreeSet<InstanceType>) = Default::default();
        self.state.read(|parts| {
            let nodes = parts.nodes.rows.rows().map(NodeRow::node);
            for node in nodes.filter(|node| matches!(node.platform, Platform::LinuxEc2 | Platform::Windows)) {
                instances.extend(node.instance.clone());
                types.extend(node.instance_type.clone());
            }
        });
        InventoryScope {
            vpc: scope.vpc.as_deref().map(VpcId::from),
            instances: instances.into_iter().collect(),
            instance_types: types.into_iter().collect(),
            reservation_subnets: Vec::new(),
        }
    }

    /// Takes in a reading, and wakes the audits if it says something new.
    fn merge(&self, scope: &Ec2Scope, now: Inventory, certain: bool, request: u64) {
        if self.polls.merge(scope, now, certain, request) {
            self.state.touch();
        }
    }
}

/// One line when a fault begins or changes its kind, one when it heals; sources with the same fault share it.
fn log(before: &[Option<SourceFault>], now: &[SourceState]) {
    let mut begun: BTreeMap<(FaultCategory, &str), Vec<&str>> = BTreeMap::new();
    let mut healed = Vec::new();
    for (was, state) in before.iter().zip(now) {
        let was = was.as_ref().map(|fault| fault.category);
        match &state.fault {
            Some(fault) if was != Some(fault.category) => {
                begun.entry((fault.category, &fault.message)).or_default().push(state.source.name());
            }
            // Until the first reading there was nothing that could have been well.
            None if was.is_some_and(|was| was != FaultCategory::Pending) => healed.push(state.source.name()),
            _ => {}
        }
    }
    for ((category, message), sources) in begun {
        tracing::warn!(sources = sources.join(","), category = category.name(), "EC2: {message}");
    }
    if !healed.is_empty() {
        tracing::info!(sources = healed.join(","), "EC2: healed");
    }
}

struct Merge {
    /// Whether faults that may pass have lasted long enough to be reported.
    certain: bool,
    /// Whether an audit could see a difference.
    news: bool,
}

impl Merge {
    fn part<T: PartialEq>(&mut self, before: Reading<T>, now: Reading<T>) -> Reading<T> {
        let hidden = |fault: &SourceFault| {
            !self.certain && may_pass(fault.category) && before.last_good.is_some() && before.fault.is_none()
        };
        let fault = now.fault.filter(|fault| !hidden(fault));
        let same = now.last_good.as_ref().is_none_or(|new| before.value() == Some(&new.value));
        self.news |= !same || fault != before.fault;
        let last_good = match (before.last_good, now.last_good) {
            // The rows stay those that snapshots share, and only their age moves.
            (Some(old), Some(new)) if same => Some(Observed { value: old.value, as_of: new.as_of }),
            (old, new) => new.or(old),
        };
        Reading { last_good, fault }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn failed(category: FaultCategory) -> Reading<u8> {
        Reading::missing(category, category.name())
    }

    fn good(value: u8, second: i64) -> Reading<u8> {
        Reading::fresh(value, Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_first_hiccup_is_hidden_and_a_second_one_is_told_with_the_last_good_view() {
        let mut first = Merge { certain: false, news: false };
        let hiccup = first.part(good(1, 10), failed(FaultCategory::Throttled));
        assert_eq!((hiccup, first.news), (good(1, 10), false));
        let mut second = Merge { certain: true, news: false };
        let told = second.part(good(1, 10), failed(FaultCategory::Throttled));
        assert_eq!((told.value(), told.fault.is_some(), second.news), (Some(&1), true, true));
    }

    #[test]
    fn a_missing_right_is_told_at_once_and_so_is_a_fault_without_any_view() {
        for (before, fault) in [(good(1, 10), FaultCategory::Denied), (Reading::default(), FaultCategory::Unreachable)]
        {
            let mut merge = Merge { certain: false, news: false };
            let told = merge.part(before, failed(fault));
            assert_eq!((told.fault.map(|fault| fault.category), merge.news), (Some(fault), true));
        }
    }

    #[test]
    fn the_same_again_is_no_news_but_moves_the_age() {
        let mut merge = Merge { certain: false, news: false };
        let newer = merge.part(good(1, 10), good(1, 20));
        assert_eq!((newer, merge.news), (good(1, 20), false));
        let healed = Reading {
            last_good: Some(Observed { value: 1, as_of: Timestamp::UNIX_EPOCH }),
            fault: Some(SourceFault { category: FaultCategory::Throttled, message: String::new() }),
        };
        let _ = merge.part(healed, good(1, 30));
        assert!(merge.news, "a fault that is over is news");
    }
}
