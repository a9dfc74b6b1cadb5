//! Whether what was typed so far is whole: Lua that breaks off at the end wants another line.

/// Whether more lines are wanted before this can be evaluated. What is wrong for another reason is whole: evaluating it
/// says what is wrong.
pub(super) fn is_incomplete(text: &str) -> bool {
    let lua = mlua::Lua::new();
    // As the process does: an expression first. A comment at the end needs a line of its own.
    let readings = [format!("return {text}\n"), format!("{text}\n")].map(|text| lua.load(text).into_function());
    !readings.iter().any(Result::is_ok)
        && readings.iter().any(|read| matches!(read, Err(mlua::Error::SyntaxError { incomplete_input: true, .. })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_whole_when_lua_says_so() {
        for text in ["x = 1", "#Inbox", "Inbox[1].Data", "return 1", "function f() end", "x = = 1", "f('a", "-- a", ""]
        {
            assert!(!is_incomplete(text), "{text}");
        }
        for text in ["function f()", "if x then\n y()", "t = {", "f(", "s = [[a\nb", "x =", "1 +", "for i = 1, 3 do"] {
            assert!(is_incomplete(text), "{text}");
        }
    }
}
