//! Numbers, arrays and structs in shared memory, with a lock and without: Python's `_TestValue`,
//! `_TestArray`, `_TestSharedCTypes` and `_TestHeap`.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::sync::atomic::{
    AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering,
};
use std::thread;

use nix::libc;
use offspring::shm::{ArrayString, ArrayVec, Shareable, Shared, SharedMut, SharedSlice, Zeroable};
use offspring::sync::{Mutex, ReentrantLock, TryLockError};
use offspring::{Process, process};
use tests::crew::By;
use tests::{Holdings, each_start_method};

/// Where the other party is. The process first: a thread that has just ended must not be in the way
/// of a fork.
const BOTH: [By; 2] = [By::Children, By::Threads];

type Locked = (Mutex<i32>, Mutex<f64>, Mutex<i16>, Mutex<i64>, Mutex<u8>);

#[process]
fn set_values((int, float, short, long, byte): Locked) {
    *int.lock().unwrap() = 24_234;
    *float.lock().unwrap() = -4.25;
    *short.lock().unwrap() = 234;
    *long.lock().unwrap() = 1 << 34;
    *byte.lock().unwrap() = b'y';
}

type Raw =
    (Shared<AtomicI32>, Shared<AtomicU64>, Shared<AtomicI16>, Shared<AtomicI64>, Shared<AtomicU8>);

#[process]
fn set_raw_values((int, float, short, long, byte): Raw) {
    int.store(24_234, Ordering::Relaxed);
    float.store(f64::to_bits(-4.25), Ordering::Relaxed);
    short.store(234, Ordering::Relaxed);
    long.store(1 << 34, Ordering::Relaxed);
    byte.store(b'y', Ordering::Relaxed);
}

each_start_method! {
    /// `test_value`
    fn test_value_set_elsewhere_is_seen_here() {
        for by in BOTH {
            let values = (
                Mutex::new(4_343)?,
                Mutex::new(3.625)?,
                Mutex::new(-232)?,
                Mutex::new(1 << 33)?,
                Mutex::new(b'x')?,
            );
            let (int, float, short, long, byte) = &values;
            assert_eq!((*int.lock().unwrap(), *float.lock().unwrap(), *short.lock().unwrap()), (4_343, 3.625, -232));
            assert_eq!((*long.lock().unwrap(), *byte.lock().unwrap()), (1 << 33, b'x'));

            by.start(set_values(values.clone())).join();
            assert_eq!((*int.lock().unwrap(), *float.lock().unwrap(), *short.lock().unwrap()), (24_234, -4.25, 234));
            assert_eq!((*long.lock().unwrap(), *byte.lock().unwrap()), (1 << 34, b'y'));
        }
    }

    /// `test_rawvalue`: a float is an atomic number's bits, for there is no atomic float.
    fn test_rawvalue_set_elsewhere_is_seen_here() {
        for by in BOTH {
            let values = (
                Shared::new(AtomicI32::new(4_343))?,
                Shared::new(AtomicU64::new(f64::to_bits(3.625)))?,
                Shared::new(AtomicI16::new(-232))?,
                Shared::new(AtomicI64::new(1 << 33))?,
                Shared::new(AtomicU8::new(b'x'))?,
            );
            let (int, float, short, long, byte) = &values;
            let seen = || {
                (
                    int.load(Ordering::Relaxed),
                    f64::from_bits(float.load(Ordering::Relaxed)),
                    short.load(Ordering::Relaxed),
                    long.load(Ordering::Relaxed),
                    byte.load(Ordering::Relaxed),
                )
            };
            assert_eq!(seen(), (4_343, 3.625, -232, 1 << 33, b'x'));
            by.start(set_raw_values(values.clone())).join();
            assert_eq!(seen(), (24_234, -4.25, 234, 1 << 34, b'y'));
        }
    }
}

const TIMES: u32 = 2_000;

#[process]
fn count_in_its_own_lock(value: Mutex<u32>) {
    for _ in 0..TIMES {
        *value.lock().unwrap() += 1;
    }
}

/// Counts in two steps, which only the lock makes one.
#[process]
fn count_under_a_given_lock(lock: Mutex<()>, value: Shared<AtomicU32>) {
    for turn in 0..TIMES {
        let _held = lock.lock().unwrap();
        let seen = value.load(Ordering::Relaxed);
        if turn % 100 == 0 {
            thread::yield_now();
        }
        value.store(seen + 1, Ordering::Relaxed);
    }
}

