//! A parser with three bugs, as one finds them in decoders for somebody else's format.

use offspring::process;

/// Expands a text in which `3(ab)` stands for `ababab`.
#[process]
pub fn expand(text: String) -> Result<String, String> {
    let mut rest = text.as_str();
    let expanded = expand_group(&mut rest)?;
    if rest.is_empty() { Ok(expanded) } else { Err(format!("trailing {rest:?}")) }
}

fn expand_group(rest: &mut &str) -> Result<String, String> {
    let mut expanded = String::new();
    while let Some(first) = rest.chars().next() {
        if first == ')' {
            break;
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 {
            expanded.push(first);
            *rest = &rest[first.len_utf8()..];
            continue;
        }
        let count: usize = rest[..digits].parse().map_err(|e| format!("{e}"))?;
        *rest = &rest[digits..];
        *rest = rest.strip_prefix('(').ok_or("a number without a group")?;
        if count == 0 {
            skip_group(rest); // the first bug is in there
            continue;
        }
        let group = expand_group(rest)?; // the second: each level takes stack
        *rest = rest.strip_prefix(')').ok_or("a group without an end")?;
        expanded.push_str(&group.repeat(count)); // the third: a few bytes can ask for terabytes
    }
    Ok(expanded)
}

/// Skips a group that is not wanted.
fn skip_group(rest: &mut &str) {
    let mut depth = 1;
    while depth > 0 {
        let next = rest.chars().next();
        match next {
            Some('(') => depth += 1,
            Some(')') => depth -= 1,
            _ => {}
        }
        *rest = &rest[next.map_or(0, char::len_utf8)..]; // at the end of the text: for ever
    }
}
