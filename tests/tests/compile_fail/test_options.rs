#[offspring::test(timeout = 5)]
fn a_number() {}

#[offspring::test(timeout = "5")]
fn no_unit() {}

#[offspring::test(timeout = "0s")]
fn no_time() {}

#[offspring::test(timeout = "1.5s", memory = "lots")]
fn both() {}

#[offspring::test(memory = 256)]
fn bytes_of_what() {}

#[offspring::test(memory = "256 MIB")]
fn shouted() {}

#[offspring::test(timeout)]
fn no_value() {}

#[offspring::test(retries = 3)]
fn unknown() {}

#[offspring::test(timeout = "1s", timeout = "2s")]
fn twice() {}

#[offspring::test]
struct NoFunction;

fn main() {}
