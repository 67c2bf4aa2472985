//! What comes is something else: another kind of handle, a file, a value, nothing.

use std::fs;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicU64;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use offspring::pipe::RecvError;
use offspring::shm::{Shared, SharedMut};
use offspring::sync::{Mutex, Semaphore};
use offspring::{Error, Fd, Receiver, Sender, pipe};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::each_start_method;
use tests::forgery::forge;

use super::leaves_nothing;

/// Whatever can be put into a message in place of what is expected.
#[derive(Serialize)]
#[serde(untagged)]
enum Wrong {
    File(Fd<OwnedFd>),
    Small(Mutex<u32>),
    Permits(Semaphore),
    Locked(Mutex<u64>),
    Plain(Shared<u64>),
    Part32(SharedMut<u32>),
}

/// Crosses as what is wrong, or as what is right, and is taken for a `T`.
enum Disguise<T> {
    Wrong(Wrong),
    Right(T),
}

impl<T: Serialize> Serialize for Disguise<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Wrong(wrong) => wrong.serialize(serializer),
            Self::Right(right) => right.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Disguise<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::Right)
    }
}

/// A file in memory with these bytes, so sealed.
fn memory(bytes: &[u8], seals: SealFlag) -> OwnedFd {
    let file = File::from(memfd_create("forged", MFdFlags::MFD_ALLOW_SEALING).unwrap());
    file.write_all_at(bytes, 0).unwrap();
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    file.into()
}

/// The bytes of the only shared memory that this process has.
fn bytes_of_memory() -> Vec<u8> {
    let open = tests::descriptors();
    let mut ours = open.iter().filter(|(_, to)| to.starts_with("/memfd:offspring-shared"));
    let (number, _) = ours.next().expect("one");
    assert!(ours.next().is_none(), "{open:?}");
    fs::read(format!("/proc/self/fd/{number}")).unwrap()
}

const NOT_OURS: &str = "it is not shared memory of this library";
const SHORT: &str = "it is shorter than what it should hold";
const ANOTHER: &str = "another handle came in place of a ";
const OTHER: &str = "it holds something else, or was made by another build";

/// The files that are no `T`, and what is said of each. `original` is the memory of one.
fn files(original: &[u8]) -> Vec<(&'static str, OwnedFd, &'static str)> {
    let mut regular = tempfile::tempfile().unwrap();
    regular.write_all(original).unwrap();
    let shrink = SealFlag::F_SEAL_SHRINK;
    let (reader, writer) = std::io::pipe().unwrap();
    let mut changed = original.to_vec();
    changed[8] ^= 1; // in the fingerprint
    let mut enormous = original.to_vec();
    enormous[16..24].copy_from_slice(&u64::MAX.to_ne_bytes()); // the count of elements
    vec![
        ("foreign", memory(&[7; 8192], shrink), NOT_OURS),
        ("empty", memory(&[], shrink), SHORT),
        ("a part of a header", memory(&original[..100], shrink), SHORT),
        ("a header alone", memory(&original[..192], shrink), SHORT),
        ("unsealed", memory(original, SealFlag::empty()), NOT_OURS),
        ("sealed against growing only", memory(original, SealFlag::F_SEAL_GROW), NOT_OURS),
        ("of a changed type", memory(&changed, shrink), OTHER),
        ("of too many elements", memory(&enormous, shrink), SHORT),
        ("a regular file", regular.into(), NOT_OURS),
        ("the end of a pipe that reads", reader.into(), NOT_OURS),
        ("the end of a pipe that writes", writer.into(), NOT_OURS),
        ("a directory", File::open("/").unwrap().into(), NOT_OURS),
        ("a device", File::open("/dev/null").unwrap().into(), NOT_OURS),
    ]
}

/// Makes what is refused; and the words that say why.
type Other<'a> = (fn() -> Wrong, &'a str);

/// Sends each, and a right one after it, which must come.
fn refuses_all<T>(name: &str, right: impl Fn() -> Result<T, Error>, others: &[Other])
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    let (tx, rx): (Sender<Disguise<T>>, Receiver<Disguise<T>>) = pipe().unwrap();
    let original = {
        let _one = right().unwrap();
        bytes_of_memory()
    };
    // A copy of the bytes is taken: so what is refused below is refused for what is said.
    forge(&tx, name, &memory(&original, SealFlag::F_SEAL_SHRINK), [0, 1]);
    assert!(rx.recv().is_ok(), "{name}: a true copy");

    let sent_right = |what: &str, text: &str| {
        tx.send(Disguise::Right(right().unwrap())).unwrap();
        match rx.recv() {
            Err(RecvError::Decode(error)) => {
                let told = error.to_string();
                assert!(told.contains(text) && told.contains(name), "{name}, {what}: {told}");
            }
            Err(other) => panic!("{name}, {what}: {other:?}"),
            Ok(_) => panic!("{name}, {what}: it was taken for what it is not"),
        }
        assert!(matches!(rx.recv(), Ok(Disguise::Right(_))), "{name}, after {what}");
    };
    for (what, file, text) in files(&original) {
        forge(&tx, name, &file, [0, 1]);
        sent_right(what, text);
    }
    for (other, text) in others {
        tx.send(Disguise::Wrong(other())).unwrap();
        sent_right("another", text);
    }
    // Not even what would be right, if it was no handle of the library's.
    let copy = memory(&original, SealFlag::F_SEAL_SHRINK);
    tx.send(Disguise::Wrong(Wrong::File(Fd::new(copy)))).unwrap();
    sent_right("a file", ANOTHER);
}

