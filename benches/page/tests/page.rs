//! The committed page is what the committed results give.

use std::fs;

use benches_page::{Results, Run, charts, page, tables};

#[test]
fn the_page_shows_the_results() {
    let (page, fresh) = page::compare(&page::folder()).unwrap();
    assert_eq!(page, fresh, "run `cargo bench -p benches -- --render`");
}

#[test]
fn the_charts_show_the_results() {
    let results = Results::load(&page::folder().join("results.json")).unwrap();
    for (name, fresh) in charts::all(&results) {
        let path = page::folder().join("charts").join(name);
        assert_eq!(fs::read_to_string(path).unwrap(), fresh, "cargo bench -p benches -- --render");
    }
}

#[test]
fn a_run_replaces_only_the_works_it_measured() {
    let run = |date: &str| Run { date: date.into(), machine: "two cores".into(), rounds: 3 };
    let mut results = Results::default();
    for value in [1.0, 9.0, 2.0] {
        results.add(&run("2026-01-01"), "A1", "ours, fork", "A1".into(), value);
        results.add(&run("2026-01-01"), "D1", "ours, Pool", "D1".into(), value);
    }
    results.add(&run("2026-02-02"), "A1", "ours, fork", "A1".into(), 5.0);
    results.add(&run("2026-02-02"), "A1", "procspawn", "A1".into(), 10.0);
    let text = tables::render(&results);
    assert!(text.contains("| ours, fork | 5.00 (5.00–5.00) ×1.00 |"), "{text}");
    assert!(text.contains("| procspawn | 10.0 (10.0–10.0) ×2.00 |"), "{text}");
    assert!(text.contains("| ours, Pool | 2.00 (1.00–9.00) ×1.00 |"), "{text}");
    let drawn = charts::all(&results);
    let names: Vec<_> = drawn.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["overview.svg", "a1.svg", "d1.svg"]);
    assert!(drawn[1].1.contains(">procspawn<"), "{}", drawn[1].1);
    assert!(text.contains("2026-01-01, 3 rounds: two cores"), "{text}");
}
