//! What all connections share: the account, faults, buckets, the log; and how a request is answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::actions::{self, Action};
use super::clock::Clock;
use super::error::ApiError;
use super::faults::{Armed, Effect, Fault, Instead, Verdict, judge, limit_exceeded};
use super::ids;
use super::log::{Outcome, RequestLog};
use super::query::Request;
use super::throttle::{Buckets, Throttling};
use super::world::World;

const HTML: &str =
    "<html><head><title>500 Internal Server Error</title></head><body><h1>Internal Server Error</h1></body></html>\n";

/// The account in every region that was asked about.
#[derive(Debug, Clone)]
pub(crate) struct Regions {
    home: String,
    worlds: BTreeMap<String, World>,
}

impl Regions {
    fn new(world: World) -> Self {
        Self { home: world.region.clone(), worlds: BTreeMap::from([(world.region.clone(), world)]) }
    }

    /// The account in a region; without one, where it was loaded. None where it has nothing.
    fn find(&self, region: Option<&str>) -> Option<&World> {
        self.worlds.get(region.unwrap_or(&self.home))
    }

    fn find_or_add(&mut self, region: Option<&str>, account: &str) -> &mut World {
        let region = region.unwrap_or(&self.home).to_owned();
        self.worlds.entry(region).or_insert_with_key(|region| World::empty(account, region))
    }
}

/// A snapshot that stale reads see.
type Frozen = Arc<Regions>;

#[derive(Debug)]
pub(crate) struct Shared {
    regions: RwLock<Regions>,
    faults: Mutex<Vec<Armed<Frozen>>>,
    throttling: Mutex<(Throttling, Buckets)>,
    log: Mutex<RequestLog>,
    clock: Clock,
    made: AtomicU64,
}

/// An answer, ready to be sent.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
    pub(crate) delay: Duration,
    pub(crate) cut_after: Option<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(world: World, clock: Clock) -> Self {
        Self {
            regions: RwLock::new(Regions::new(world)),
            faults: Mutex::default(),
            throttling: Mutex::default(),
            log: Mutex::default(),
            clock,
            made: AtomicU64::new(0),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Regions> {
        self.regions.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Regions> {
        self.regions.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account where it was loaded.
    pub(crate) fn inspect<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        let regions = self.read();
        match regions.find(None) {
            Some(world) => look(world),
            None => look(&World::empty("", &regions.home)),
        }
    }

    /// Puts another account in the place of this one.
    pub(crate) fn replace(&self, world: World) {
        *self.write() = Regions::new(world);
    }

    pub(crate) fn add_fault(&self, fault: Fault) -> u64 {
        let id = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let frozen = (fault.effect == Effect::StaleReads).then(|| Arc::new(self.read().clone()));
        lock(&self.faults).push(Armed::new(id, fault, frozen));
        id
    }

    /// Removes one fault, or all.
    pub(crate) fn clear_faults(&self, id: Option<u64>) {
        lock(&self.faults).retain(|armed| id.is_some_and(|id| id != armed.id));
    }

    pub(crate) fn faults(&self) -> Vec<(u64, Fault)> {
        lock(&self.faults).iter().map(|armed| (armed.id, armed.fault.clone())).collect()
    }

    /// Switches throttling on or off, with full buckets.
    pub(crate) fn throttle(&self, mode: Throttling) {
        *lock(&self.throttling) = (mode, Buckets::default());
    }

    pub(crate) fn log(&self) -> RequestLog {
        lock(&self.log).clone()
    }

    pub(crate) fn reset_log(&self) {
        *lock(&self.log) = RequestLog::default();
    }

    /// Answers a request as the documented service would, or as a fault wants.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let now = self.clock.now();
        let account = self.inspect(|world| world.account.clone());
        let verdict = judge(&mut lock(&self.faults), request, &account);
        let request_id = ids::request_id(self.made.fetch_add(1, Ordering::Relaxed) + 1);
        let result = match &verdict.instead {
            Some(Instead::Html) => None,
            _ if !self.admits(request) => Some(Err(limit_exceeded())),
            Some(Instead::Error(error)) => Some(Err(error.clone())),
            _ => Some(self.perform(request, &request_id, &account, &verdict)),
        };
        let (status, content_type, body, error) = match result {
            None => (500, "text/html", HTML.to_owned(), Some("html".to_owned())),
            Some(Ok(body)) => (200, "text/xml;charset=UTF-8", body, None),
            Some(Err(error)) => {
                let body = actions::error_reply(&error, &request_id);
                (error.status, "text/xml;charset=UTF-8", body, Some(error.code.into_owned()))
            }
        };
        let outcome = Outcome { status, error, bytes: body.len() };
        lock(&self.log).record(request, now, outcome);
        Answer { status, content_type, body, delay: verdict.delay, cut_after: verdict.cut_after }
    }

    fn admits(&self, request: &Request) -> bool {
        let (mode, buckets) = &mut *lock(&self.throttling);
        *mode == Throttling::Off || buckets.admit(request, self.clock.now())
    }

    fn perform(
        &self,
        request: &Request,
        request_id: &str,
        account: &str,
        verdict: &Verdict<Frozen>,
    ) -> Result<String, ApiError> {
        let action = Action::find(&request.action)?;
        actions::refuse_dry_run(&request.params)?;
        if verdict.instead == Some(Instead::EmptyPage)
            && let Some(page) = actions::empty_page(request)?
        {
            return Ok(actions::reply(&request.action, request_id, &page));
        }
        let region = request.region.as_deref();
        let content = match action {
            Action::Read(read) => {
                let live = self.read();
                let regions = verdict.frozen.as_deref().unwrap_or(&live);
                match regions.find(region) {
                    Some(world) => read(world, request)?,
                    None => read(&World::empty(account, region.unwrap_or_default()), request)?,
                }
            }
            Action::Write(write) => write(self.write().find_or_add(region, account), request, self.clock.now())?,
        };
        Ok(actions::reply(&request.action, request_id, &content))
    }
}
