//! What is received is checked before it is touched.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use offspring::Fd;
use offspring::shm::{Shared, SharedMut, SharedSlice};
use offspring::sync::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::each_start_method;
use tests::forgery::forge;

use super::{counts, only_memory, zeros};

/// Crosses as what is in it, and wants to be something else there.
macro_rules! disguise {
    ($name:ident: $from:ty => $to:ty) => {
        struct $name {
            from: Option<$from>,
            to: Option<$to>,
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.from.as_ref().expect("what is to be sent").serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$to>::deserialize(deserializer).map(|to| Self { from: None, to: Some(to) })
            }
        }
    };
}

disguise!(SliceOfOther: SharedSlice<u32> => SharedSlice<i32>);
disguise!(SliceAsShared: SharedSlice<u32> => Shared<[u32]>);
disguise!(SharedAsSlice: Shared<[u32]> => SharedSlice<u32>);
disguise!(SharedOfOther: Shared<AtomicU64> => Shared<AtomicI64>);
disguise!(ManyAsOne: Shared<[AtomicU32]> => Shared<AtomicU32>);
disguise!(MutexAsShared: Mutex<u64> => Shared<u64>);
disguise!(SharedAsMutex: Shared<u64> => Mutex<u64>);
disguise!(FileAsSlice: Fd<OwnedFd> => SharedSlice<u32>);
disguise!(Honest: SharedSlice<u32> => SharedSlice<u32>);

macro_rules! crossed {
    ($type:ident, $from:expr) => {{
        let (tx, rx) = offspring::pipe()?;
        tx.send($type { from: Some($from), to: None })?;
        match rx.recv() {
            Ok($type { to, .. }) => Ok(to.expect("what has come")),
            Err(offspring::pipe::RecvError::Decode(error)) => Err(error.to_string()),
            Err(other) => panic!("{other:?}"),
        }
    }};
}

macro_rules! refused {
    ($type:ident, $from:expr, $text:literal) => {
        match crossed!($type, $from) {
            Err(error) => assert!(error.contains($text), "{}: {error}", stringify!($type)),
            Ok(_) => panic!("{}: it was taken for what it is not", stringify!($type)),
        }
    };
}

/// What becomes of a file that somebody says is a `$type`, past all types.
macro_rules! forged {
    ($type:ty as $name:literal, $file:expr) => {{
        let (tx, rx) = offspring::pipe::<$type>()?;
        forge(&tx, $name, &$file, [0; 2]);
        match rx.recv() {
            Ok(taken) => Ok(taken),
            Err(offspring::pipe::RecvError::Decode(error)) => Err(error.to_string()),
            Err(other) => panic!("{other:?}"),
        }
    }};
}

macro_rules! forgery_refused {
    ($type:ty as $name:literal, $file:expr, $text:expr) => {
        match forged!($type as $name, $file) {
            Err(error) => assert!(error.contains($text), "{}: {error}", $name),
            Ok(_) => panic!("{}: it was taken for what it is not", $name),
        }
    };
}

/// A copy of the bytes of some memory, of which this process has one, in a file of its own.
fn copy_of_memory(len: impl Fn(u64) -> u64, seals: SealFlag) -> OwnedFd {
    let original = File::open(format!("/proc/self/fd/{}", only_memory())).unwrap();
    let size = original.metadata().unwrap().size();
    let mut bytes = vec![0; size as usize];
    original.read_exact_at(&mut bytes, 0).unwrap();
    bytes.resize(len(size) as usize, 0);
    let copy = File::from(memfd_create("forged", MFdFlags::MFD_ALLOW_SEALING).unwrap());
    copy.write_all_at(&bytes, 0).unwrap();
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    copy.into()
}

const ALL_SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE)
    .union(SealFlag::F_SEAL_SEAL);

