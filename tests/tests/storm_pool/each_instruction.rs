//! A worker that dies at one instruction after the other: from the end of one task, over its reply and
//! the next claim, until the next task has begun.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use offspring::shm::Shared;
use offspring::sync::Event;
use offspring::{Pool, TaskError, process};
use tests::each_start_method;
use tests::pidfd;
use tests::steps::{self, Steps, sweep, sweep_all_over};
use tests::tasks::{KILLED, died, pid, square, squares, text};

/// Whether this process takes its steps.
static BEGAN: AtomicBool = AtomicBool::new(false);
/// Whether any process has.
static ANY_BEGAN: OnceLock<Shared<AtomicU64>> = OnceLock::new();

#[process]
fn prepare(steps: Shared<Steps>, any_began: Shared<AtomicU64>) {
    steps::prepare(steps);
    ANY_BEGAN.set(any_began).unwrap();
}

/// What travels; with a handle, it does so beside the others.
type Freight = (String, Option<Event>);

/// The first begins the steps, the last ends them.
#[process]
fn step(first: bool, freight: Freight) -> Freight {
    if first && ANY_BEGAN.get().unwrap().swap(1, Ordering::SeqCst) == 0 {
        BEGAN.store(true, Ordering::Relaxed);
        steps::begin();
    } else if BEGAN.swap(false, Ordering::Relaxed) {
        steps::mark();
        steps::end();
    }
    freight
}

/// What both tasks are like.
#[derive(Debug, Clone, Copy)]
struct Shape {
    chunk: u32,
    handle: bool,
    retries: u32,
    /// The second is there only when the worker sleeps.
    sleeps: bool,
}

const SMALL: Shape = Shape { chunk: 1, handle: false, retries: 0, sleeps: false };

/// Has the only worker of a pool die so; says whether it has.
fn dies(steps: &Shared<Steps>, shape: Shape) -> bool {
    let Shape { chunk, handle, retries, sleeps } = shape;
    let any_began = Shared::new(AtomicU64::new(0)).unwrap();
    let freight = || (text(20), handle.then(|| Event::new().unwrap()));
    let mut builder = Pool::builder();
    let pool = builder
        .workers(1)
        .retries(retries)
        .initializer(prepare(steps.clone(), any_began))
        .build()
        .unwrap();
    let worker = pidfd(pool.apply(pid()).unwrap()).unwrap();
    steps.count();
    let outcomes = if sleeps {
        let first = pool.submit(step(true, freight()));
        assert!(first.wait_timeout(Duration::from_secs(60)));
        let second = pool.submit(step(false, freight()));
        vec![first.wait(), second.wait()]
    } else {
        let inputs = [true, false];
        pool.mapper().chunk_size(chunk).map_settled(|first| step(first, freight()), inputs)
    };
    let killed = !offspring::wait_timeout(&[&worker], Duration::ZERO).unwrap().is_empty();
    let mut lost = 0;
    for outcome in outcomes {
        match outcome {
            Ok(value) => assert!(value.0 == text(20) && value.1.is_some() == handle),
            Err(error @ TaskError::WorkerDied(_)) => {
                assert_eq!(died(Err::<(), _>(error)).0, KILLED);
                lost += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(lost <= u32::from(killed && retries == 0), "{lost} lost");
    assert_eq!(pool.map(square, 0..10).unwrap(), squares(10));
    pool.join().unwrap();
    killed
}

each_start_method! {
    only [forkserver ForkServer]
    fn between_two_tasks_of_one_chunk() {
        sweep_all_over("a chunk", |steps| dies(steps, Shape { chunk: 2, ..SMALL }))?;
    }

    only [forkserver ForkServer]
    fn between_two_chunks() {
        sweep_all_over("two chunks", |steps| dies(steps, SMALL))?;
    }

    only [forkserver ForkServer]
    fn between_two_chunks_with_retries() {
        sweep_all_over("two chunks", |steps| dies(steps, Shape { retries: 1, ..SMALL }))?;
    }

    only [forkserver ForkServer]
    fn between_two_tasks_with_handles() {
        sweep("handles", |steps| dies(steps, Shape { handle: true, ..SMALL }))?;
    }

    only [forkserver ForkServer]
    fn between_two_tasks_with_handles_and_retries() {
        sweep("handles", |steps| dies(steps, Shape { handle: true, retries: 1, ..SMALL }))?;
    }

    only [forkserver ForkServer]
    fn while_it_has_nothing_to_do() {
        sweep_all_over("sleep", |steps| dies(steps, Shape { sleeps: true, ..SMALL }))?;
    }
}
