//! Handles go into messages, and into nothing else that serialises.

use std::sync::atomic::AtomicU64;

use offspring::pipe;
use offspring::shm::{Shared, SharedMut, SharedSlice};
use offspring::sync::{Barrier, Condvar, Event, Mutex, Once, ReentrantLock, RwLock, Semaphore};
use serde::de::IntoDeserializer;
use serde::de::value::{Error as TextError, SeqDeserializer, U32Deserializer};
use serde::ser::{Impossible, SerializeTuple};
use serde::{Deserialize, Serialize, Serializer};
use tests::each_start_method;

use super::leaves_nothing;

/// A format of text, as far as it is needed: numbers and tuples of them are taken, everything else is
/// refused with another text than the library's.
struct Text;

macro_rules! refused {
    ($($name:ident($($arg:ty),*) $(-> $out:ident)?;)*) => {$(
        fn $name(self $(, _: $arg)*) -> Result<refused!(@ $($out)?), TextError> {
            Err(serde::ser::Error::custom("it got into the text"))
        }
    )*};
    (@) => { () };
    (@ Impossible) => { Impossible<(), TextError> };
}

impl Serializer for Text {
    type Ok = ();
    type Error = TextError;
    type SerializeSeq = Impossible<(), TextError>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Impossible<(), TextError>;
    type SerializeTupleVariant = Impossible<(), TextError>;
    type SerializeMap = Impossible<(), TextError>;
    type SerializeStruct = Impossible<(), TextError>;
    type SerializeStructVariant = Impossible<(), TextError>;

    fn serialize_u32(self, _: u32) -> Result<(), TextError> {
        Ok(())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, TextError> {
        Ok(self)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), TextError> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), TextError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), TextError> {
        value.serialize(self)
    }

    refused! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
        serialize_seq(Option<usize>) -> Impossible;
        serialize_tuple_struct(&'static str, usize) -> Impossible;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Impossible;
        serialize_map(Option<usize>) -> Impossible;
        serialize_struct(&'static str, usize) -> Impossible;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Impossible;
    }
}

impl SerializeTuple for Text {
    type Ok = ();
    type Error = TextError;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), TextError> {
        value.serialize(Text)
    }

    fn end(self) -> Result<(), TextError> {
        Ok(())
    }
}

/// Neither there nor back. Afterwards it can be sent as before.
fn is_for_messages_only<T>(name: &str, value: T)
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    for _ in 0..2 {
        let there = value.serialize(Text).unwrap_err().to_string();
        let wanted = format!("a {name} can be serialised only while it is sent to another process");
        assert!(there.contains(&wanted), "{name}: {there}");
    }
    // A number, or several.
    let number: U32Deserializer<TextError> = 0u32.into_deserializer();
    let numbers = SeqDeserializer::<_, TextError>::new([0u32; 4].into_iter());
    let back = [T::deserialize(number).err(), T::deserialize(numbers).err()];
    let back = back.map(|error| error.expect("it is no message").to_string());
    let wanted = format!("a {name} can be deserialised only from what another process has sent");
    assert!(back.iter().any(|back| back.contains(&wanted)), "{name}: {back:?}");
    let (tx, rx) = pipe::<T>().unwrap();
    assert!(tx.send(value).is_ok(), "{name}");
    assert!(rx.recv().is_ok(), "{name}");
}

each_start_method! {
    only [forkserver ForkServer]
    fn locks_and_memory_are_for_messages_only() {
        assert!((Some(5u32), (5u32, 6u32)).serialize(Text).is_ok());
        leaves_nothing(|| {
            is_for_messages_only("Mutex", Mutex::new(5u64).unwrap());
            is_for_messages_only("Mutex", Mutex::from_slice(&[5u8; 3]).unwrap());
            is_for_messages_only("RwLock", RwLock::new(5u64).unwrap());
            is_for_messages_only("ReentrantLock", ReentrantLock::new(5u64).unwrap());
            is_for_messages_only("Semaphore", Semaphore::new(5).unwrap());
            is_for_messages_only("Barrier", Barrier::new(5).unwrap());
            is_for_messages_only("Event", Event::new().unwrap());
            is_for_messages_only("Condvar", Condvar::new().unwrap());
            is_for_messages_only("Once", Once::new().unwrap());
            is_for_messages_only("Shared", Shared::new(AtomicU64::new(5)).unwrap());
            is_for_messages_only("SharedSlice", SharedSlice::from_slice(&[5]).unwrap());
            is_for_messages_only("SharedMut", SharedMut::from_slice(&[5]).unwrap());
        });
    }
}
