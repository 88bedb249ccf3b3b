//! Prints the C header of the plugin interface; `cargo xtask docs` writes it to `include/`.
#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

fn main() {
    print!("{}", header());
}

/// What stands above the types.
const TOP: &str = "\
// The plugin interface of Fidelio. Generated from crates/plugin/src/abi.rs by `cargo xtask docs`.
//
// A plugin is a shared library that defines one symbol:
//
//   const FidelioPluginTable fidelio_plugin_v1 = {
//     .head = FIDELIO_HEAD(FidelioPluginTable), .describe = my_describe, ...
//   };
//
// Every struct that begins with a head is given as long as its sender knows it. Memory that a
// plugin makes (FidelioBytes) it frees in `free`; everything else that is given lives until the
// call returns. Texts have a length, and no zero at their end.";

/// What stands between the includes and the types.
const MACROS: &str = "
#if defined(_WIN32)
#define FIDELIO_EXPORT __declspec(dllexport)
#else
#define FIDELIO_EXPORT __attribute__((visibility(\"default\")))
#endif

// The head of a struct of this type.
#define FIDELIO_HEAD(type) {(uint32_t)sizeof(type), FIDELIO_VERSION}
";

/// What stands below the types.
const SYMBOL: &str = "
#ifdef __cplusplus
extern \"C\" {
#endif
// What a plugin defines.
extern FIDELIO_EXPORT const FidelioPluginTable fidelio_plugin_v1;
#ifdef __cplusplus
}
#endif
";

/// The header, made of `src/abi.rs`.
pub(crate) fn header() -> String {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/abi.rs");
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        header: Some(TOP.to_owned()),
        include_guard: Some("FIDELIO_PLUGIN_H".to_owned()),
        after_includes: Some(MACROS.to_owned()),
        trailer: Some(SYMBOL.to_owned()),
        cpp_compat: true,
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        usize_is_size_t: true,
        style: cbindgen::Style::Type,
        documentation_style: cbindgen::DocumentationStyle::C99,
        line_length: 96,
        ..cbindgen::Config::default()
    };
    config.export.prefix = Some("Fidelio".to_owned());
    // What it uses comes along.
    config.export.include = vec!["PluginTable".to_owned()];
    let mut text = Vec::new();
    cbindgen::Builder::new()
        .with_src(source)
        .with_config(config)
        .generate()
        .expect("abi.rs holds only what C can say")
        .write(&mut text);
    let text = String::from_utf8(text).expect("cbindgen writes UTF-8");
    // Constants of C are in capitals.
    text.replace("#define Fidelio", "#define FIDELIO_")
}
