use std::collections::{
    self, BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque,
};
use std::ffi::{CString, OsString};
use std::path::PathBuf;

use offspring::shm::Shareable;

#[derive(Shareable)]
struct Collections {
    string: String,
    path: PathBuf,
    os_string: OsString,
    c_string: CString,
    vec: std::vec::Vec<[u8; 2]>,
    deque: VecDeque<u8>,
    heap: BinaryHeap<u8>,
    linked: LinkedList<u8>,
    map: HashMap<u8, (u8, u16)>,
    tree: BTreeMap<u8, u16>,
    set: collections::HashSet<u8>,
    tree_set: BTreeSet<u8>,
    in_one: [HashSet<u8>; 2],
    in_another: offspring::shm::ArrayVec<String, 2>,
}

fn main() {}
