use offspring::{Process, process};
use serde::{Deserialize, Serialize};

#[process]
struct List<T, const N: usize> {
    items: Vec<T>,
}

#[process]
#[serde(rename_all = "camelCase")]
enum Text<'a> {
    #[serde(rename = "whole")]
    Whole(#[serde(borrow)] &'a str),
}

#[derive(Serialize, Deserialize, Process)]
struct Derived<T>(T);

fn main() {
    let _ = List::<u8, 1> { items: vec![1] };
    let _ = Text::Whole("");
    let _ = Derived(1);
}
