use offspring::process;

#[process]
fn length(list: Vec<_>) -> usize {
    list.len()
}

#[process]
fn list() -> Vec<_> {
    vec![1]
}

fn main() {
    let _: usize = length(vec![1]).run();
}
