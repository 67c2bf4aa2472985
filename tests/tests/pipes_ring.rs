//! What is new to pipes that go through memory: it is the same for all who use them.

#[path = "pipes_ring/each_instruction.rs"]
mod each_instruction;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use offspring::{
    Duplex, Fd, Receiver, Sender, pipe, pipe::RecvError, pipe::SendError, pipe::SendTimeoutError,
    pipe::TryRecvError, pipe::TrySendError, process,
};
use tests::crew::{By, until_asleep};
use tests::each_start_method;
use tests::family::until;

/// So many messages go through the socket alone; with some to spare.
const WARM: u64 = 40;
/// So many of 64 KiB do not fit into a pipe.
const TOO_MANY: u64 = 64;

/// Who has sent it, its number, some bytes, and a file or none.
type Message = (u64, u64, Vec<u8>, Option<Fd<File>>);

fn message(sender: u64, number: u64) -> Message {
    let len = match number % 7 {
        0 => 100_000,
        3 => 5000,
        _ => 10,
    };
    let file = number.is_multiple_of(5).then(|| File::open("/dev/null").unwrap().into());
    (sender, number, vec![number as u8; len], file)
}

#[process]
fn send_messages(to: Sender<Message>, sender: u64, count: u64) {
    (0..count).for_each(|number| to.send(message(sender, number)).unwrap());
}

/// How many came of each sender: in order.
#[process]
fn receive_messages(from: Receiver<Message>) -> BTreeMap<u64, Vec<u64>> {
    let mut came = BTreeMap::<u64, Vec<u64>>::new();
    for (sender, number, bytes, file) in &from {
        let (_, _, expected, expected_file) = message(sender, number);
        assert!(bytes == expected && file.is_some() == expected_file.is_some());
        came.entry(sender).or_default().push(number);
    }
    came
}

fn all_come_in_order(by: By) -> Result<(), Box<dyn std::error::Error>> {
    const COUNT: u64 = 1000;
    let (to, from) = pipe()?;
    let receivers: Vec<_> = (0..2).map(|_| by.start(receive_messages(from.clone()))).collect();
    let senders: Vec<_> =
        (0..3).map(|sender| by.start(send_messages(to.clone(), sender, COUNT))).collect();
    drop((to, from));
    senders.into_iter().for_each(|sender| sender.join());
    let mut all = BTreeMap::<u64, Vec<u64>>::new();
    for receiver in receivers {
        for (sender, numbers) in receiver.join() {
            assert!(numbers.is_sorted(), "of {sender}: {numbers:?}");
            all.entry(sender).or_default().extend(numbers);
        }
    }
    assert_eq!(all.len(), 3);
    for numbers in all.values_mut() {
        numbers.sort();
        assert!(numbers.iter().copied().eq(0..COUNT), "each comes once");
    }
    Ok(())
}

each_start_method! {
    fn small_large_and_handles_come_in_order_between_processes() {
        all_come_in_order(By::Children)?;
    }

    only [forkserver ForkServer]
    fn small_large_and_handles_come_in_order_between_threads() {
        all_come_in_order(By::Threads)?;
    }
}

