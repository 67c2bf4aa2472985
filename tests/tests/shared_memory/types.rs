//! Values of each size and alignment arrive as they were.

use offspring::process;
use offspring::shm::{ArrayString, Shareable, Shared, SharedMut, SharedSlice};
use tests::each_start_method;

/// The values that the types below are tested with.
trait Nth: Copy + PartialEq {
    fn nth(n: usize) -> Self;
}

macro_rules! nth {
    ($($type:ty: $n:ident => $value:expr;)*) => {$(
        impl Nth for $type {
            fn nth($n: usize) -> Self { $value }
        }
    )*};
}

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
struct Padded {
    small: u8,
    large: u64,
    middle: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
#[repr(align(64))]
struct Line(u32);

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
#[repr(align(4096))]
struct Page(u16);

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
#[repr(align(128))]
struct AlignedNothing;

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
enum Direction {
    Left = 3,
    Right = 200,
}

nth! {
    (): _n => ();
    [u64; 0]: _n => [];
    AlignedNothing: _n => Self;
    u8: n => n as u8;
    u128: n => u128::MAX / (n as u128 + 1);
    f32: n => n as f32 / 7.0;
    bool: n => n.is_multiple_of(3);
    (u8, u32): n => (n as u8, !n as u32);
    [u16; 3]: n => [n as u16, 7, !n as u16];
    Padded: n => Self { small: n as u8, large: !n as u64, middle: 12 };
    Line: n => Self(n as u32);
    Page: n => Self(n as u16);
    Direction: n => if n.is_multiple_of(2) { Self::Left } else { Self::Right };
    ArrayString<7>: n => Self::try_from(&*(n % 1000).to_string()).unwrap();
}

const LENGTHS: [usize; 9] = [0, 1, 2, 3, 63, 64, 65, 129, 1_000];

fn is_right<T: Nth>(values: &[T], len: usize) -> bool {
    values.as_ptr().is_aligned()
        && values.len() == len
        && values.iter().enumerate().all(|(n, value)| *value == T::nth(n))
}

/// For each type, a process that says whether it has received what was sent.
macro_rules! types {
    ($($name:ident: $type:ty,)*) => {
        mod receivers {
            use super::*;
            $(
                #[process]
                pub(super) fn $name(
                    slice: SharedSlice<$type>,
                    array: Shared<[$type]>,
                    mut part: SharedMut<$type>,
                    len: usize,
                ) -> (bool, bool, bool) {
                    let part = part.as_mut_slice();
                    (is_right(&slice, len), is_right(&array, len), is_right(part, len))
                }
            )*
        }

        each_start_method! {
            $(
                fn $name() {
                    for len in LENGTHS {
                        let values: Vec<$type> = (0..len).map(Nth::nth).collect();
                        let slices = [
                            SharedSlice::from_slice(&values)?,
                            SharedSlice::try_from_iter(values.iter().copied())?,
                            SharedSlice::try_from_iter((0..).map_while(|n| values.get(n).copied()))?,
                            SharedMut::from_slice(&values)?.freeze()?,
                        ];
                        for slice in slices {
                            assert!(is_right(&slice, len));
                            let array = Shared::from_fn(len, Nth::nth)?;
                            let part = SharedMut::from_fn(len, Nth::nth)?;
                            let child = receivers::$name(slice, array, part, len).spawn()?;
                            assert_eq!(child.join()?, (true, true, true), "{len} of them");
                        }
                    }
                }
            )*
        }
    };
}

types! {
    type_of_no_size: (),
    type_of_no_size_in_an_array: [u64; 0],
    type_of_no_size_but_alignment: AlignedNothing,
    type_of_one_byte: u8,
    type_of_16_bytes: u128,
    type_that_is_a_float: f32,
    type_that_is_no_number: bool,
    type_that_is_a_tuple: (u8, u32),
    type_that_is_an_array: [u16; 3],
    type_with_padding: Padded,
    type_aligned_to_a_cache_line: Line,
    type_aligned_to_a_page: Page,
    type_that_is_an_enum: Direction,
    type_that_is_a_text: ArrayString<7>,
}

each_start_method! {
    only [forkserver ForkServer]
    /// Zero bytes each, so there may be as many as can be counted.
    fn an_array_of_no_size_may_have_any_length() {
        const MANY: usize = 1 << 60;
        let array = SharedMut::<[u64; 0]>::zeroed(MANY).unwrap();
        assert_eq!(array.len(), MANY);
        let (tx, rx) = offspring::pipe().unwrap();
        tx.send(array.freeze().unwrap()).unwrap();
        assert_eq!(rx.recv().unwrap().len(), MANY);
    }
}