/// What is not wrong in itself, made anew.
fn small() -> Wrong {
    Wrong::Small(Mutex::new(1).unwrap())
}

fn permits() -> Wrong {
    Wrong::Permits(Semaphore::new(3).unwrap())
}

fn locked() -> Wrong {
    Wrong::Locked(Mutex::new(1).unwrap())
}

fn plain() -> Wrong {
    Wrong::Plain(Shared::new(1).unwrap())
}

fn part32() -> Wrong {
    Wrong::Part32(SharedMut::from_slice(&[1]).unwrap())
}

each_start_method! {
    only [forkserver ForkServer]
    fn what_is_no_mutex_is_refused() {
        leaves_nothing(|| {
            let others: [Other; 4] =
                [(small, OTHER), (permits, ANOTHER), (plain, ANOTHER), (part32, ANOTHER)];
            refuses_all("Mutex", || Mutex::new(5u64), &others);
        });
    }

    only [forkserver ForkServer]
    fn what_is_no_semaphore_is_refused() {
        leaves_nothing(|| {
            let others: [fn() -> Wrong; 3] = [small, locked, plain];
            refuses_all("Semaphore", || Semaphore::new(3), &others.map(|other| (other, ANOTHER)));
        });
    }

    only [forkserver ForkServer]
    fn what_is_no_shared_value_is_refused() {
        leaves_nothing(|| {
            let others: [Other; 4] =
                [(small, ANOTHER), (permits, ANOTHER), (locked, ANOTHER), (plain, OTHER)];
            refuses_all("Shared", || Shared::new(AtomicU64::new(5)), &others);
        });
    }

    only [forkserver ForkServer]
    fn what_is_no_array_is_refused() {
        leaves_nothing(|| {
            let others: [Other; 3] = [(part32, OTHER), (locked, ANOTHER), (permits, ANOTHER)];
            refuses_all("SharedMut", || SharedMut::<u64>::from_slice(&[1, 2, 3]), &others);
        });
    }

    only [forkserver ForkServer]
    fn a_part_beyond_its_array_is_refused() {
        leaves_nothing(|| {
            let original = {
                let _array = SharedMut::<u64>::from_slice(&[1, 2, 3]).unwrap();
                bytes_of_memory()
            };
            let (tx, rx) = pipe::<SharedMut<u64>>().unwrap();
            for (from, to, within) in
                [(0, 3, true), (3, 3, true), (0, 4, false), (2, 1, false), (0, u64::MAX, false)]
            {
                let copy = memory(&original, SealFlag::F_SEAL_SHRINK);
                forge(&tx, "SharedMut", &copy, [from, to]);
                match rx.recv() {
                    Ok(mut array) if within => {
                        assert_eq!(array.as_mut_slice(), &[1, 2, 3][from as usize..to as usize]);
                    }
                    Err(RecvError::Decode(error)) if !within => {
                        assert!(error.to_string().contains("is not within it"), "{error}");
                    }
                    Ok(_) => panic!("{from}..{to}: taken"),
                    Err(other) => panic!("{from}..{to}: {other:?}"),
                }
            }
        });
    }

    only [forkserver ForkServer]
    /// By a type's own `Serialize` and `Deserialize`, which need no `unsafe`.
    fn a_handle_cannot_be_made_another() {
        leaves_nothing(|| {
            let (tx, rx) = pipe::<Turned>().unwrap();
            tx.send(Turned::Lock(Mutex::new(1).unwrap())).unwrap();
            let Err(RecvError::Decode(error)) = rx.recv() else { panic!("its file was taken") };
            assert!(error.to_string().contains("another handle came in place of a descriptor"));

            let (tx, rx) = pipe::<Twice>().unwrap();
            tx.send(Twice(SharedMut::from_slice(&[1, 2, 3]).unwrap(), None)).unwrap();
            let Err(RecvError::Decode(error)) = rx.recv() else { panic!("there are two of it") };
            assert!(error.to_string().contains("one handle came for two SharedMuts"));
        });
    }
}

/// A mutex that arrives as the file of its memory.
enum Turned {
    Lock(Mutex<u32>),
    File { _file: Fd<OwnedFd> },
}

impl Serialize for Turned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Lock(mutex) = self else { unreachable!("it is never sent") };
        mutex.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Turned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (file, _): (Fd<OwnedFd>, Option<u32>) = Deserialize::deserialize(deserializer)?;
        Ok(Self::File { _file: file })
    }
}

/// An array that says where it is twice.
struct Twice(SharedMut<u32>, #[expect(dead_code)] Option<SharedMut<u32>>);

impl Serialize for Twice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The place of the only handle is 0.
        (&self.0, 0_u32).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (first, second) = Deserialize::deserialize(deserializer)?;
        Ok(Self(first, Some(second)))
    }
}
