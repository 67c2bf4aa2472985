//! The books balance.

mod common;

#[test]
fn they_balance_although_a_teller_is_killed() {
    let text = common::printed(env!("CARGO_BIN_EXE_bank"));
    let lines = |with: &str| text.lines().filter(|line| line.contains(with)).count();
    assert_eq!(lines("is told: process 'Teller-1' (pid "), lines("is told: "), "{text}");
    assert_eq!(lines("process 'Teller-1' (pid "), lines("is told: ") + 1, "{text}");
    assert_eq!(lines("was killed by signal 9 (SIGKILL)"), 1, "{text}");
    assert_eq!(lines("has made 2000 transfers"), 4, "{text}");
    assert_eq!(lines("the accounts hold 8000, and held 8000: the books balance"), 1, "{text}");

    // Both accounts are put right, and one of them was wrong: by what was to go to the other.
    let repaired: Vec<_> = text.lines().filter_map(|line| line.split_once(" holds ")).collect();
    let number = |text: &str| text.parse::<i64>().unwrap();
    let differences = repaired.iter().map(|(_, rest)| {
        let (held, rest) = rest.split_once(", its slip says ").unwrap();
        number(rest.strip_suffix(": put back").unwrap()) - number(held)
    });
    let mut differences: Vec<_> = differences.collect();
    differences.sort();
    assert!(differences.len() == 2 && differences[0] == 0 && differences[1] > 0, "{text}");
}
