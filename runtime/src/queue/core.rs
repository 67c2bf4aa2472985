//! A queue of bytes and descriptors, as one process has it: putting and getting, waking, and what goes
//! beside the ring.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::errno::Errno;

use super::presence::Presence;
use super::state::State;
use super::waiting::{Common, For, GaveUp, Here, Waiter};
use crate::error::{Error, Result};
use crate::ring::{Consuming, NoRoom, NotInTime, Producing, Ring, Store, What};
use crate::shm::object::{Kind, Object};
use crate::shm::segment::Id;
use crate::sync::gate::Gate;
use crate::sync::slots::Slot;
use crate::sys::poll::{self, Wait};
use crate::sys::{copies, event, socket};
use crate::wire::endpoint::Endpoint;
use crate::wire::{self, DecodeError, Parcel, RecvFailure, Scratch, SendFailure};

/// An item of more bytes than this goes in a sealed file of its own: it is copied once, and holds nobody
/// up meanwhile.
const LARGE: usize = 1 << 20;

/// An item that goes beside the ring.
const BESIDE: wire::Kind = wire::Kind(b'q');

impl Kind for State {
    const NAME: &'static str = "Queue";
    type Tail = Slot;
    const TAIL_MAX: usize = 4096;

    fn tail_len(&self) -> usize {
        self.places.load(Ordering::SeqCst) as usize
    }

    fn check() -> Result<()> {
        crate::sync::check()
    }
}

/// What this process has of a queue. All of its handles share it.
#[derive(Debug)]
pub(super) struct Core {
    object: Object<State, ()>,
    store: Store,
    presence: Presence,
    /// Which of this process's handles wait.
    here: Here,
    /// The two ends of the socket for what goes beside the ring.
    outward: Endpoint,
    inward: Endpoint,
    /// Can be read when a [`wait`](crate::wait()) should look again.
    bell: Endpoint,
    /// Which copy of the process it belongs to.
    copy: u32,
}

/// The queues that this process has, so that it has each only once.
static OPEN: Mutex<Option<HashMap<Id, Weak<Core>>>> = Mutex::new(None);

fn open() -> MutexGuard<'static, Option<HashMap<Id, Weak<Core>>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why something was not put.
#[derive(Debug)]
pub(super) enum PutProblem {
    TimedOut,
    Closed,
    Disconnected,
    /// There is no memory, or no descriptor.
    Os(Error),
}

/// Why nothing was got.
#[derive(Debug)]
pub(super) enum GetProblem {
    TimedOut,
    Closed,
    Disconnected,
    Decode(DecodeError),
    DescriptorsLost,
    /// What is there is nothing that a queue holds.
    Corrupt,
    Os(io::Error),
}

impl From<io::Error> for GetProblem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Corrupt,
            _ => Self::Os(error),
        }
    }
}

macro_rules! gave_up {
    ($($problem:ident)*) => {$(
        impl From<GaveUp> for $problem {
            fn from(reason: GaveUp) -> Self {
                match reason {
                    GaveUp::TimedOut => Self::TimedOut,
                    GaveUp::Disconnected => Self::Disconnected,
                }
            }
        }

        impl From<NotInTime> for $problem {
            fn from(NotInTime: NotInTime) -> Self {
                Self::TimedOut
            }
        }
    )*};
}

gave_up!(PutProblem GetProblem);

impl From<NoRoom> for PutProblem {
    fn from(reason: NoRoom) -> Self {
        Self::Os(match reason {
            NoRoom::Full(len) => {
                Error::TooLarge { what: "bytes in a queue".into(), len, max: Store::MAX }
            }
            NoRoom::Failed(error) => error,
        })
    }
}

fn failed(error: impl Into<io::Error>) -> PutProblem {
    PutProblem::Os(Error::os("put something into a queue", error))
}

