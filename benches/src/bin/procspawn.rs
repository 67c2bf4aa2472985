//! procspawn: executes its program anew for each closure. It has no pipes.

use benches::{Round, measure, memory};

fn main() {
    procspawn::init();
    let round = Round::from_args();
    if round.work == "I" {
        let mut child = procspawn::spawn((), |()| std::thread::park());
        std::thread::sleep(std::time::Duration::from_millis(200)); // it has no way to say it is up
        memory::figures(child.pid().unwrap());
        child.kill().unwrap();
        return;
    }
    let start = || procspawn::spawn(7u64, |number| number);
    measure::starts(&round, start, |child| assert_eq!(child.join().unwrap(), 7));
}
