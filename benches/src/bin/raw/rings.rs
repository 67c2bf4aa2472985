//! A ring of items in shared memory, for one producer and one consumer: no system call while both are
//! awake. No one finds out when the other side has died.
//!
//! Each slot says whose turn it is. So a side that waits looks at that slot, and the counts that must
//! be stored and seen in order stay with the side that stores them.

use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::mem::MaybeUninit;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};

use benches::queues::BOUND;

use crate::futex::{sleep, wake};
use crate::shared::shared;

/// How often a side looks again before it sleeps. The pauses between the looks double: all take some
/// microseconds.
const LOOKS: u32 = 8;

const LEN: u32 = BOUND as u32;

/// A word on a cache line of its own.
#[repr(align(64))]
struct Line(AtomicU32);

/// What one side says of itself.
struct Side {
    /// How many items it has begun to put, or to get.
    begun: Line,
    /// 1 while it may sleep: set by itself, taken away by the other.
    sleeps: Line,
}

impl Side {
    const fn new() -> Self {
        Self { begun: Line(AtomicU32::new(0)), sleeps: Line(AtomicU32::new(0)) }
    }

    /// Waits until the slot says that it is this side's `turn`: that is after `other` has begun so
    /// many items.
    fn wait(&self, slot: &AtomicU32, turn: u32, other: &Side, begun: u32) {
        let is_turn = || slot.load(Acquire) == turn;
        for number in 0..LOOKS {
            if is_turn() {
                return;
            }
            (0..1 << number).for_each(|_| spin_loop());
        }
        while !is_turn() {
            // Then it looks who has begun, and the other one the other way round: one sees it.
            self.sleeps.0.store(1, SeqCst);
            if other.begun.0.load(SeqCst).wrapping_sub(begun).cast_signed() < 0 {
                sleep(&self.sleeps.0, 1);
            }
            self.sleeps.0.store(0, SeqCst);
        }
    }
}

struct Slot<T> {
    turn: AtomicU32,
    item: UnsafeCell<MaybeUninit<T>>,
}

struct Ring<T> {
    producer: Side,
    consumer: Side,
    slots: [Slot<T>; BOUND],
}

// SAFETY: an item belongs to the producer or to the consumer, as its slot says.
unsafe impl<T: Copy + Send> Sync for Ring<T> {}

impl<T> Slot<T> {
    /// Does something with the item, which is this side's, and gives it to the other side.
    fn pass<R>(
        &self,
        number: u32,
        [side, other]: [&Side; 2],
        turn: u32,
        act: impl FnOnce(*mut MaybeUninit<T>) -> R,
    ) -> R {
        side.begun.0.store(number.wrapping_add(1), SeqCst);
        let other_sleeps = other.sleeps.0.load(SeqCst) != 0;
        let result = act(self.item.get());
        self.turn.store(turn, Release);
        if other_sleeps {
            other.sleeps.0.store(0, SeqCst);
            wake(&other.sleeps.0, 1);
        }
        result
    }
}

/// The end of the producer.
pub(crate) struct Producer<T: 'static> {
    ring: &'static Ring<T>,
    put: Cell<u32>,
}

/// The end of the consumer.
pub(crate) struct Consumer<T: 'static> {
    ring: &'static Ring<T>,
    got: Cell<u32>,
}

/// A ring that this process shares with its forks. Each end is for one of them.
pub(crate) fn ring<T: Copy + Send>() -> (Producer<T>, Consumer<T>) {
    let slots = std::array::from_fn(|index| Slot {
        turn: AtomicU32::new(index as u32),
        item: UnsafeCell::new(MaybeUninit::uninit()),
    });
    let ring = shared(Ring { producer: Side::new(), consumer: Side::new(), slots });
    (Producer { ring, put: Cell::new(0) }, Consumer { ring, got: Cell::new(0) })
}

impl<T: Copy> Producer<T> {
    pub(crate) fn put(&self, item: T) {
        let Ring { producer, consumer, slots } = self.ring;
        let number = self.put.replace(self.put.get().wrapping_add(1));
        let slot = &slots[number as usize % BOUND];
        producer.wait(&slot.turn, number, consumer, number.wrapping_sub(LEN).wrapping_add(1));
        slot.pass(number, [producer, consumer], number.wrapping_add(1), |place| {
            // SAFETY: it is the producer's turn.
            unsafe { place.write(MaybeUninit::new(item)) };
        });
    }
}

impl<T: Copy> Consumer<T> {
    pub(crate) fn get(&self) -> T {
        let Ring { producer, consumer, slots } = self.ring;
        let number = self.got.replace(self.got.get().wrapping_add(1));
        let slot = &slots[number as usize % BOUND];
        let after = number.wrapping_add(1);
        consumer.wait(&slot.turn, after, producer, after);
        slot.pass(number, [consumer, producer], number.wrapping_add(LEN), |place| {
            // SAFETY: it is the consumer's turn, after the producer has put something there.
            unsafe { place.read().assume_init() }
        })
    }
}
