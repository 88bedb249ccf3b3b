//! The contract of every session, kept across the border as without it.

use fidelio_backend::{
    AdapterId, Backend, BackendError, BackendInfo, BigramSession, DeviceId, Encoding, FakeBackend,
    FakeLimits, OpenSpec, Parent, Pooling, RowStep, RowTo, Session, Shape, TensorView, Trains,
    Verb, Wanted, Weights,
    contract::{check_embedding, check_learning, check_session},
};
use fidelio_plugin::{PluginBackend, abi, plugin_table};
use serde_json::json;

/// No tensors.
struct Empty;

impl Weights for Empty {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        Err(BackendError::Engine(format!("`{name}` is not there")))
    }
}

fn fake() -> PluginBackend {
    static TABLE: abi::PluginTable = plugin_table!(FakeBackend::default);
    // SAFETY: the macro's functions keep the border's rules.
    unsafe { PluginBackend::of_table("fake", &TABLE) }.unwrap()
}

fn session(backend: &PluginBackend) -> Box<dyn Session> {
    let config = json!({ "vocab_size": 40, "max_position_embeddings": 64 });
    backend.open(DeviceId(0), &OpenSpec::new(config), &Empty).unwrap()
}

#[test]
fn sessions_keep_their_contract() {
    let backend = fake();
    check_session(&|| session(&backend), 0.0);
    check_embedding(&|| session(&backend), &[Pooling::Mean, Pooling::Last], 1e-5);
}

/// A [`BigramSession`] for every model.
struct Bigrams;

impl Backend for Bigrams {
    fn describe(&self) -> BackendInfo {
        let verbs = vec![Verb::Score, Verb::Adapt, Verb::Learn];
        BackendInfo { verbs, ..FakeBackend::default().describe() }
    }

    fn open(
        &self,
        _: DeviceId,
        _: &OpenSpec,
        _: &dyn Weights,
    ) -> Result<Box<dyn Session>, BackendError> {
        let limits = FakeLimits { vocabulary: 16, context: 32, ..FakeLimits::default() };
        Ok(Box::new(BigramSession::new(limits)))
    }
}

fn bigrams() -> PluginBackend {
    static TABLE: abi::PluginTable = plugin_table!(|| Bigrams);
    // SAFETY: the macro's functions keep the border's rules.
    unsafe { PluginBackend::of_table("bigrams", &TABLE) }.unwrap()
}

fn adapted(session: &mut dyn Session) -> AdapterId {
    let lora = json!({ "type": "lora", "r": 1, "lora_alpha": 1.0, "target_modules": "all-linear" });
    session.add_adapter(&serde_json::from_value(lora).unwrap(), None).unwrap()
}

#[test]
fn what_learns_keeps_its_contract() {
    let backend = bigrams();
    check_learning(&|| (session(&backend), Trains::All), 1e-5);
    let with_adapter = || {
        let mut session = session(&backend);
        let adapter = adapted(session.as_mut());
        (session, Trains::Adapter(adapter))
    };
    check_learning(&with_adapter, 1e-5);
}

#[test]
fn adapters_cross_with_their_tensors_and_their_errors() {
    struct One;
    impl Weights for One {
        fn names(&self) -> Vec<String> {
            vec!["adapter.weight".to_owned()]
        }
        fn get(&self, name: &str) -> Result<TensorView, BackendError> {
            let bytes = vec![0; 16 * 16 * 4].into();
            let view = TensorView { encoding: Encoding::F32, shape: vec![256], bytes };
            if name == "adapter.weight" { Ok(view) } else { Empty.get(name) }
        }
    }
    let backend = bigrams();
    let mut session = session(&backend);
    let adapter = adapted(session.as_mut());
    session.remove_adapter(adapter).unwrap();
    let gone = session.remove_adapter(adapter).unwrap_err();
    assert!(matches!(gone, BackendError::NoAdapter(it) if it == adapter), "{gone:?}");
    let lora = json!({ "type": "lora", "r": 1, "lora_alpha": 1.0, "target_modules": "all-linear" });
    let outcome = session.add_adapter(&serde_json::from_value(lora).unwrap(), Some(&One));
    let direct = BigramSession::new(FakeLimits { vocabulary: 16, ..FakeLimits::default() })
        .add_adapter(
            &serde_json::from_value(json!({ "type": "lora", "r": 1, "lora_alpha": 1.0,
            "target_modules": "all-linear" }))
            .unwrap(),
            Some(&One),
        );
    let words = |it: Result<AdapterId, BackendError>| it.map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(words(outcome), words(direct));
}

#[test]
fn a_plugin_is_called_by_its_file_and_keeps_what_it_says() {
    let (info, own) = (fake().describe(), FakeBackend::default().describe());
    assert_eq!(info.name, "plugin:fake");
    assert_eq!((info.about, info.devices, info.verbs), (own.about, own.devices, own.verbs));
}

#[test]
fn errors_say_across_the_border_what_they_say_on_this_side() {
    let backend = fake();
    let spec = OpenSpec::new(json!({ "vocab_size": 40 }));
    let error = |it: Result<Box<dyn Session>, BackendError>| match it {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    };
    let direct = error(FakeBackend::default().open(DeviceId(0), &spec, &Empty));
    assert_eq!(error(backend.open(DeviceId(0), &spec, &Empty)), direct);
    let nowhere = error(backend.open(DeviceId(3), &spec, &Empty));
    assert_eq!(nowhere, "device 3 of `plugin:fake` is not present: it has device 0 only");
}

#[test]
fn verbs_that_a_plugin_lacks_are_not_called() {
    let backend = bigrams();
    let mut session = session(&backend);
    let step =
        RowStep { row: RowTo::New, tokens: &[1], adapter: None, wanted: Wanted::Last(Shape::Full) };
    let error = session.extend(&[step]).unwrap_err();
    assert!(matches!(error, BackendError::Verb(Verb::Extend)), "{error:?}");
    let mut forest = fidelio_backend::Forest::default();
    forest.push(Parent::Root, &[1]);
    let error = session.embed(&forest, Pooling::Mean).unwrap_err();
    assert!(matches!(error, BackendError::Verb(Verb::Embed)), "{error:?}");
    assert!(session.learning().is_none(), "nothing learns before `learn`");
}

#[test]
fn nothing_wanted_is_nothing_answered() {
    let backend = fake();
    let mut session = session(&backend);
    let step = |wanted| RowStep { row: RowTo::New, tokens: &[1, 2], adapter: None, wanted };
    assert!(session.extend(&[]).unwrap().is_empty());
    let empty = Shape::Top { k: 0, also: &[] };
    let steps = [step(Wanted::Nothing), step(Wanted::Last(empty)), step(Wanted::Last(Shape::Full))];
    let mut direct = fidelio_backend::FakeSession::new(FakeLimits {
        vocabulary: 40,
        context: 64,
        ..FakeLimits::default()
    });
    assert_eq!(session.extend(&steps).unwrap(), direct.extend(&steps).unwrap());
}