/// Whether a thread, of whatever process, sleeps until a descriptor can be read: so receivers wait.
fn is_polling(tid: i32) -> bool {
    let call = fs::read_to_string(format!("/proc/{tid}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    number == Some(nix::libc::SYS_ppoll)
}

#[process]
fn receive_one(from: Receiver<u64>) -> u64 {
    from.recv().unwrap()
}

each_start_method! {
    fn nobody_sleeps_while_messages_are_there() {
        let (to, from) = pipe()?;
        (0..WARM).for_each(|n| to.send(n).unwrap());
        (0..WARM).for_each(|n| assert_eq!(from.recv().unwrap(), n));
        for _ in 0..20 {
            let children: Vec<_> =
                (0..3).map(|_| receive_one(from.clone()).spawn()).collect::<Result<_, _>>()?;
            children.iter().for_each(|child| until(|| is_polling(child.pid().cast_signed())));
            (0..3).for_each(|n| to.send(n).unwrap());
            let mut got: Vec<_> =
                children.into_iter().map(|child| child.join()).collect::<Result<_, _>>()?;
            got.sort();
            assert_eq!(got, [0, 1, 2]);
            assert!(matches!(from.try_recv(), Err(TryRecvError::Empty)));
        }
    }
}

/// Receives so many, says so, and stays.
#[process]
fn receive_some_and_stay(from: Receiver<Vec<u8>>, count: u64, ready: Sender<()>) {
    (0..count).for_each(|_| drop(from.recv().unwrap()));
    ready.send(()).unwrap();
    std::thread::sleep(Duration::from_secs(3600));
}

/// Receives so many, lets go of its end, says so, and stays.
#[process]
fn receive_some_and_leave(from: Receiver<Vec<u8>>, count: u64, pipe: Duplex<(), ()>) {
    (0..count).for_each(|_| drop(from.recv().unwrap()));
    drop(from);
    pipe.send(()).unwrap();
    let _ = pipe.recv();
}

each_start_method! {
    fn a_sender_that_waits_for_room_learns_that_the_receiver_was_killed() {
        let (to, from) = pipe()?;
        let (ready, told) = pipe()?;
        let child = receive_some_and_stay(from, WARM, ready).spawn()?;
        (0..WARM).for_each(|_| to.send(vec![1]).unwrap());
        told.recv()?;
        let tid = nix::unistd::gettid().as_raw();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                until_asleep(tid);
                child.kill().unwrap();
            });
            let error = (0..TOO_MANY).find_map(|_| to.send(vec![7; 60_000]).err());
            assert!(matches!(error, Some(SendError::Disconnected(value)) if value.len() == 60_000));
        });
        child.wait()?;
        assert!(matches!(to.send(vec![2]), Err(SendError::Disconnected(_))));
    }

    fn a_sender_learns_at_once_that_the_receiver_was_killed() {
        for _ in 0..20 {
            let (to, from) = pipe()?;
            let (ready, told) = pipe()?;
            let child = receive_some_and_stay(from, WARM, ready).spawn()?;
            (0..WARM).for_each(|_| to.send(vec![1]).unwrap());
            told.recv()?;
            to.send(vec![2])?; // nobody takes it, so the bell stays
            child.kill()?;
            child.wait()?;
            assert!(matches!(to.send(vec![3]), Err(SendError::Disconnected(back)) if back == [3]));
        }
    }

    fn a_sender_learns_at_once_that_the_receiver_is_dropped() {
        for count in [0, 3, WARM] {
            let (to, from) = pipe()?;
            let (here, there) = offspring::duplex()?;
            let child = receive_some_and_leave(from, count, there).spawn()?;
            (0..count).for_each(|_| to.send(vec![1]).unwrap());
            here.recv()?;
            assert!(matches!(to.send(vec![3]), Err(SendError::Disconnected(back)) if back == [3]));
            drop(here);
            child.join()?;
        }
    }

    only [forkserver ForkServer]
    fn a_sender_learns_at_once_that_its_own_process_has_dropped_the_receiver() {
        for count in 0..WARM {
            let (to, from) = pipe()?;
            (0..count).for_each(|n| to.send(n).unwrap());
            if count % 2 == 0 {
                (0..count).for_each(|n| assert_eq!(from.recv().unwrap(), n));
            }
            drop(from);
            assert!(matches!(to.send(7), Err(SendError::Disconnected(7))), "after {count}");
            assert!(matches!(to.try_send(7), Err(TrySendError::Disconnected(7))));
        }
    }

    only [forkserver ForkServer]
    fn a_pipe_is_full_and_then_has_room() {
        let (to, from) = pipe()?;
        let fill = |to: &Sender<Vec<u8>>| {
            let mut sent = 0;
            loop {
                match to.try_send(vec![5; 1000]) {
                    Ok(()) => sent += 1,
                    Err(TrySendError::Full(value)) => break assert_eq!(value.len(), 1000),
                    Err(other) => panic!("{other}"),
                }
            }
            sent
        };
        // The first go through the socket alone.
        let mut left = fill(&to);
        assert!(left > 500, "{left}");
        for _ in 0..3 {
            let late = to.send_timeout(vec![5; 1000], Duration::from_millis(20));
            assert!(matches!(late, Err(SendTimeoutError::Timeout(_))));
            for _ in 0..100 {
                from.recv()?;
                left -= 1;
            }
            let more = fill(&to);
            assert!(more > 50, "{more}");
            left += more;
        }
        (0..left).for_each(|_| drop(from.try_recv().unwrap()));
        assert!(matches!(from.try_recv(), Err(TryRecvError::Empty)));
    }

    only [forkserver ForkServer]
    fn a_pipe_without_a_descriptor_for_its_memory_works() {
        // What comes from elsewhere as one descriptor.
        let (a, b) = offspring::duplex::<u64, u64>()?;
        drop((a, b));
        let open = tests::descriptors().last().map_or(0, |(number, _)| *number as u64);
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let mut made = None;
        for limit in open..open + 20 {
            setrlimit(Resource::RLIMIT_NOFILE, limit, hard)?;
            made = pipe::<u64>().ok();
            if made.is_some() {
                break;
            }
        }
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        let (to, from) = made.expect("there was room for two");
        assert!(rings().is_empty(), "{:?}", rings());
        let child = receive_until_the_end(from).spawn()?;
        (0..500).for_each(|n| to.send(n).unwrap());
        drop(to);
        assert_eq!(child.join()?, 500);
    }
}

