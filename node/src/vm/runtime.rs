//! Our aos-compatible process runtime (`node/runtime/`) as one module source.
//!
//! Every byte of it is part of the runtime's module item, whose id follows from it: a change makes a new module.

/// Names for `require`, and sources, in the order in which they are bundled.
const MODULES: [(&str, &str); 24] = [
    (".colors", include_str!("../../runtime/colors.lua")),
    ("json", include_str!("../../runtime/json.lua")),
    (".stringify", include_str!("../../runtime/stringify.lua")),
    (".dump", include_str!("../../runtime/dump.lua")),
    (".matching", include_str!("../../runtime/matching.lua")),
    (".utils", include_str!("../../runtime/lists.lua")),
    (".handlers-utils", include_str!("../../runtime/handlers-utils.lua")),
    (".handlers", include_str!("../../runtime/handlers.lua")),
    ("ao", include_str!("../../runtime/ao.lua")),
    (".ao", "return require('ao')\n"),
    (".assignment", include_str!("../../runtime/assignment.lua")),
    (".base64", include_str!("../../runtime/base64.lua")),
    (".bint", include_str!("../../runtime/bint.lua")),
    (".bint-values", include_str!("../../runtime/bint-values.lua")),
    (".bint-text", include_str!("../../runtime/bint-text.lua")),
    (".bint-arithmetic", include_str!("../../runtime/bint-arithmetic.lua")),
    (".bint-division", include_str!("../../runtime/bint-division.lua")),
    (".bint-bits", include_str!("../../runtime/bint-bits.lua")),
    (".chance", include_str!("../../runtime/chance.lua")),
    (".pretty", include_str!("../../runtime/pretty.lua")),
    (".eval", include_str!("../../runtime/eval.lua")),
    (".boot", include_str!("../../runtime/boot.lua")),
    (".default", include_str!("../../runtime/default.lua")),
    (".process", include_str!("../../runtime/process.lua")),
];

/// The runtime as the data of a module item: each source as a function that `require` runs when it is first asked
/// for, and at the end the one that defines `handle`.
pub fn source() -> String {
    let mut source = String::new();
    for (name, text) in MODULES {
        source.push_str(&format!("package.preload[\"{name}\"] = function(...)\n{text}end\n"));
    }
    source.push_str("require(\".process\")\n");
    source
}
