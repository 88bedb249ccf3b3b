//! Machine settings in layers.

use std::path::Path;

use fidelio_config::{Origin, Settings, SettingsError, Surroundings};

fn around(home: &Path, variables: &[(&str, &str)]) -> Surroundings {
    let mut all = vec![("HOME", home.to_str().unwrap())];
    all.extend(variables);
    let variables = all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let folder = home.join("project");
    std::fs::create_dir_all(&folder).unwrap();
    Surroundings { variables: variables.collect(), folder }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn later_layers_win_and_each_value_knows_its_own() {
    let home = tempfile::tempdir().unwrap();
    let plain = around(home.path(), &[]);
    let defaults = Settings::load(&plain, &[]).unwrap();
    assert_eq!(defaults.device.value, "auto");
    assert_eq!(defaults.device.origin, Origin::Default);
    assert_eq!(defaults.cache_dir.value, home.path().join(".cache/fidelio"));
    assert_eq!(defaults.hub_token, None);

    write(&plain.user_file(), "device = 'flex'\nthreads = 2\noffline = true\n");
    write(&plain.project_file(), "device = 'ndarray'\ncache_dir = '~/models'\n");
    let files = Settings::load(&plain, &[]).unwrap();
    assert_eq!(files.threads.value, 2);
    assert_eq!(files.threads.origin, Origin::File(plain.user_file()));
    assert_eq!(files.device.value, "ndarray");
    assert_eq!(files.device.origin, Origin::File(plain.project_file()));
    assert_eq!(files.cache_dir.value, home.path().join("models"));

    let variables =
        [("FIDELIO_DEVICE", "cuda"), ("FIDELIO_OFFLINE", "false"), ("FIDELIO_LOG", "x")];
    let env = around(home.path(), &variables);
    let with_env = Settings::load(&env, &[("threads", "8".to_owned())]).unwrap();
    assert_eq!(with_env.device.value, "cuda");
    assert_eq!(with_env.device.origin, Origin::Environment("FIDELIO_DEVICE".to_owned()));
    assert!(!with_env.offline.value);
    assert_eq!((with_env.threads.value, &with_env.threads.origin), (8, &Origin::Flag));
    assert!(!with_env.table().is_empty());
}

#[test]
fn hugging_faces_own_variables_count() {
    let home = tempfile::tempdir().unwrap();
    let hf = home.path().join("hf");
    write(&hf.join("token"), "from-file\n");
    let variables = [
        ("HF_HOME", hf.to_str().unwrap()),
        ("HF_ENDPOINT", "http://localhost:1/"),
        ("HF_HUB_OFFLINE", "1"),
    ];
    let settings = Settings::load(&around(home.path(), &variables), &[]).unwrap();
    assert_eq!(settings.hub_endpoint.value, "http://localhost:1");
    assert!(settings.offline.value);
    assert_eq!(settings.hub_token.as_ref().unwrap().value, "from-file");

    let variables = [("HF_TOKEN", "secret"), ("FIDELIO_HUB_ENDPOINT", "http://ours")];
    let settings = Settings::load(&around(home.path(), &variables), &[]).unwrap();
    assert_eq!(settings.hub_endpoint.value, "http://ours");
    let origin = &settings.hub_token.as_ref().unwrap().origin;
    assert_eq!(origin, &Origin::Environment("HF_TOKEN".to_owned()));
    assert!(!format!("{settings:?}").contains("secret"), "a token is never shown");
    assert!(settings.table().iter().any(|(key, value, _)| *key == "hub_token" && value == "set"));
}

#[test]
fn mistakes_are_named() {
    let home = tempfile::tempdir().unwrap();
    let around = around(home.path(), &[]);
    let file = around.project_file();
    let fail = |text: &str| {
        write(&file, text);
        Settings::load(&around, &[]).unwrap_err()
    };
    let error = fail("devcie = 'flex'");
    assert!(error.to_string().starts_with("unknown setting `devcie` in "), "{error}");
    assert_eq!(error.hint().unwrap(), "did you mean `device`?");
    let error = fail("hub_token = 'hf_x'");
    assert!(error.hint().unwrap().contains("HF_TOKEN"), "{:?}", error.hint());
    let error = fail("threads = 'many'");
    assert!(matches!(error, SettingsError::Wrong { key: "threads", .. }), "{error}");
    let error = fail("device = ");
    assert!(matches!(error, SettingsError::Read { .. }), "{error}");
    std::fs::remove_file(&file).unwrap();
    let mut typo = around.clone();
    typo.variables.insert("FIDELIO_DEVCE".to_owned(), "flex".to_owned());
    let error = Settings::load(&typo, &[]).unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean `device`?");
}
