//! Every field is asked, and so is every parameter; and the type lies in shared memory at all.
use offspring::{
    shm::{Shareable, Zeroable},
    sync::Mutex,
};

#[derive(Shareable, Clone, Copy)]
enum Level {
    Low,
    High,
}

#[derive(Shareable, Zeroable)]
struct Reading {
    level: Level,
    value: f64,
    before: [Level; 2],
}

#[derive(Shareable, Zeroable)]
struct Tuple<T: Iterator, U>(T::Item, U)
where
    T::Item: Shareable;

#[derive(Shareable, Zeroable)]
struct Pair<T>(T, T);

#[derive(Zeroable)]
struct NotShareable(u8);

#[derive(Shareable, Zeroable)]
#[shareable(path = offspring)]
struct Options(u8);

fn main() {
    let _pairs = Mutex::<[Pair<Level>]>::zeroed(3);
}
