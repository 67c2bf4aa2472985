use std::thread;

use offspring::process;
use offspring::shm::SharedMut;

#[process]
fn fill(mut part: SharedMut<u8>) {
    part.as_mut_slice().fill(1);
}

/// Here and in a child.
fn used_after_it_went_to_a_child(mut part: SharedMut<u8>) {
    fill(part).spawn().unwrap();
    part.as_mut_slice()[0] = 2;
}

/// In two children.
fn sent_to_two_children(part: SharedMut<u8>) {
    let children = [fill(part).spawn(), fill(part).spawn()];
    drop(children);
}

/// There is nothing that would make two of one.
fn cloned(part: SharedMut<u8>) {
    let _other: SharedMut<u8> = part.clone();
}

/// The whole and its parts.
fn split_and_used(mut array: SharedMut<u8>) {
    let (_parts, _whole) = array.split(2).unwrap();
    array.as_mut_slice()[0] = 1;
}

/// What is in it is borrowed from it.
fn kept_after_it_went_to_a_child(mut part: SharedMut<u8>) {
    let values = part.as_mut_slice();
    fill(part).spawn().unwrap();
    values[0] = 2;
}

/// And from one thread at a time.
fn written_by_two_threads(mut part: SharedMut<u8>) {
    thread::scope(|scope| {
        scope.spawn(|| part.as_mut_slice()[0] = 1);
        scope.spawn(|| part.as_mut_slice()[0] = 2);
    });
}

fn main() {}
