//! The same names for tests: the real thing, or loom's while [`explore`] runs.

use std::{
    cell::Cell,
    future::Future,
    ops::{Deref, DerefMut},
    pin::pin,
    sync::{
        Arc, LockResult, PoisonError,
        atomic::{self as real, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use loom::{sync::atomic as model, thread::Thread};
use tokio::task::JoinError;

/// What loom gives a thread by default is too little for real code without optimization.
const STACK: usize = 128 * 1024;

thread_local! {
    /// Loom's threads all run on the one that explores.
    static EXPLORING: Cell<bool> = const { Cell::new(false) };
}

fn exploring() -> bool {
    EXPLORING.get()
}

/// Runs a model in every order of its threads' steps that makes a difference; or in those with at most
/// so many preemptions, and one more with `MODELS=1`.
pub(crate) fn explore(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    EXPLORING.set(true);
    let orders = Arc::new(real::AtomicUsize::new(0));
    let (counted, model) = (Arc::clone(&orders), Arc::new(model));
    let mut builder = loom::model::Builder::new();
    let more = usize::from(std::env::var_os("MODELS").is_some());
    builder.preemption_bound = preemptions.map(|bound| bound + more);
    builder.max_branches = 10_000;
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let model = Arc::clone(&model);
        // The first thread's stack is loom's affair.
        thread(move || model()).join().expect("the model panics by itself");
    });
    EXPLORING.set(false);
    println!("{} orders", orders.load(Ordering::Relaxed));
}

/// A thread of a model.
pub(crate) fn thread<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> loom::thread::JoinHandle<T> {
    let spawned = loom::thread::Builder::new().stack_size(STACK / size_of::<usize>()).spawn(run);
    spawned.expect("loom refuses no thread")
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on a thread of a model. Unlike loom's own, its waker can be cloned while a lock
/// is held that loom does not know.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(loom::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => loom::thread::park(),
        }
    }
}

/// In a model it is carried through by whoever waits for it.
pub(in crate::app) async fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    if exploring() { Ok(future.await) } else { tokio::spawn(future).await }
}

/// In a model, others may come in between before it begins and after it ends.
pub(in crate::app) async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if !exploring() {
        return tokio::task::spawn_blocking(work).await;
    }
    let step = model::AtomicBool::new(false);
    step.swap(true, Ordering::AcqRel);
    let done = work();
    step.swap(false, Ordering::AcqRel);
    Ok(done)
}

pub(in crate::app) fn fence(order: Ordering) {
    if exploring() { model::fence(order) } else { real::fence(order) }
}

/// One of two that are used alike.
#[derive(Debug)]
enum Either<R, M> {
    Real(R),
    Model(M),
}

macro_rules! either {
    ($which:expr, $it:ident => $call:expr) => {
        match $which {
            Either::Real($it) => $call,
            Either::Model($it) => $call,
        }
    };
}

macro_rules! atomics {
    ($($name:ident $value:ty { $($method:ident($($argument:ident)?) $answer:ty),* })*) => { $(
        #[derive(Debug)]
        pub(in crate::app) struct $name(Either<real::$name, model::$name>);

        impl $name {
            pub(in crate::app) fn new(value: $value) -> Self {
                Self(match exploring() {
                    false => Either::Real(real::$name::new(value)),
                    true => Either::Model(model::$name::new(value)),
                })
            }

            $(pub(in crate::app) fn $method(
                &self,
                $($argument: $value,)?
                order: Ordering,
            ) -> $answer {
                either!(&self.0, it => it.$method($($argument,)? order))
            })*
        }

        impl From<$value> for $name {
            fn from(value: $value) -> Self {
                Self::new(value)
            }
        }
    )* };
}

atomics! {
    AtomicBool bool { load() bool, store(value) (), swap(value) bool }
    AtomicI64 i64 { load() i64, store(value) () }
    AtomicU64 u64 { load() u64, store(value) (), fetch_add(value) u64 }
}

/// Not loom's own, but each use of it is a step.
#[derive(Debug)]
pub(in crate::app) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    step: AtomicBool,
}

impl<T> OnceLock<T> {
    pub(in crate::app) fn new() -> Self {
        Self { value: std::sync::OnceLock::new(), step: AtomicBool::new(false) }
    }

    pub(in crate::app) fn get(&self) -> Option<&T> {
        self.step.swap(true, Ordering::AcqRel);
        self.value.get()
    }

    pub(in crate::app) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        self.step.swap(true, Ordering::AcqRel);
        self.value.get_or_init(make)
    }
}

pub(in crate::app) struct RwLock<T>(Either<std::sync::RwLock<T>, loom::sync::RwLock<T>>);

pub(in crate::app) struct RwLockReadGuard<'a, T>(
    Either<std::sync::RwLockReadGuard<'a, T>, loom::sync::RwLockReadGuard<'a, T>>,
);

pub(in crate::app) struct RwLockWriteGuard<'a, T>(
    Either<std::sync::RwLockWriteGuard<'a, T>, loom::sync::RwLockWriteGuard<'a, T>>,
);

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self(match exploring() {
            false => Either::Real(std::sync::RwLock::default()),
            true => Either::Model(loom::sync::RwLock::new(T::default())),
        })
    }
}

impl<T> RwLock<T> {
    pub(in crate::app) fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        Ok(RwLockReadGuard(match &self.0 {
            Either::Real(lock) => Either::Real(lock.read().unwrap_or_else(PoisonError::into_inner)),
            Either::Model(lock) => {
                Either::Model(lock.read().unwrap_or_else(PoisonError::into_inner))
            }
        }))
    }

    pub(in crate::app) fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        Ok(RwLockWriteGuard(match &self.0 {
            Either::Real(lock) => {
                Either::Real(lock.write().unwrap_or_else(PoisonError::into_inner))
            }
            Either::Model(lock) => {
                Either::Model(lock.write().unwrap_or_else(PoisonError::into_inner))
            }
        }))
    }
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        either!(&self.0, guard => guard)
    }
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        either!(&self.0, guard => guard)
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        either!(&mut self.0, guard => guard)
    }
}