#[process]
fn count_without_a_lock(value: Shared<AtomicU32>) {
    for _ in 0..TIMES {
        value.fetch_add(1, Ordering::Relaxed);
    }
}

/// Three parties in processes, and then three on threads.
fn thrice<P>(work: impl Fn() -> P) -> Result<(), Box<dyn Error>>
where
    P: Process<Output = ()> + Send + 'static,
{
    let children: Vec<_> = (0..3).map(|_| work().spawn()).collect::<Result<_, _>>()?;
    children.into_iter().try_for_each(|child| child.join())?;
    let threads = [work(), work(), work()].map(|work| thread::spawn(|| work.run()));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    Ok(())
}

#[process]
fn can_be_taken(value: Mutex<[i32]>) -> bool {
    match value.try_lock() {
        Ok(_) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(other) => panic!("{other}"),
    }
}

each_start_method! {
    /// `test_getobj_getlock`: a lock comes with its value.
    fn test_getobj_getlock_of_a_value_with_its_own_lock() {
        let value = Mutex::new(0)?;
        thrice(|| count_in_its_own_lock(value.clone()))?;
        assert_eq!(*value.lock().unwrap(), 6 * TIMES);
    }

    /// `test_getobj_getlock`: a lock that was there before the value.
    fn test_getobj_getlock_of_a_value_with_a_given_lock() {
        let lock = Mutex::new(())?;
        let value = Shared::new(AtomicU32::new(0))?;
        thrice(|| count_under_a_given_lock(lock.clone(), value.clone()))?;
        assert_eq!(value.load(Ordering::Relaxed), 6 * TIMES);
    }

    /// `test_getobj_getlock`: no lock.
    fn test_getobj_getlock_of_a_value_without_a_lock() {
        let value = Shared::new(AtomicU32::new(0))?;
        thrice(|| count_without_a_lock(value.clone()))?;
        assert_eq!(value.load(Ordering::Relaxed), 6 * TIMES);
    }

    /// `test_getobj_getlock_obj`: who holds the lock has the array, and nobody else has.
    fn test_getobj_getlock_obj_of_an_array_with_its_lock() {
        for by in BOTH {
            let array = Mutex::from_slice(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])?;
            let held = array.lock().unwrap();
            assert_eq!(held.len(), 10);
            assert!(!by.start(can_be_taken(array.clone())).join());
            drop(held);
            assert!(by.start(can_be_taken(array.clone())).join());
        }
    }
}

const SEQUENCE: [i32; 10] = [680, 626, 934, 821, 150, 233, 548, 982, 714, 831];

fn add_up(numbers: &mut [i32]) {
    for index in 1..numbers.len() {
        numbers[index] += numbers[index - 1];
    }
}

#[process]
fn add_up_array(numbers: Mutex<[i32]>) {
    add_up(&mut numbers.lock().unwrap());
}

