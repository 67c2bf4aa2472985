//! M, H1: memory that is made, handed over and mapped; and a large slice in it.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use benches::{Round, figure, measure, sums};
use nix::fcntl::{FcntlArg, fcntl};

use crate::locks::{Lock, Place};
use crate::pipes::socket_pair;
use crate::pthread::Mutex;
use crate::shared::{Mapping, hand_over, memfd, memfd_of, take_over};
use crate::{helper, wait};

type RobustMutex = Mutex<true, false>;

/// A small segment: a page.
const SEGMENT: usize = 4096;

pub(crate) fn run(round: &Round) {
    match (round.work.as_str(), round.variant.as_str()) {
        ("M1", _) => make(round),
        ("M2", _) => map(round),
        ("M2s", _) => map_again(round),
        (_, "written") => sum_written(round),
        (_, "born") => sum_born_there(round),
        (_, "mapped") => sum_mapped_before(round),
        _ => sum_from_pipe(round),
    }
}

/// M1
fn make(round: &Round) {
    let mutex = || drop(segment_with_mutex());
    figure("mutex", measure::repeated(round, mutex), "us");
    let segment = || {
        let file = memfd_of(SEGMENT);
        Mapping::new(&file, SEGMENT).bytes_mut()[0] = 1;
    };
    figure("segment", measure::repeated(round, segment), "us");
}

fn segment_with_mutex() -> (File, Mapping) {
    let file = memfd_of(SEGMENT);
    let mapping = Mapping::new(&file, SEGMENT);
    // SAFETY: it is aligned, large enough, and nobody else's.
    unsafe {
        mapping.at_start::<RobustMutex>().write(RobustMutex::blank());
        mapping.at_start::<RobustMutex>().as_ref().set_up();
    }
    (file, mapping)
}

fn use_mutex(mapping: &Mapping) {
    // SAFETY: `segment_with_mutex` has put it there.
    let mutex = unsafe { mapping.at_start::<RobustMutex>().as_ref() };
    mutex.lock();
    mutex.unlock();
}

/// What both sides of M2 have: descriptors go through the socket; a byte says that one is there,
/// and another one that it was taken.
struct Hatch {
    sockets: (OwnedFd, OwnedFd),
    sent: (PipeReader, PipeWriter),
    taken: (PipeReader, PipeWriter),
}

impl Hatch {
    fn new() -> Self {
        let (sent, taken) = (io::pipe().unwrap(), io::pipe().unwrap());
        Self { sockets: socket_pair(), sent, taken }
    }

    fn send(&mut self, file: &File) {
        hand_over(&self.sockets.0, file);
        self.sent.1.write_all(&[1]).unwrap();
        self.taken.0.read_exact(&mut [0]).unwrap();
    }

    /// Receives as often as the round says, and gives how long `receive` took to do so and to use
    /// it: the median.
    fn receive(
        &mut self,
        round: &Round,
        mut receive: impl FnMut(&OwnedFd) -> Option<Mapping>,
    ) -> f64 {
        measure::repeated_timed(round, || {
            self.sent.0.read_exact(&mut [0]).unwrap();
            let begin = Instant::now();
            let mapping = receive(&self.sockets.1);
            let time = begin.elapsed();
            drop(mapping);
            self.taken.1.write_all(&[1]).unwrap();
            time
        })
    }
}

/// M2
fn map(round: &Round) {
    let mut hatch = Hatch::new();
    let child = helper(|| {
        let mutex = hatch.receive(round, |socket| {
            let mapping = Mapping::new(take_over(socket), SEGMENT);
            use_mutex(&mapping);
            Some(mapping)
        });
        figure("mutex", mutex, "us");
        let segment = hatch.receive(round, |socket| {
            let mapping = Mapping::new(take_over(socket), SEGMENT);
            assert_eq!(mapping.bytes()[0], 1);
            Some(mapping)
        });
        figure("segment", segment, "us");
    });
    for _ in 0..round.trips() {
        hatch.send(&segment_with_mutex().0);
    }
    for _ in 0..round.trips() {
        let file = memfd_of(SEGMENT);
        let mut mapping = Mapping::new(&file, SEGMENT);
        mapping.bytes_mut()[0] = 1;
        hatch.send(&file);
    }
    wait(child);
}