impl Core {
    pub(super) fn create(capacity: Option<u32>, place: &Location<'_>) -> Result<Arc<Self>> {
        copies::watch();
        let failed = |error: Errno| Error::os("make a queue", error);
        let object = Object::new(State::new(capacity), (), place)?;
        let store = Store::create()?;
        let (outward, inward) = socket::pair().map_err(failed)?;
        let core = Self {
            object,
            store,
            presence: Presence::new().map_err(failed)?,
            here: Here::default(),
            outward: Endpoint::new(outward),
            inward: Endpoint::new(inward),
            bell: Endpoint::new(event::new_event().map_err(failed)?),
            copy: copies::count(),
        };
        Ok(core.enlist())
    }

    fn enlist(self) -> Arc<Self> {
        let core = Arc::new(self);
        let mut open = open();
        let open = open.get_or_insert_default();
        open.retain(|_, core| core.strong_count() > 0);
        open.insert(core.object.id(), Arc::downgrade(&core));
        core
    }

    /// The descriptors of a handle for somebody else.
    pub(super) fn share(&self) -> io::Result<Shared<'_>> {
        self.check_copy()?;
        Ok(Shared { core: self, token: self.presence.another()? })
    }

    /// The queue that these descriptors are, which may be here already.
    pub(super) fn adopt(fds: Vec<OwnedFd>) -> Result<Arc<Self>, String> {
        let fds: [OwnedFd; 7] = fds.try_into().map_err(|_| "descriptors are missing")?;
        let [state, store, tokens, token, outward, inward, bell] = fds;
        let object = Object::<State, ()>::adopt(state)?;
        copies::watch();
        let known = open().as_ref().and_then(|open| open.get(&object.id())?.upgrade());
        if let Some(known) = known.filter(|known| known.copy == copies::count()) {
            known.here.keep(Endpoint::new(token));
            return Ok(known);
        }
        let core = Self {
            object,
            store: Store::of(store),
            presence: Presence::of(tokens, token),
            here: Here::default(),
            outward: Endpoint::new(outward),
            inward: Endpoint::new(inward),
            bell: Endpoint::new(bell),
            copy: copies::count(),
        };
        Ok(core.enlist())
    }

    pub(super) fn state(&self) -> &State {
        self.object.state()
    }

    pub(super) fn place(&self) -> &str {
        self.object.place()
    }

    pub(super) fn object(&self) -> &Object<State, ()> {
        &self.object
    }

    pub(super) fn here(&self) -> &Here {
        &self.here
    }

    pub(super) fn common(&self) -> Common<'_> {
        let State { wakings, verdicts, places, .. } = self.object.state();
        Common { wakings, verdicts, places }
    }

    /// Whether there are just so many processes and messages that have the queue, this one among
    /// them.
    pub(super) fn has_tokens(&self, count: usize) -> bool {
        self.presence.is(count)
    }

    /// Where one waits for it; what is to be waited for otherwise has no gate.
    pub(super) fn gate(&self, what: For) -> Option<&Gate> {
        let state = self.object.state();
        match what {
            For::Item => Some(&state.items),
            For::Room => Some(&state.room),
            For::RoomBeside => None,
            For::Finish => Some(&state.finished),
        }
    }

    /// Whether it is there, so that there is no need to wait.
    pub(super) fn is_there(&self, what: For) -> bool {
        let state = self.object.state();
        match what {
            For::Item => state.count() > 0 || state.is_closed(),
            For::Room => !state.is_full() || state.is_closed(),
            For::RoomBeside => self.is_room_beside(Wait::Never) || state.is_closed(),
            For::Finish => state.is_finished(),
        }
    }

    fn ring(&self) -> Ring<'_> {
        Ring { state: &self.object.state().ring, store: &self.store }
    }

    /// An error in a forked copy of the process whose handle this is: it is not counted.
    #[inline]
    fn check_copy(&self) -> io::Result<()> {
        if self.is_of_this_process() {
            return Ok(());
        }
        Err(io::Error::other("this queue belongs to the process that this one is a copy of"))
    }

    #[inline]
    pub(super) fn is_of_this_process(&self) -> bool {
        self.copy == copies::count()
    }

    #[inline]
    fn produce(&self, wait: Wait) -> Result<Producing<'_>, PutProblem> {
        self.check_copy().map_err(failed)?;
        let side = self.ring().patiently(Ring::producing, wait)?;
        if self.state().is_closed() { Err(PutProblem::Closed) } else { Ok(side) }
    }

    /// Puts an item into the queue.
    #[inline]
    pub(super) fn put(
        self: &Arc<Self>,
        payload: &[u8],
        fds: &[OwnedFd],
        wait: Wait,
    ) -> Result<(), PutProblem> {
        let mut waiter = Waiter::new(self, For::Room, wait);
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        // Ready before anybody is kept out.
        let mut parcel = match fds.is_empty() && payload.len() <= LARGE {
            true => None,
            false => match Parcel::new(payload, &fds) {
                Ok(parcel) => Some(parcel),
                Err(_) if fds.is_empty() => None,
                Err(other) => return Err(failed(other)),
            },
        };
        let mut beside = Waiter::new(self, For::RoomBeside, wait);
        let mut last_try = wait == Wait::Never;
        loop {
            let mut side = self.produce(wait)?;
            if side.is_full() {
                drop(side);
                waiter.wait()?;
                continue;
            }
            let inside = if parcel.is_some() { &[] } else { payload };
            // From here on nothing can fail but the sending of what goes beside.
            let place = side.reserve(inside.len())?;
            let what = match &mut parcel {
                None => What::Item,
                Some(ready) => {
                    let tag = side.new_tag();
                    match ready.send(self.outward.as_fd(), (BESIDE, tag), Wait::Never) {
                        Ok(()) => What::Beside(tag),
                        Err(failure) => {
                            side.take_tag_back();
                            match failure {
                                // It need not go there.
                                _ if fds.is_empty() => parcel = None,
                                SendFailure::TimedOut if self.drain(&side) => {}
                                SendFailure::TimedOut if last_try => {
                                    return Err(PutProblem::TimedOut);
                                }
                                SendFailure::TimedOut => {
                                    drop(side);
                                    // Others may have use for the room in the ring.
                                    waiter.done();
                                    match beside.wait() {
                                        // The kernel says that there is room when there is much.
                                        Err(GaveUp::TimedOut) => last_try = true,
                                        other => other?,
                                    }
                                }
                                other => return Err(failed(other)),
                            }
                            continue;
                        }
                    }
                }
            };
            side.write(place, what, inside);
            self.state().items.open_after(1, || side.publish());
            drop(side);
            self.ring_bell();
            return Ok(());
        }
    }

    /// Throws away what producers have left in the socket that were killed, if nothing else is there.
    /// Otherwise who takes the items does that.
    fn drain(&self, _side: &Producing<'_>) -> bool {
        // With both mutexes, so that what is there belongs to an item in the ring, or to nobody.
        let Ok(_others) = self.ring().consuming(Wait::Never) else { return false };
        let mut drained = false;
        if self.state().count() == 0 {
            while wire::next_tag(self.inward.as_fd()).is_ok_and(|next| next.is_some()) {
                let _ = wire::recv(self.inward.as_fd(), Wait::Never, |_| ());
                drained = true;
            }
        }
        drained
    }

    /// Whether the socket takes something more, once this time is over.
    pub(super) fn is_room_beside(&self, wait: Wait) -> bool {
        // If that is not to be learnt, trying will tell.
        poll::writable(self.outward.as_fd(), wait).unwrap_or(true)
    }

    /// Puts so many of these plain items into the queue as there is room for, and waits until that is
    /// one at least. They are one after the other in `bytes`, and end at `ends`, of which the first `done`
    /// are in the queue already.
    pub(super) fn put_some(
        self: &Arc<Self>,
        bytes: &[u8],
        ends: &[usize],
        done: usize,
        wait: Wait,
    ) -> Result<usize, (usize, PutProblem)> {
        let state = self.state();
        let mut waiter = Waiter::new(self, For::Room, wait);
        loop {
            let mut side = self.produce(wait).map_err(|problem| (0, problem))?;
            let mut put = 0;
            let mut from = if done == 0 { 0 } else { ends[done - 1] };
            let mut problem = None;
            for &to in &ends[done..] {
                if side.is_full() {
                    break;
                }
                let payload = &bytes[from..to];
                match side.reserve(payload.len()) {
                    Ok(place) => side.write(place, What::Item, payload),
                    Err(error) => {
                        problem = Some(error.into());
                        break;
                    }
                }
                (put, from) = (put + 1, to);
            }
            if put > 0 {
                state.items.open_after(put as u32, || side.publish());
                drop(side);
                self.ring_bell();
            } else {
                drop(side);
            }
            match problem {
                Some(problem) => return Err((put, problem)),
                None if put > 0 => return Ok(put),
                None => waiter.wait().map_err(|reason| (0, reason.into()))?,
            }
        }
    }

    /// Gets the next item, as what `decode` makes of it.
    #[inline]
    pub(super) fn get<R>(
        self: &Arc<Self>,
        wait: Wait,
        decode: impl Fn(&[u8], Vec<OwnedFd>) -> R,
    ) -> Result<R, GetProblem> {
        let state = self.state();
        let mut waiter = Waiter::new(self, For::Item, wait);
        self.check_copy().map_err(GetProblem::Os)?;
        loop {
            // Before the look: what is put before the closing is seen.
            let closed = state.is_closed();
            let side = self.ring().patiently(Ring::consuming, wait)?;
            match self.take(side, &mut waiter, &decode)? {
                Some(value) => return Ok(value),
                None if closed => return Err(GetProblem::Closed),
                None => waiter.wait()?,
            }
        }
    }

    /// Takes the next item, if there is one. It is decoded when others can go on.
    #[inline]
    fn take<R>(
        &self,
        mut side: Consuming<'_>,
        waiter: &mut Waiter<'_>,
        decode: impl Fn(&[u8], Vec<OwnedFd>) -> R,
    ) -> Result<Option<R>, GetProblem> {
        loop {
            let Some(record) = side.next()? else { return Ok(None) };
            let after = record.after;
            match record.what {
                What::Item => {
                    let mut scratch = Scratch::new();
                    scratch.0.extend_from_slice(record.payload);
                    side.take(after);
                    self.free(&side, 1);
                    drop(side);
                    waiter.done();
                    return Ok(Some(decode(&scratch.0, Vec::new())));
                }
                What::Bytes => return Err(GetProblem::Corrupt),
                What::Beside(tag) => {
                    side.take(after);
                    if !self.is_beside(tag)? {
                        // It was in the hands of one that was killed.
                        self.free(&side, 1);
                        continue;
                    }
                    let mut side = Some(side);
                    let done = || {
                        if let Some(side) = side.take() {
                            self.free(&side, 1);
                        }
                        waiter.done();
                    };
                    // Nobody is kept out while it is mapped and decoded.
                    let inward = self.inward.as_fd();
                    let received = wire::recv_then(inward, Wait::Never, done, |packet| {
                        Some(decode(packet.payload, packet.fds))
                    });
                    return received.map_err(|failure| match failure {
                        RecvFailure::DescriptorsLost => GetProblem::DescriptorsLost,
                        RecvFailure::Os(error) => GetProblem::Os(error),
                        _ => GetProblem::Corrupt,
                    });
                }
            }
        }
    }

    /// Frees the room of what was taken.
    #[inline]
    fn free(&self, side: &Consuming<'_>, items: u32) {
        self.state().room.open_after(items, || side.publish());
        side.tidy();
    }

    /// Whether the item of this number is next in the socket. What is before it was sent by
    /// producers that were killed before the item was in the queue.
    fn is_beside(&self, tag: u16) -> Result<bool, GetProblem> {
        let socket = self.inward.as_fd();
        loop {
            match wire::next_tag(socket).map_err(io::Error::from)? {
                Some(next) if next == tag => return Ok(true),
                Some(next) if tag.wrapping_sub(next) < u16::MAX / 2 => {
                    let _ = wire::recv(socket, Wait::Never, |_| ());
                }
                _ => return Ok(false),
            }
        }
    }

    /// Gets the plain items that are next, up to `max` and without waiting: appends their bytes, and
    /// says where each ends. None, if there is nothing or the next is not plain.
    pub(super) fn get_some(
        &self,
        max: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<Vec<usize>, GetProblem> {
        let mut ends = Vec::new();
        let mut side = self.ring().patiently(Ring::consuming, Wait::Never)?;
        while ends.len() < max
            && let Some(record) = side.next()?
            && record.what == What::Item
        {
            bytes.extend_from_slice(record.payload);
            ends.push(bytes.len());
            let after = record.after;
            side.take(after);
        }
        if !ends.is_empty() {
            self.free(&side, ends.len() as u32);
        }
        Ok(ends)
    }

    /// Nothing more is put from now on.
    pub(super) fn close(&self) {
        let state = self.state();
        // With the producers' mutex, so that nothing comes in after somebody has found it closed.
        let side = self.ring().producing(Wait::Forever);
        state.closed.store(1, Ordering::SeqCst);
        drop(side);
        self.wake_all();
    }

    /// One of this process's handles goes. If the others wait, it may be that they do so for it.
    pub(super) fn leave(self: &Arc<Self>) {
        if self.is_of_this_process() {
            let others = Arc::strong_count(self) - 1;
            if others == 1 || others > 1 && self.here.all_wait(self, 1) {
                self.wake_all();
            }
        }
    }

    /// Has all who wait look again.
    pub(super) fn wake_all(&self) {
        let gates = For::ALL.into_iter().filter_map(|what| self.gate(what));
        gates.for_each(|gate| gate.open(u32::MAX));
        self.ring_bell();
    }

    /// Says that one item more is done; false if all are.
    pub(super) fn task_done(&self) -> bool {
        let state = self.state();
        let done = state.done.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |done| {
            (done != state.ever_put()).then(|| done.wrapping_add(1))
        });
        if done.is_ok_and(|before| before.wrapping_add(1) == state.ever_put()) {
            state.finished.open_after(u32::MAX, || {});
        }
        done.is_ok()
    }

    /// Waits until all items are done.
    pub(super) fn join(self: &Arc<Self>, wait: Wait) -> Result<(), GetProblem> {
        let mut waiter = Waiter::new(self, For::Finish, wait);
        self.check_copy().map_err(GetProblem::Os)?;
        while !self.state().is_finished() {
            waiter.wait()?;
        }
        Ok(())
    }

    /// Tells those that wait for descriptors.
    #[inline]
    fn ring_bell(&self) {
        let wanted = &self.state().bell_wanted;
        if wanted.load(Ordering::SeqCst) != 0 {
            wanted.store(0, Ordering::SeqCst);
            let _ = event::ring(&self.bell);
        }
    }

    /// Whether `get` would return at once.
    pub(super) fn is_ready(self: &Arc<Self>) -> bool {
        self.is_there(For::Item) || self.is_alone()
    }

    /// Has the [bell](Self::bell) rung when it may be ready. True if it is now.
    pub(super) fn listen(self: &Arc<Self>) -> bool {
        let wanted = &self.state().bell_wanted;
        wanted.store(1, Ordering::SeqCst);
        if self.is_ready() || !self.is_of_this_process() {
            return true;
        }
        // What has rung was heard. It may have been for others as well: they look again, as this does.
        if event::still(&self.bell) {
            wanted.store(1, Ordering::SeqCst);
            if self.is_ready() {
                let _ = event::ring(&self.bell);
                return true;
            }
        }
        false
    }

    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// A handle on its way.
pub(super) struct Shared<'a> {
    core: &'a Core,
    token: OwnedFd,
}

impl Shared<'_> {
    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 7] {
        let Core { object, store, presence, outward, inward, bell, .. } = self.core;
        [
            object.segment().as_fd(),
            store.file().as_fd(),
            presence.tokens().as_fd(),
            self.token.as_fd(),
            outward.as_fd(),
            inward.as_fd(),
            bell.as_fd(),
        ]
    }
}
