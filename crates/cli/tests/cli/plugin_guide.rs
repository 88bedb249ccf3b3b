//! The guide to writing a plugin, followed by the letter.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::place::Place;

/// The commands of the guide, in its order, as a reader runs them who has a checkout and the binary.
#[test]
fn the_guide_to_writing_a_plugin_ends_with_one_that_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = std::fs::read_to_string(root.join("docs/guide/plugins.md")).unwrap();
    let blocks = guide.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    // What the checkout builds goes where it is built already; the network is left alone.
    let begin = "set -e\ncargo() { if [ \"$1\" = xtask ]; then \
                 CARGO_TARGET_DIR=\"$BUILT\" command cargo \"$@\"; else command cargo \"$@\"; fi; }\n";
    let script = blocks.fold(begin.to_owned(), |script, block| script + block);
    let place = Place::new();
    let binary = Path::new(env!("CARGO_BIN_EXE_fidelio"));
    let variable = |name: &str| std::env::var_os(name);
    let home = PathBuf::from(variable("HOME").unwrap());
    let within = |name, folder| variable(name).map_or_else(|| home.join(folder), PathBuf::from);
    let path = std::env::join_paths(
        std::iter::once(binary.parent().unwrap().to_owned())
            .chain(std::env::split_paths(&variable("PATH").unwrap())),
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(&root)
        .env("CARGO_HOME", within("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", within("RUSTUP_HOME", ".rustup"))
        .env("HOME", place.path(""))
        .env("PATH", path.unwrap())
        .env("BUILT", binary.parent().and_then(Path::parent).unwrap())
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("FIDELIO_PLUGIN_DIR")
        .output()
        .unwrap();
    let said = place.said(output).expect(0);
    assert!(said.stdout.contains("24 checks passed, on the model `ngram`\n"), "{said}");
    assert!(said.stdout.contains("plugin:my-engine#0"), "{said}");
    assert!(!said.stderr.contains("warning"), "an author has reasons to worry: {said}");
}
