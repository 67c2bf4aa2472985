//! procspawn: executes its program anew for each closure. It has no pipes.

use benches::{Round, measure, memory, sums};

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
    if round.work == "H1" {
        let pool = procspawn::Pool::new(1).unwrap();
        let numbers = sums::numbers();
        return sums::hand_over(
            &round,
            || numbers.clone(), // the pool takes what it sends
            |numbers| (pool.spawn(numbers, |numbers| sums::sum(&numbers)).join().unwrap(), ()),
        );
    }
    let start = || procspawn::spawn(7u64, |number| number);
    measure::starts(&round, start, |child| assert_eq!(child.join().unwrap(), 7));
}
