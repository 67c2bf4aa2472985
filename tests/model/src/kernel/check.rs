//! Running a check many times, in many orders.

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

use super::{Release, WORLD, World, once_in, world};

/// How a check is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    /// How often, with each way of scheduling.
    pub(crate) times: usize,
    pub(crate) release: Release,
}

impl Check {
    pub(crate) fn times(times: usize) -> Self {
        Self { times, release: Release::Now }
    }

    pub(crate) fn on(self, release: Release) -> Self {
        Self { release, ..self }
    }

    /// Runs `body` in many orders: random ones, and ones in which few threads are interrupted.
    ///
    /// `OFFSPRING_SOAK=1` runs it in twenty times as many. `MODEL_REPLAY=schedule` runs it once, in
    /// the order that a failure has printed.
    pub(crate) fn run(self, body: impl Fn() + Send + Sync + Clone + 'static) {
        if let Ok(schedule) = std::env::var("MODEL_REPLAY") {
            self.with(ReplayScheduler::new_from_encoded(&schedule), body);
            return;
        }
        let long = std::env::var("OFFSPRING_SOAK").is_ok_and(|value| value == "1");
        let times = if long { self.times * 20 } else { self.times };
        self.with(RandomScheduler::new(times), body.clone());
        self.with(PctScheduler::new(3, times / 2), body.clone());
        self.with(PctScheduler::new(6, times / 2), body);
    }

    fn with(self, scheduler: impl Scheduler + 'static, body: impl Fn() + Send + Sync + 'static) {
        let mut config = Config::new();
        config.stack_size = 256 << 10;
        config.max_steps = MaxSteps::FailAfter(50_000);
        config.silence_warnings = true;
        // What fails is told, and not what comes of going on.
        config.ungraceful_shutdown_config.immediately_return_on_panic = true;
        let release = self.release;
        Runner::new(scheduler, config).run(move || {
            WORLD.with(|world| *world.borrow_mut() = World::new(release));
            // Waits may return early for no reason, and must not do so for things to go well.
            let spurious = if once_in(4) { 8 } else { 0 };
            world(|world| world.spurious = spurious);
            body();
        });
    }
}

/// Runs a check so many times with each way of scheduling.
pub(crate) fn check(times: usize, body: impl Fn() + Send + Sync + Clone + 'static) {
    Check::times(times).run(body);
}
