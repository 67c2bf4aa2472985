//! Wherever a function can stand, and whatever it can be called.
#![deny(warnings)]
use offspring::{Process, process};

#[process]
fn square(x: u64) -> u64 {
    x * x
}

mod outer {
    use offspring::process;

    #[process]
    pub(super) fn square(x: u64) -> u64 {
        super::square(x).run() + inner::square(x).run()
    }

    pub(crate) mod inner {
        #[offspring::process]
        pub(in crate::outer) fn square(x: u64) -> u64 {
            crate::square(x).run()
        }

        #[offspring::process]
        pub fn public() -> String {
            "public".into()
        }
    }
}

#[process]
fn r#type(r#match: u8, r#fn: u8) -> u8 {
    r#match + r#fn
}

#[process]
#[allow(non_snake_case)]
fn CamelCase(X: u8) -> u8 {
    X
}

#[cfg(any())]
#[process]
fn left_out(missing: Missing) {}

#[process]
#[cfg(not(any()))]
fn cfg_below() -> u8 {
    1
}

#[process]
#[cfg(any())]
fn cfg_below() -> u8 {
    2
}

macro_rules! two {
    ($first:ident, $second:ident, $arg:ident: $ty:ty, $out:ty, $body:block) => {
        #[process]
        fn $first($arg: $ty, list: u8) -> ($out, u8) {
            ($body, list)
        }

        #[process]
        pub(crate) fn $second($arg: $ty) -> $out $body
    };
}
two!(first, second, list: Vec<u32>, usize, { list.len() + 3 });

macro_rules! passed_on {
    ($item:item) => {
        #[process]
        $item
    };
}
passed_on! {
    fn whole_item(x: u8) -> u8 {
        x
    }
}

fn local() -> u64 {
    #[process]
    fn square(x: u64) -> u64 {
        x + 1
    }

    #[process]
    struct Local {
        x: u64,
    }

    impl Process for Local {
        type Output = u64;

        fn run(self) -> u64 {
            self.x
        }
    }

    square(1).run() + Local { x: 1 }.run()
}

/// The constructor is a function like any other.
fn constructors<P: Process>(new: impl FnMut(u64) -> P, inputs: Vec<u64>) -> Vec<P::Output> {
    inputs.into_iter().map(new).map(Process::run).collect()
}

fn main() -> offspring::Result<()> {
    let square = square(3).spawn()?;
    assert_eq!(square.join().unwrap(), 9);
    assert_eq!(outer::square(3).run(), 18);
    assert_eq!(outer::inner::public().spawn()?.join().unwrap(), "public");
    assert_eq!(r#type(1, 2).run(), 3);
    assert_eq!(format!("{:?}", r#type(1, 2)), "type { .. }");
    assert_eq!(CamelCase(1).run(), 1);
    assert_eq!(cfg_below().run(), 1);
    assert_eq!(first(vec![1], 2).run(), (4, 2)); // two arguments of one name, told apart by hygiene
    assert_eq!(second(vec![]).run(), 3);
    assert_eq!(whole_item(1).run(), 1);
    assert_eq!(local(), 3);
    assert_eq!(constructors(self::square, vec![1, 2]), [1, 4]);
    assert_eq!(constructors(|x| first(vec![0], x as u8), vec![1]), [(4, 1)]);
    let described: self::square = self::square(2);
    assert_eq!(Process::run(described), 4);
    Ok(())
}