#[process]
fn add_up_raw_array(numbers: Shared<[AtomicI32]>) {
    for pair in numbers.windows(2) {
        pair[1].fetch_add(pair[0].load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[process]
fn add_up_owned_array(mut numbers: SharedMut<i32>) -> SharedMut<i32> {
    add_up(numbers.as_mut_slice());
    numbers
}

/// What `test_array` does with its array before it gives it away.
fn assign_a_slice(numbers: &mut [i32]) {
    assert_eq!(numbers.len(), SEQUENCE.len());
    assert_eq!(numbers[3], SEQUENCE[3]);
    assert_eq!(numbers[2..7], SEQUENCE[2..7]);
    numbers[4..8].copy_from_slice(&[1, 2, 3, 4]);
    assert_eq!(*numbers, [680, 626, 934, 821, 1, 2, 3, 4, 714, 831]);
}

/// What comes of it.
const ADDED_UP: [i32; 10] = [680, 1306, 2240, 3061, 3062, 3064, 3067, 3071, 3785, 4616];

each_start_method! {
    /// `test_array`
    fn test_array_with_a_lock_is_changed_in_place_elsewhere() {
        for by in BOTH {
            let array = Mutex::from_slice(&SEQUENCE)?;
            assign_a_slice(&mut array.lock().unwrap());
            by.start(add_up_array(array.clone())).join();
            assert_eq!(array.lock().unwrap()[..], ADDED_UP);
        }
    }

    /// `test_rawarray`: with atomic numbers, which all can change at once.
    fn test_rawarray_of_atomics_is_changed_in_place_elsewhere() {
        for by in BOTH {
            let array = Shared::from_fn(10, |index| AtomicI32::new(SEQUENCE[index]))?;
            assert_eq!(array.len(), 10);
            for (number, new) in array[4..8].iter().zip(1..) {
                number.store(new, Ordering::Relaxed);
            }
            by.start(add_up_raw_array(array.clone())).join();
            let seen: Vec<_> = array.iter().map(|number| number.load(Ordering::Relaxed)).collect();
            assert_eq!(seen, ADDED_UP);
        }
    }

    /// `test_rawarray`: with plain numbers, which one at a time can change.
    fn test_rawarray_of_one_owner_is_changed_in_place_elsewhere() {
        for by in BOTH {
            let mut array = SharedMut::from_slice(&SEQUENCE)?;
            assign_a_slice(array.as_mut_slice());
            let mut array = by.start(add_up_owned_array(array)).join();
            assert_eq!(*array.as_mut_slice(), ADDED_UP);
        }
    }

    only [forkserver ForkServer]
    /// `test_array_from_size`: zeros, whatever was there before.
    fn test_array_from_size_is_zeroed_on_memory_that_was_used_before() {
        for len in [10, 1_000, 100_000] {
            for _ in 0..3 {
                let mut array = SharedMut::<u32>::zeroed(len)?;
                assert_eq!(array.len(), len);
                assert!(array.as_mut_slice().iter().all(|number| *number == 0));
                array.as_mut_slice().fill(u32::MAX);
                assert!(array.as_mut_slice().iter().all(|number| *number == u32::MAX));

                let array = Mutex::<[u32]>::zeroed(len)?;
                let mut held = array.lock().unwrap();
                assert!(held.len() == len && held.iter().all(|number| *number == 0));
                held.fill(u32::MAX);

                let array = Shared::<[AtomicU32]>::zeroed(len)?;
                assert!(array.len() == len);
                assert!(array.iter().all(|n| n.swap(u32::MAX, Ordering::Relaxed) == 0));
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
struct Structure {
    x: i32,
    y: f64,
    z: i64,
}

/// All the kinds that `test_sharedctypes` knows.
type Kinds =
    (Mutex<i32>, Mutex<f64>, Mutex<i64>, Mutex<Structure>, Mutex<[f64]>, Mutex<ArrayString<20>>);

#[process]
fn double((x, y, z, structure, array, string): Kinds) {
    *x.lock().unwrap() *= 2;
    *y.lock().unwrap() *= 2.0;
    *z.lock().unwrap() *= 2;
    let mut structure = structure.lock().unwrap();
    *structure = Structure { x: structure.x * 2, y: structure.y * 2.0, ..*structure };
    array.lock().unwrap().iter_mut().for_each(|number| *number *= 2.0);
    let mut string = string.lock().unwrap();
    let again = string.to_string();
    string.push_str(&again).unwrap();
}

#[derive(Shareable)]
struct RawStructure {
    x: AtomicI32,
    y: AtomicU64,
}

#[derive(Shareable)]
struct RawKinds {
    x: AtomicI32,
    structure: RawStructure,
    array: [AtomicU64; 10],
    string: [AtomicU8; 20],
}

#[process]
fn double_raw(all: Shared<RawKinds>) {
    let double = |x: &AtomicI32| x.fetch_add(x.load(Ordering::Relaxed), Ordering::Relaxed);
    let double_float = |y: &AtomicU64| {
        let value = f64::from_bits(y.load(Ordering::Relaxed));
        y.store((value * 2.0).to_bits(), Ordering::Relaxed);
    };
    double(&all.x);
    double(&all.structure.x);
    double_float(&all.structure.y);
    all.array.iter().for_each(double_float);
    for (from, to) in all.string[..5].iter().zip(&all.string[5..]) {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

each_start_method! {
    /// `test_synchronize`
    fn test_synchronize_each_kind_that_is_doubled_elsewhere() {
        for by in BOTH {
            let numbers: Vec<_> = (0..10).map(f64::from).collect();
            let all: Kinds = (
                Mutex::new(7)?,
                Mutex::new(1.0 / 3.0)?,
                Mutex::new(1 << 33)?,
                Mutex::new(Structure { x: 3, y: 2.0, z: 1 << 33 })?,
                Mutex::from_slice(&numbers)?,
                Mutex::new(ArrayString::try_from("hello")?)?,
            );
            by.start(double(all.clone())).join();

            let (x, y, z, structure, array, string) = &all;
            assert_eq!((*x.lock().unwrap(), *y.lock().unwrap(), *z.lock().unwrap()), (14, 2.0 / 3.0, 1 << 34));
            assert_eq!(*structure.lock().unwrap(), Structure { x: 6, y: 4.0, z: 1 << 33 });
            assert!(array.lock().unwrap().iter().zip(0..).all(|(&n, index)| n == f64::from(index) * 2.0));
            assert_eq!(*string.lock().unwrap(), "hellohello");
        }
    }

    /// `test_sharedctypes`
    fn test_sharedctypes_each_kind_that_is_doubled_elsewhere() {
        for by in BOTH {
            let all = Shared::new(RawKinds {
                x: AtomicI32::new(7),
                structure: RawStructure { x: AtomicI32::new(3), y: AtomicU64::new(2f64.to_bits()) },
                array: std::array::from_fn(|n| AtomicU64::new((n as f64).to_bits())),
                string: std::array::from_fn(|n| AtomicU8::new(*b"hello".get(n).unwrap_or(&0))),
            })?;
            by.start(double_raw(all.clone())).join();

            assert_eq!(all.x.load(Ordering::Relaxed), 14);
            assert_eq!(all.structure.x.load(Ordering::Relaxed), 6);
            let float = |bits: &AtomicU64| f64::from_bits(bits.load(Ordering::Relaxed));
            assert_eq!(float(&all.structure.y), 4.0);
            assert!(all.array.iter().enumerate().all(|(n, bits)| float(bits) == n as f64 * 2.0));
            let text: Vec<_> = all.string.iter().map(|b| b.load(Ordering::Relaxed)).collect();
            assert_eq!(text, *b"hellohello\0\0\0\0\0\0\0\0\0\0");
        }
    }
}

/// `test_copy`
#[derive(Debug, Clone, Copy, PartialEq, Shareable, Zeroable)]
struct Reading<const N: usize> {
    name: ArrayString<8>,
    levels: ArrayVec<f64, N>,
    at: (u64, u8),
}

/// Of all kinds of memory: what was made of zeros, and of copies.
type Made = (
    Mutex<[Reading<3>]>,
    ReentrantLock<[Cell<u32>]>,
    ReentrantLock<[u32]>,
    SharedSlice<Reading<3>>,
    SharedSlice<usize>,
    Shared<[u32]>,
);

#[process]
fn look_and_change((readings, cells, copied, sealed, squares, plain): Made) {
    let none = Reading { name: ArrayString::new(), levels: ArrayVec::new(), at: (0, 0) };
    let mut readings = readings.lock().unwrap();
    assert_eq!((&*readings, &*sealed), (&[none; 100][..], &[none; 100][..]));
    readings[99].levels.push(2.5).unwrap();
    let cells = cells.lock().unwrap();
    assert!(cells.len() == 5 && cells.iter().all(|cell| cell.replace(7) == 0));
    assert_eq!((&*copied.lock().unwrap(), &*plain), (&[1, 2, 3][..], &[4, 5][..]));
    assert_eq!(*squares, [0, 1, 4, 9]);
}

each_start_method! {
    /// What a type can be made of, it can be made of in each kind of memory.
    fn zeros_and_copies_of_each_kind_are_seen_elsewhere() {
        let made: Made = (
            Mutex::zeroed(100)?,
            ReentrantLock::zeroed(5)?,
            ReentrantLock::from_slice(&[1, 2, 3])?,
            SharedSlice::zeroed(100)?,
            SharedSlice::from_fn(4, |index| index * index)?,
            Shared::from_slice(&[4, 5])?,
        );
        look_and_change(made.clone()).spawn()?.join()?;
        assert_eq!(made.0.lock().unwrap()[99].levels, [2.5]);
        assert!(made.1.lock().unwrap().iter().all(|cell| cell.get() == 7));
    }
}

#[test]
fn test_copy_is_independent_of_what_it_was_copied_from() {
    let structure = Mutex::new(Structure { x: 2, y: 5.0, z: 1 << 33 }).unwrap();
    let copy = *structure.lock().unwrap();
    let other = Mutex::new(copy).unwrap();
    *structure.lock().unwrap() = Structure { x: 0, y: 0.0, z: 0 };
    assert_eq!(copy, Structure { x: 2, y: 5.0, z: 1 << 33 });
    assert_eq!(*other.lock().unwrap(), copy);
    assert_eq!(*structure.lock().unwrap(), Structure { x: 0, y: 0.0, z: 0 });
}

/// Numbers that look random, by xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below
    }
}

/// Makes and drops memory of all sizes in any order; each piece must keep what was put into it.
fn make_and_drop(seed: u64, rounds: usize) {
    let mut dice = Dice(seed | 1);
    let mut pieces: Vec<(SharedMut<usize>, usize)> = Vec::new();
    for round in 0..rounds {
        let len = 1 << dice.roll(14); // up to 64 KiB
        let len = dice.roll(len) + 1;
        let stamp = round * 31 + seed as usize;
        pieces.push((SharedMut::from_fn(len, |index| stamp + index).unwrap(), stamp));
        if pieces.len() > 30 {
            let (mut piece, stamp) = pieces.swap_remove(dice.roll(30));
            let intact = piece.as_mut_slice().iter().enumerate();
            assert!(intact.into_iter().all(|(index, value)| *value == stamp + index));
        }
    }
}

thread_local! {
    /// Freed by the destructor of the thread's own storage.
    static KEPT: RefCell<Vec<Shared<AtomicU32>>> = const { RefCell::new(Vec::new()) };
}

static AT_EXIT: std::sync::Mutex<Option<(Shared<AtomicU32>, Shared<AtomicU32>)>> =
    std::sync::Mutex::new(None);

extern "C" fn free_at_exit() {
    if let Some((freed, witness)) = AT_EXIT.lock().unwrap().take() {
        witness.store(freed.load(Ordering::Relaxed), Ordering::Relaxed);
        drop(freed);
        witness.fetch_add(1, Ordering::Relaxed);
    }
}

#[process]
fn exit_with_memory(freed: Shared<AtomicU32>, witness: Shared<AtomicU32>) {
    *AT_EXIT.lock().unwrap() = Some((freed, witness));
    // SAFETY: the handler does not unwind out of C: that is an abort.
    unsafe { libc::atexit(free_at_exit) };
    std::process::exit(0);
}

each_start_method! {
    only [forkserver ForkServer]
    /// `test_heap`: there are no arenas here, each piece is one of its own.
    fn test_heap_of_5000_pieces_in_any_order_leaves_nothing() {
        make_and_drop(1, 100); // whatever is made on first use
        let before = Holdings::now();
        make_and_drop(2, 5_000);
        assert_eq!(Holdings::now(), before);
    }

    only [forkserver ForkServer]
    /// `test_heap`, by several threads at once.
    fn test_heap_of_many_threads_leaves_nothing() {
        let all = || {
            thread::scope(|scope| {
                let threads = [1, 2, 3, 4].map(|n| scope.spawn(move || make_and_drop(n, 500)));
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            });
        };
        all();
        let before = Holdings::now().descriptors;
        all();
        assert_eq!(Holdings::now().descriptors, before);
        let left = std::fs::read_to_string("/proc/self/maps")?;
        assert!(!left.contains("memfd:offspring-shared"), "{left}");
    }

    only [forkserver ForkServer]
    /// `test_free_from_gc`: a destructor may come while other memory is being made.
    fn test_free_from_gc_while_other_memory_is_made() {
        let mut others = Vec::new();
        for _ in 0..100 {
            others.push(Shared::new(AtomicU32::new(0))?);
        }
        let before = tests::descriptors().len();
        let memory = Shared::from_fn(100, |index| {
            drop(others.pop());
            AtomicU32::new(index as u32)
        })?;
        assert_eq!(tests::descriptors().len(), before - 100 + 1);
        assert!(memory.iter().zip(0..).all(|(value, n)| value.load(Ordering::Relaxed) == n));
    }

    only [forkserver ForkServer]
    /// `test_free_from_gc`: at the end of a thread, while others make more.
    fn test_free_from_gc_at_the_end_of_threads() {
        let before = tests::descriptors().len();
        for _ in 0..20 {
            let threads = [0; 4].map(|_| {
                thread::spawn(|| {
                    for _ in 0..20 {
                        let memory = Shared::new(AtomicU32::new(0)).unwrap();
                        KEPT.with_borrow_mut(|kept| kept.push(memory));
                    }
                })
            });
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        assert_eq!(tests::descriptors().len(), before);
    }
}

each_start_method! {
    /// `test_free_from_gc`: in the handlers of a program's end.
    fn test_free_from_gc_at_the_end_of_a_process() {
        let (freed, witness) = (Shared::new(AtomicU32::new(5))?, Shared::new(AtomicU32::new(0))?);
        let child = exit_with_memory(freed, witness.clone()).spawn()?;
        assert!(child.wait()?.success());
        assert_eq!(witness.load(Ordering::Relaxed), 6);
    }
}