each_start_method! {
    only [forkserver ForkServer]
    fn what_is_of_another_kind_or_type_is_refused() {
        assert_eq!(crossed!(Honest, SharedSlice::try_from_iter(0..3)?).map(|s| s.to_vec())?, [0, 1, 2]);

        let slice = || SharedSlice::try_from_iter(0..3u32);
        refused!(SliceOfOther, slice()?, "what came is no SharedSlice");
        refused!(SliceAsShared, slice()?, "another handle came in place of a Shared");
        let shared = Shared::from_fn(3, |n| n as u32)?;
        refused!(SharedAsSlice, shared, "another handle came in place of a SharedSlice");
        refused!(SharedOfOther, Shared::new(AtomicU64::new(1))?, "what came is no Shared");
        refused!(ManyAsOne, zeros(1)?, "what came is no Shared");
        refused!(MutexAsShared, Mutex::new(1)?, "another handle came in place of a Shared");
        refused!(SharedAsMutex, Shared::new(1)?, "another handle came in place of a Mutex");
        assert_eq!(counts(), (0, 0));
    }

    only [forkserver ForkServer]
    fn what_is_no_memory_of_ours_is_refused() {
        for path in ["/dev/null", "/dev/zero", "/proc/self/exe", "/proc/self/maps", "/"] {
            let file = || File::open(path).map(OwnedFd::from);
            let honest = Fd::new(file()?);
            refused!(FileAsSlice, honest, "another handle came in place of a SharedSlice");
            let text = "it is not shared memory of this library";
            forgery_refused!(SharedSlice<u32> as "SharedSlice", file()?, text);
            forgery_refused!(Shared<[AtomicU32]> as "Shared", file()?, text);
            forgery_refused!(Mutex<[u32]> as "Mutex", file()?, text);
        }
    }

    only [forkserver ForkServer]
    fn memory_that_could_change_or_shrink_is_refused() {
        // A true one first: so that what is refused below is so for its seals and its length.
        let slice = SharedSlice::try_from_iter(0..1_000u32)?;
        let copy = copy_of_memory(|len| len, ALL_SEALS);
        let taken = forged!(SharedSlice<u32> as "SharedSlice", copy)?;
        assert_eq!(taken[..], slice[..]);
        drop(taken);

        let seals = [SealFlag::empty(), SealFlag::F_SEAL_SHRINK, ALL_SEALS - SealFlag::F_SEAL_WRITE];
        for seals in seals {
            let copy = copy_of_memory(|len| len, seals);
            forgery_refused!(SharedSlice<u32> as "SharedSlice", copy, "it is not shared memory of this library");
        }
        for cut in [1, 100, 1_000, 3_999] {
            let copy = copy_of_memory(|len| len - 64 - cut, ALL_SEALS);
            forgery_refused!(SharedSlice<u32> as "SharedSlice", copy, "it is shorter than what it should hold");
        }
        let copy = copy_of_memory(|_| 100, ALL_SEALS);
        forgery_refused!(SharedSlice<u32> as "SharedSlice", copy, "it is shorter than what it should hold");
        drop(slice);

        let shared = zeros(1_000)?;
        let copy = copy_of_memory(|len| len, SealFlag::empty());
        forgery_refused!(Shared<[AtomicU32]> as "Shared", copy, "it is not shared memory of this library");
        let copy = copy_of_memory(|len| len - 128, SealFlag::F_SEAL_SHRINK);
        forgery_refused!(Shared<[AtomicU32]> as "Shared", copy, "it is shorter than what it should hold");
        drop(shared);
        assert_eq!(counts(), (0, 0));
    }

    only [forkserver ForkServer]
    /// Into text, there is no way.
    fn memory_can_be_serialised_only_while_it_is_sent() {
        struct Text<T>(T);
        impl<T: Serialize> std::fmt::Display for Text<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.serialize(f)
            }
        }
        let to_text = |value: &dyn std::fmt::Display| {
            use std::fmt::Write;
            write!(String::new(), "{value}")
        };
        assert!(to_text(&Text(5)).is_ok());
        assert!(to_text(&Text(zeros(1)?)).is_err());
        assert!(to_text(&Text(SharedSlice::from_slice(&[1])?)).is_err());
        assert!(to_text(&Text(SharedMut::from_slice(&[1])?)).is_err());
    }
}
