//! What a pool tells about itself.

use std::fs;
use std::time::Duration;

use nix::libc;
use offspring::Pool;
use tests::each_start_method;
use tests::family::until;
use tests::tasks::{Stop, die, died, echo, exit, fail, hold, nap, square, text};

/// How many tasks are noted with the workers: as chunks end, a moment after their results.
fn noted(pool: &Pool) -> u64 {
    pool.stats().workers.iter().map(|worker| worker.tasks).sum()
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    fn tasks_failures_and_workers_are_counted() {
        let pool = Pool::builder().workers(2).name("crew").build()?;
        let stats = pool.stats();
        assert_eq!((stats.tasks, stats.failed, stats.waiting, stats.workers_started), (0, 0, 0, 2));
        pool.map(square, 0..1000)?;
        until(|| pool.stats().tasks == 1000);
        for _ in 0..3 {
            assert!(pool.apply(fail("on purpose".into())).is_err());
        }
        until(|| pool.stats().tasks == 1003);
        assert_eq!(pool.stats().failed, 3);
        died(pool.apply(exit(1)));
        until(|| pool.stats().workers_started == 3 && pool.stats().workers.len() == 2);
        let stats = pool.stats();
        assert_eq!(stats.failed, 4);
        assert_eq!(stats.tasks, 1004, "those that failed included");
        let mut names: Vec<_> = stats.workers.iter().map(|worker| worker.name.clone()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 2);
        assert!(names.iter().all(|name| name.starts_with("crew-")), "{names:?}");
        assert!(stats.workers.iter().all(|worker| worker.pid > 1 && !worker.startup.is_zero()));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn what_waits_is_counted() {
        let pool = Pool::new(1)?;
        let stop = Stop::new()?;
        let held = pool.submit(stop.hold());
        stop.arrival();
        // Some are in the worker's reach already.
        let map = pool.map_async(square, 0..10_000);
        let waiting = pool.stats().waiting;
        assert!((5000..=10_000).contains(&waiting), "{waiting}");
        stop.open();
        map.wait()?;
        held.wait()?;
        assert_eq!(pool.stats().waiting, 0);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn the_slowest_tasks_are_known() {
        let pool = Pool::new(2)?;
        pool.mapper().chunk_size(1).map(nap, (0..30).map(|x| if x == 17 { 120 } else { 0 }))?;
        pool.apply(nap(240))?;
        until(|| noted(&pool) == 31);
        let stats = pool.stats();
        let slowest = &stats.slowest;
        assert!(slowest.len() >= 2 && slowest.is_sorted_by(|one, next| one.each >= next.each));
        let [first, second, ..] = &slowest[..] else { panic!("{slowest:?}") };
        assert_eq!((first.process, first.count), ("nap", 1));
        assert!(first.each >= Duration::from_millis(240));
        assert_eq!((second.process, second.index, second.count), ("nap", 17, 1));
        assert!(second.each >= Duration::from_millis(120));
        let again = second.first::<nap>().expect("its arguments are short");
        assert_eq!(pool.apply(again)?, 120);
        assert!(second.first::<square>().is_none(), "it is no square");
        let busy: Duration = stats.workers.iter().map(|worker| worker.busy).sum();
        assert!(busy >= Duration::from_millis(360), "{busy:?}");

        // Arguments with handles are not kept, nor long ones.
        let stop = Stop::new()?;
        stop.open();
        let fresh = Pool::new(1)?;
        fresh.apply(stop.hold())?;
        fresh.apply(echo(text(5000)))?;
        until(|| fresh.stats().slowest.len() == 2);
        let slowest = fresh.stats().slowest;
        assert!(slowest.iter().all(|slow| slow.first::<hold>().is_none() && slow.first::<echo>().is_none()));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_timeline_has_every_chunk() {
        let dir = tempfile::tempdir()?;
        for (name, dropped) in [("joined.json", false), ("dropped.json", true)] {
            let path = dir.path().join(name);
            let pool = Pool::builder().workers(2).timeline(&path).build()?;
            pool.mapper().chunk_size(5).map(square, 0..50)?;
            until(|| noted(&pool) == 50);
            assert!(!path.exists());
            if dropped { drop(pool) } else { pool.join()? }
            let text = fs::read_to_string(&path)?;
            assert!(text.starts_with('{') && text.trim_end().ends_with('}'), "{text}");
            assert_eq!(text.matches('{').count(), text.matches('}').count());
            assert!(!text.contains(",]") && !text.contains(",\n]"), "{text}");
            assert_eq!(text.matches("\"ph\":\"X\"").count(), 10);
            assert_eq!(text.matches("\"tasks\":5").count(), 10);
            assert_eq!(text.matches("\"name\":\"square\"").count(), 10);
            assert_eq!(text.matches("\"name\":\"started\"").count(), 2);
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_timeline_tells_of_a_worker_that_died_and_of_the_one_in_its_place() {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("timeline.json");
        let pool = Pool::builder().workers(1).name("a \"pool\"").timeline(&path).build()?;
        assert!(pool.apply(die(libc::SIGKILL)).is_err());
        assert_eq!(pool.apply(square(3))?, 9);
        pool.join()?;
        let trace: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let events = trace["traceEvents"].as_array().unwrap();
        let named = |name: &str| events.iter().filter(|event| event["name"] == name).count();
        assert_eq!((named("started"), named("square")), (2, 1));
        let died = events.iter().find(|event| event["name"] == "ended").unwrap();
        assert!(died["args"]["how"].as_str().unwrap().contains("SIGKILL"), "{died}");
        assert!(events.iter().any(|event| event["args"]["worker"] == "a \"pool\"-2"));
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_timeline_that_cannot_be_written_is_told_by_join() {
        let path = "/nowhere/at/all.json";
        let pool = Pool::builder().workers(1).timeline(path).build()?;
        assert_eq!(pool.apply(square(3))?, 9);
        let error = pool.join().unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
        drop(Pool::builder().workers(1).timeline(path).build()?);
    }

    only [forkserver ForkServer, spawn Spawn]
    fn everything_can_be_printed() {
        let pool = Pool::builder().workers(1).name("crew").build()?;
        let job = pool.submit(square(3));
        let (lazy, other) = (pool.imap(square, 0..3), pool.imap_unordered(square, 0..3));
        let map = pool.map_async(square, 0..3);
        let text = format!("{pool:?} {job:?} {lazy:?} {other:?} {map:?} {:?}", pool.mapper());
        for word in ["crew", "Job", "Imap", "ImapUnordered", "MapJob", "Mapper", "square"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(format!("{:?} {:?}", pool.stats(), Pool::builder()).contains("PoolBuilder"));
    }
}