#[process]
fn receive_until_the_end(from: Receiver<u64>) -> u64 {
    let mut count = 0;
    for n in &from {
        assert_eq!(n, count);
        count += 1;
    }
    count
}

/// The memory of pipes that this process has open: the numbers of the descriptors.
fn rings() -> Vec<i32> {
    let open = tests::descriptors().into_iter();
    open.filter(|(_, to)| to.contains("pipe-of-offspring")).map(|(number, _)| number).collect()
}

each_start_method! {
    only [forkserver ForkServer]
    fn a_pipe_that_is_not_used_takes_no_memory() {
        let (to, from) = pipe::<u64>()?;
        let ends = (to.clone(), from.clone());
        let &[ring] = &rings()[..] else { panic!("{:?}", rings()) };
        let blocks = || fs::metadata(format!("/proc/self/fd/{ring}")).unwrap().blocks();
        let is_mapped =
            || fs::read_to_string("/proc/self/maps").unwrap().contains("pipe-of-offspring");
        assert!(blocks() == 0 && !is_mapped());
        let travelling = pipe::<(Sender<u64>, Receiver<u64>)>()?;
        drop((ends, format!("{to:?}{from:?}")));
        assert!(blocks() == 0 && !is_mapped());
        drop(travelling);
        to.send(1)?;
        assert!(is_mapped());
        assert_eq!(from.recv()?, 1);
        // The state, and no ring for so few.
        assert_eq!(blocks(), 8);
        drop((to, from));
        assert!(!is_mapped() && rings().is_empty());
    }

    only [forkserver ForkServer]
    fn a_borrowed_descriptor_is_readable_just_when_there_is_something() {
        let (to, from) = pipe::<u64>()?;
        let readable = || {
            use std::os::fd::AsFd;
            let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
            nix::poll::poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
        };
        for n in 0..WARM {
            assert!(!readable());
            to.send(n)?;
            to.send(n)?;
            assert!(readable());
            from.recv()?;
            assert!(readable());
            from.recv()?;
        }
        drop(to);
        assert!(readable());
        assert!(matches!(from.recv(), Err(RecvError::Disconnected)));
    }
}

#[process]
fn send_and_be_killed(to: Sender<(u64, u64)>, who: u64) {
    for n in 0.. {
        if to.send((who, n)).is_err() {
            return;
        }
    }
}

#[process]
fn receive_and_be_killed(from: Receiver<(u64, u64)>) {
    while from.recv().is_ok() {}
}

each_start_method! {
    only [forkserver ForkServer]
    /// Senders and receivers are killed and replaced; what comes here is in order all the time, and the
    /// end comes.
    fn a_storm_of_kills_leaves_the_order() {
        let kills = if tests::soak() { 20_000 } else { 300 };
        let (to, from) = pipe()?;
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        // No two senders have the same number.
        let mut numbers = 0..;
        let mut last = BTreeMap::<u64, u64>::new();
        let check = |from: &Receiver<(u64, u64)>, last: &mut BTreeMap<u64, u64>| {
            let (who, n) = from.recv_timeout(Duration::from_secs(60)).unwrap();
            assert!(last.insert(who, n).is_none_or(|before| before < n), "{who} {n}");
        };
        for round in 0..kills {
            while senders.len() < 2 {
                let number = numbers.next().unwrap();
                senders.push(send_and_be_killed(to.clone(), number).spawn()?);
            }
            while receivers.len() < 2 {
                receivers.push(receive_and_be_killed(from.clone()).spawn()?);
            }
            (0..round % 50).for_each(|_| check(&from, &mut last));
            let victims = if round % 2 == 0 { &mut senders } else { &mut receivers };
            let victim = victims.remove(0);
            victim.kill()?;
            victim.wait()?;
        }
        drop(to);
        for child in senders.into_iter().chain(receivers) {
            child.kill()?;
            child.wait()?;
        }
        while let Ok((who, n)) = from.recv() {
            assert!(last.insert(who, n).is_none_or(|before| before < n), "{who} {n}");
        }
        assert!(matches!(from.recv(), Err(RecvError::Disconnected)));
        until(|| matches!(from.try_recv(), Err(TryRecvError::Disconnected)));
    }
}
