use offspring::process;

#[process]
fn serve() -> ! {
    loop {}
}

fn main() {}