/// M2s: the other side knows the file by its number.
fn map_again(round: &Round) {
    let mut hatch = Hatch::new();
    let (file, known) = segment_with_mutex();
    let number = file.metadata().unwrap().ino();
    let child = helper(|| {
        let mutex = hatch.receive(round, |socket| {
            assert_eq!(take_over(socket).metadata().unwrap().ino(), number);
            use_mutex(&known);
            None
        });
        figure("mutex", mutex, "us");
    });
    for _ in 0..round.trips() {
        hatch.send(&file);
    }
    wait(child);
}

/// H1: `give` hands numbers to a child, which gets them and their sum by `take`.
fn sum_in_other<P, G, T>(
    round: &Round,
    prepare: impl FnMut() -> P,
    mut give: impl FnMut(P) -> G,
    mut take: impl FnMut() -> (f64, T),
) {
    let (mut sums, mut sums_there) = io::pipe().unwrap();
    let times = 0..=round.count; // one to warm up
    let child = helper(move || {
        for _ in times {
            let (sum, _numbers) = take();
            sums_there.write_all(&sum.to_ne_bytes()).unwrap();
        }
    });
    sums::hand_over(round, prepare, |prepared| {
        let given = give(prepared);
        let mut sum = [0; 8];
        sums.read_exact(&mut sum).unwrap();
        (f64::from_ne_bytes(sum), given)
    });
    wait(child);
}

/// The length of all numbers.
const BYTES: usize = sums::LEN * size_of::<f64>();

fn sum_of_file(socket: &OwnedFd) -> (f64, Mapping) {
    let mapping = Mapping::new(take_over(socket), BYTES);
    (sums::sum(sums::from_bytes(mapping.bytes())), mapping)
}

/// Private numbers are written into a new file.
fn sum_written(round: &Round) {
    let (here, there) = socket_pair();
    let numbers = sums::numbers();
    let give = |()| {
        let mut file = memfd();
        file.write_all(sums::as_bytes(&numbers)).unwrap();
        hand_over(&here, &file);
        file
    };
    sum_in_other(round, || (), give, || sum_of_file(&there));
}

/// The numbers are in a file before the clock starts.
fn sum_born_there(round: &Round) {
    let (here, there) = socket_pair();
    let prepare = || {
        let file = memfd_of(BYTES);
        let mapping = Mapping::new(&file, BYTES);
        (fill(mapping), file)
    };
    let give = |(mapping, file)| {
        hand_over(&here, &file);
        (mapping, file)
    };
    sum_in_other(round, prepare, give, || sum_of_file(&there));
}

fn fill(mut mapping: Mapping) -> Mapping {
    let numbers = sums::from_bytes_mut(mapping.bytes_mut());
    numbers.iter_mut().enumerate().for_each(|(index, place)| *place = sums::number(index));
    mapping
}

/// The numbers are in memory that both sides have mapped before: nothing is handed over.
fn sum_mapped_before(round: &Round) {
    let mapping = fill(Mapping::new(memfd_of(BYTES), BYTES));
    let (mut ready_there, mut ready) = io::pipe().unwrap();
    let give = |()| ready.write_all(&[1]).unwrap();
    sum_in_other(
        round,
        || (),
        give,
        || {
            ready_there.read_exact(&mut [0]).unwrap();
            (sums::sum(sums::from_bytes(mapping.bytes())), ())
        },
    );
}

/// Private numbers go through a pipe of 1 MiB.
fn sum_from_pipe(round: &Round) {
    let (mut numbers_there, mut numbers_here) = io::pipe().unwrap();
    fcntl(&numbers_here, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
    let numbers = sums::numbers();
    let give = |()| numbers_here.write_all(sums::as_bytes(&numbers)).unwrap();
    sum_in_other(
        round,
        || (),
        give,
        || {
            let mut numbers = vec![0.0; sums::LEN];
            numbers_there.read_exact(sums::as_bytes_mut(&mut numbers)).unwrap();
            (sums::sum(&numbers), numbers)
        },
    );
}
