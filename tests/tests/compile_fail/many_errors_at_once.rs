use offspring::process;

#[process(name = "everything")]
pub(crate) const async unsafe fn everything<T>(a: &str, b: *const T, c: impl Copy, d: Vec<_>) -> ! {
    loop {}
}

fn main() {}
