//! Programs that are shipped with the console, for `.load-blueprint`.

/// Names and sources.
const BLUEPRINTS: [(&str, &str); 4] = [
    ("chatroom", include_str!("../../blueprints/chatroom.lua")),
    ("staking", include_str!("../../blueprints/staking.lua")),
    ("token", include_str!("../../blueprints/token.lua")),
    ("voting", include_str!("../../blueprints/voting.lua")),
];

/// The source of a blueprint, or a text that says which there are.
pub(super) fn source(name: &str) -> Result<&'static str, String> {
    let found = BLUEPRINTS.iter().find(|(known, _)| *known == name);
    found.map(|(_, source)| *source).ok_or_else(|| match name {
        "" => format!("say which: {}", names().join(", ")),
        _ => format!("there is no blueprint {name:?}; there are {}", names().join(", ")),
    })
}

/// What there is.
pub(super) fn names() -> Vec<&'static str> {
    BLUEPRINTS.iter().map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blueprint_is_found_or_the_others_are_named() {
        assert!(source("token").unwrap().contains("Balances"));
        assert!(source("tokn").unwrap_err().contains("chatroom, staking, token, voting"));
    }
}
