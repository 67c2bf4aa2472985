use offspring::process;

#[process]
fn name() -> &'static str {
    "name"
}

#[process]
fn first(list: Vec<String>) -> Option<&String> {
    list.first()
}

#[process]
fn cow() -> std::borrow::Cow<'_, str> {
    "name".into()
}

fn main() {}
