//! The memory that the two ends of a pipe share: for each direction a ring, and what belongs to it.
//!
//! It is a file that is empty until somebody uses the pipe. All zeros are two directions in which
//! nothing was ever sent, so nobody has to be the first; and a process maps it when it sends, receives or
//! looks for the first time.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use nix::fcntl::SealFlag;
use nix::sys::stat::fstat;

use crate::ring::{self, Consuming, NotInTime, Producing, Ring, Store};
use crate::sync::gate::Gate;
use crate::sys::mapping::Mapping;
use crate::sys::memfd;
use crate::sys::poll::Wait;
use crate::wire::endpoint::{self, Endpoint};

/// The longest that the ring of a direction can become. Two of the longest messages fit into what
/// is left of it when it is half full, wherever they come to lie.
pub(super) const RING_MAX: usize = 1 << 20;
/// For the state of both directions.
const STATE: usize = 4096;

/// One direction, in shared memory.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Direction {
    pub(super) ring: ring::State,
    /// Where senders wait for room in the ring.
    pub(super) room: Gate,
    /// Not 0 if the last packet of ours in the socket is a [bell](super::bell). Changed under the
    /// senders' mutex.
    pub(super) bell: AtomicU32,
    /// How many messages went through the socket before the ring was used; [`RING`] from then on.
    /// Changed under the senders' mutex.
    pub(super) packets: AtomicU32,
    /// Not 0 if somebody has borrowed a receiver's descriptor.
    pub(super) watched: AtomicU32,
    /// Grows when a process lets go of its receivers.
    pub(super) left: AtomicU32,
}

/// See [`Direction::packets`].
pub(super) const RING: u32 = u32::MAX;

const _: () = assert!(2 * size_of::<Direction>() <= STATE);

impl Direction {
    /// Whether messages go through the ring.
    #[inline]
    pub(super) fn uses_ring(&self) -> bool {
        self.packets.load(Ordering::Relaxed) == RING
    }

    /// Whether so much of the ring is free that the longest message fits in. If the ring is not as
    /// long as it may be, it can grow.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.ring.used() <= RING_MAX / 2
    }
}

/// What a process has of it.
#[derive(Debug)]
pub(super) struct Memory {
    file: Arc<Endpoint>,
    /// How often the process was cut off from others when it came here.
    cuts: u32,
    mapped: OnceLock<Box<Mapped>>,
}

#[derive(Debug)]
struct Mapped {
    state: Mapping,
    stores: [Store; 2],
}

impl Memory {
    /// Nothing, if there is no descriptor for it: such a pipe does without.
    pub(super) fn create() -> Option<Arc<Self>> {
        crate::sync::check().ok()?;
        memfd::create("pipe-of-offspring").ok().map(Self::of)
    }

    fn of(file: OwnedFd) -> Arc<Self> {
        let file = Arc::new(Endpoint::new(file));
        Arc::new(Self { file, cuts: endpoint::cuts(), mapped: OnceLock::new() })
    }

    /// What has come from another process; `None` if it is no file of this kind.
    pub(super) fn adopt(file: OwnedFd) -> Option<Arc<Self>> {
        memfd::is_sealed(file.as_fd(), SealFlag::empty()).then(|| Self::of(file))
    }

    pub(super) fn file(&self) -> &Endpoint {
        &self.file
    }

    /// Whether it belongs to the process that this one is a copy of.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cuts != endpoint::cuts()
    }

    /// One of the two directions.
    ///
    /// # Errors
    /// If there is no memory for it, or it is not what it should be.
    #[inline]
    pub(super) fn way(&self, direction: usize) -> io::Result<Way<'_>> {
        let mapped = match self.mapped.get() {
            Some(mapped) => mapped,
            None => self.map()?,
        };
        Ok(mapped.way(direction))
    }

    #[cold]
    fn map(&self) -> io::Result<&Mapped> {
        crate::sync::check().map_err(io::Error::other)?;
        let file = self.file.as_fd();
        // Then touching it never fails; and what is mapped stays.
        memfd::allocate(file, STATE)?;
        memfd::seal(file, SealFlag::F_SEAL_SHRINK)?;
        let part =
            |number| Store::part_of(Arc::clone(&self.file), STATE + number * RING_MAX, RING_MAX);
        let state = Mapping::writable(file, STATE)?;
        let mapped = Mapped { state, stores: [part(0), part(1)] };
        // If another thread was quicker, this one goes.
        Ok(self.mapped.get_or_init(|| Box::new(mapped)))
    }

    /// Tells the senders of this direction that this process has no receiver any more: its socket
    /// is closed. They cannot have noticed otherwise, if they use the ring.
    pub(super) fn leave(&self, direction: usize) {
        if self.is_cut_off() {
            return;
        }
        // Where nobody has mapped it, nobody uses the ring; who is about to will find out by the
        // socket.
        let is_used = || fstat(self.file.as_fd()).is_ok_and(|file| file.st_blocks > 0);
        if (self.mapped.get().is_some() || is_used())
            && let Ok(Way { direction, .. }) = self.way(direction)
        {
            direction.left.fetch_add(1, Ordering::SeqCst);
            direction.room.open(u32::MAX);
        }
    }
}

impl Mapped {
    #[inline]
    fn way(&self, number: usize) -> Way<'_> {
        assert!(number < 2);
        // SAFETY: both directions lie within the mapping, which is aligned to pages and lives as long
        // as this value. Any bytes are a direction, and all who have it change it through shared
        // references.
        let direction = unsafe { self.state.start().cast::<Direction>().add(number).as_ref() };
        Way { direction, store: &self.stores[number] }
    }
}

/// One direction, as this process sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) direction: &'a Direction,
    store: &'a Store,
}

impl<'a> Way<'a> {
    #[inline]
    fn ring(self) -> Ring<'a> {
        Ring { state: &self.direction.ring, store: self.store }
    }

    /// Takes the mutex of the senders.
    #[inline]
    pub(super) fn sending(self, wait: Wait) -> Result<Producing<'a>, NotInTime> {
        self.ring().patiently(Ring::producing, wait)
    }

    /// Takes the mutex of the receivers. That of the senders is taken before.
    #[inline]
    pub(super) fn receiving(self, wait: Wait) -> Result<Consuming<'a>, NotInTime> {
        self.ring().patiently(Ring::consuming, wait)
    }
}
