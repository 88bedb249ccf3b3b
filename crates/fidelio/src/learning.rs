//! What a run file says about learning, as the engine and the trainer want it.

use fidelio_backend::{
    AdapterSpec, Clip, LearnSpec, LoraBias, LoraInit, LoraSpec, OptimizerSpec, TargetModules,
    Trains,
};
use fidelio_config::{
    self as config, Adapter, AdapterInUse, Decay, Finetune, Length, Lora, LoraStart, NewLora,
    Optimizer, RunConfig,
};
use fidelio_eval::Better;
use fidelio_trainer::{
    Decay as Curve, Goal, Plateau, Schedule, Soup, SoupKind, TrainPlan, Watch, warmup_updates,
};

/// Beginnings that rows of a batch share are computed once from so many tokens on.
const SHARED_TOKENS: usize = 8;
/// Rows at once where neither the run file nor a measurement says more.
const ROWS_AT_ONCE: usize = 8;

/// The new adapter that a run begins with, on a model of these settings.
pub(crate) fn begun(config: &RunConfig, model: &serde_json::Value) -> Option<AdapterSpec> {
    let lora = lora_in_use(config)?;
    match &lora.start {
        LoraStart::New(new) => Some(AdapterSpec::Lora(lora_spec(new, model, config.random_seed))),
        LoraStart::Trained { .. } => None,
    }
}

/// The adapter in use as it is written; none where it is made of others.
fn lora_in_use(config: &RunConfig) -> Option<&Lora> {
    match config.adapter_in_use()? {
        AdapterInUse::Written(Adapter::Lora(lora)) => Some(lora),
        _ => None,
    }
}

/// The layers that get an adapter unless a run says otherwise: queries and values, as PEFT has it,
/// and what holds them where projections are fused.
fn usual_targets(model: &serde_json::Value) -> TargetModules {
    let names: &[&str] = match model["model_type"].as_str() {
        Some("phi3") => &["qkv_proj"],
        Some("gpt2") => &["c_attn"],
        Some("gpt_neox") => &["query_key_value"],
        _ => &["q_proj", "v_proj"],
    };
    TargetModules::Named(names.iter().map(ToString::to_string).collect())
}

fn lora_spec(new: &NewLora, model: &serde_json::Value, seed: u64) -> LoraSpec {
    LoraSpec {
        r: new.r,
        lora_alpha: new.alpha,
        lora_dropout: new.dropout,
        target_modules: match &new.target_modules {
            Some(config::TargetModules::Named(names)) => TargetModules::Named(names.clone()),
            Some(config::TargetModules::Pattern(text)) => TargetModules::Pattern(text.clone()),
            None => usual_targets(model),
        },
        bias: match new.bias_type {
            config::BiasType::None => LoraBias::None,
            config::BiasType::All => LoraBias::All,
            config::BiasType::LoraOnly => LoraBias::LoraOnly,
        },
        use_rslora: new.use_rslora,
        use_dora: new.use_dora,
        init_lora_weights: match new.init_lora_weights {
            config::LoraInit::Gaussian => LoraInit::Gaussian,
            config::LoraInit::Orthogonal => LoraInit::Orthogonal,
            config::LoraInit::Pissa => LoraInit::Pissa,
            config::LoraInit::Olora => LoraInit::Olora,
            _ => LoraInit::Default,
        },
        rank_pattern: new.rank_pattern.clone().into_iter().collect(),
        alpha_pattern: new.alpha_pattern.clone().into_iter().collect(),
        layer_replication: new.layer_replication.clone(),
        seed,
    }
}

/// Everything that training decides before its first update; `adapter` is the one that learns.
pub(crate) fn plan(
    config: &RunConfig,
    how: &Finetune,
    trains: Trains,
    adapter: Option<&AdapterSpec>,
    rows: usize,
) -> TrainPlan {
    let batches = how.batches(ROWS_AT_ONCE);
    let per_epoch =
        TrainPlan::updates_per_epoch(rows, batches.batch_size, batches.accumulation).max(1);
    let updates = match how.length {
        Length::Epochs { epochs } => per_epoch * epochs as u64,
        Length::Steps { train_steps } => train_steps as u64,
    };
    let every = match how.checkpoints() {
        config::Checkpoints::Every(updates) => updates.get() as u64,
        config::Checkpoints::PerEpoch(times) => (per_epoch / times.get() as u64).max(1),
    };
    let drops = matches!(adapter, Some(AdapterSpec::Lora(lora)) if lora.lora_dropout > 0.0);
    let noisy = config.neftune_noise_alpha() > 0.0 || drops;
    TrainPlan {
        updates,
        batch_size: batches.batch_size,
        gradient_accumulation_steps: batches.accumulation,
        shuffle: how.should_shuffle,
        seed: config.random_seed,
        learning_rate: how.learning_rate.rate(adapter.is_some()),
        schedule: schedule(how, updates, every),
        plateau: plateau(how),
        learn: learn(config, how, trains),
        share_beginnings: (!noisy).then_some(SHARED_TOKENS),
        evaluate_every: every,
        checkpoint_every: every,
        early_stop: how.patience().map(|evaluations| evaluations as u64),
        validation_metric: how.judged_by().to_owned(),
        goal: goal(how.judged_by()),
        model_soup: how.soup.map(|soup| Soup {
            kind: match soup.model_soup {
                config::ModelSoup::Uniform => SoupKind::Uniform,
                config::ModelSoup::Greedy => SoupKind::Greedy,
            },
            top_k: soup.model_soup_top_k,
        }),
    }
}

/// What a metric should become.
fn goal(metric: &str) -> Goal {
    match Better::of(metric) {
        Better::Lower => Goal::Minimize,
        Better::Higher => Goal::Maximize,
    }
}

fn learn(config: &RunConfig, how: &Finetune, trains: Trains) -> LearnSpec {
    let lora_plus_ratio = lora_in_use(config).and_then(|lora| lora.loraplus_lr_ratio);
    LearnSpec {
        trains,
        frozen: how.layers_to_freeze_regex.iter().cloned().collect(),
        optimizer: optimizer(how.optimizer),
        lora_plus_ratio,
        clip: match how.gradient_clipping {
            config::GradientClipping::GlobalNorm { clipglobalnorm: 0.0 } => Clip::None,
            config::GradientClipping::GlobalNorm { clipglobalnorm } => {
                Clip::GlobalNorm(clipglobalnorm)
            }
            config::GradientClipping::Norm { clipnorm } => Clip::Norm(clipnorm),
            config::GradientClipping::Value { clipvalue } => Clip::Value(clipvalue),
        },
        neftune_alpha: config.neftune_noise_alpha(),
        seed: config.random_seed,
        checkpoint_blocks: how.enable_gradient_checkpointing,
    }
}

fn schedule(how: &Finetune, updates: u64, evaluate_every: u64) -> Schedule {
    let scheduler = &how.learning_rate_scheduler;
    let warmup_updates = scheduler.warmup.map_or(0, |warmup| {
        let evaluations = warmup.warmup_evaluations.ceil() as u64;
        warmup_updates(warmup.warmup_fraction, evaluations, updates, evaluate_every)
    });
    let decay = match scheduler.decay {
        Decay::Constant => Curve::None,
        Decay::Linear => Curve::Linear,
        Decay::Exponential { decay_rate: rate, decay_steps, staircase } => {
            Curve::Exponential { rate, steps: decay_steps as u64, staircase }
        }
        Decay::Cosine { t_0, t_mult, eta_min } => Curve::Cosine {
            t_0: t_0.map(|updates| updates as u64),
            t_mult: t_mult.unwrap_or(1) as u64,
            eta_min,
        },
        Decay::OneCycle { max_lr, pct_start, div_factor, final_div_factor } => {
            Curve::OneCycle { max_lr, pct_start, div_factor, final_div_factor }
        }
        Decay::InverseSqrt { inverse_sqrt_warmup_steps: steps } => {
            Curve::InverseSqrt { steps: steps as u64 }
        }
        Decay::Polynomial { polynomial_power: power, polynomial_end_lr: end_lr } => {
            Curve::Polynomial { power, end_lr }
        }
        Decay::Wsd { wsd_warmup_fraction, wsd_decay_fraction, .. } => {
            Curve::Wsd { warmup_fraction: wsd_warmup_fraction, decay_fraction: wsd_decay_fraction }
        }
    };
    Schedule { warmup_updates, decay }
}

fn plateau(how: &Finetune) -> Option<Plateau> {
    let scheduler = &how.learning_rate_scheduler;
    let watched = |metric: &str| match Finetune::measured_as(metric) {
        metric if metric == how.judged_by() => Watch::Validation,
        metric => Watch::Value { name: metric.to_owned(), goal: goal(metric) },
    };
    scheduler.plateau.as_ref().map(|plateau| Plateau {
        watch: match plateau.split {
            config::WatchedSplit::Training => Watch::TrainingLoss,
            config::WatchedSplit::Validation => watched(&plateau.metric),
        },
        patience: plateau.patience as u64,
        rate: plateau.rate,
        times: scheduler.reduce_on_plateau as u64,
    })
}

fn optimizer(named: Optimizer) -> OptimizerSpec {
    use OptimizerSpec as Spec;
    match named {
        Optimizer::Sgd { momentum, weight_decay, dampening, nesterov } => {
            Spec::Sgd { momentum, dampening, weight_decay, nesterov }
        }
        Optimizer::Adam { betas, eps, weight_decay, amsgrad } => {
            Spec::Adam { betas, eps, weight_decay, amsgrad }
        }
        Optimizer::Adam8bit { betas, eps, weight_decay } => {
            Spec::Adam8bit { betas, eps, weight_decay }
        }
        Optimizer::Adamw8bit { betas, eps, weight_decay } => {
            Spec::Adamw8bit { betas, eps, weight_decay }
        }
        Optimizer::Lion8bit { betas, weight_decay } => Spec::Lion8bit { betas, weight_decay },
        Optimizer::Adamax { betas, eps, weight_decay } => Spec::Adamax { betas, eps, weight_decay },
        Optimizer::Nadam { betas, eps, weight_decay, momentum_decay } => {
            Spec::Nadam { betas, eps, weight_decay, momentum_decay }
        }
        Optimizer::Radam { betas, eps, weight_decay } => Spec::Radam { betas, eps, weight_decay },
        Optimizer::Adagrad { initial_accumulator_value, lr_decay, weight_decay, eps } => {
            Spec::Adagrad { initial_accumulator_value, lr_decay, weight_decay, eps }
        }
        Optimizer::Adadelta { rho, eps, weight_decay } => Spec::Adadelta { rho, eps, weight_decay },
        Optimizer::Rmsprop { momentum, alpha, eps, centered, weight_decay } => {
            Spec::Rmsprop { momentum, alpha, eps, centered, weight_decay }
        }
        // The rest of Adafactor's settings have no key; these are transformers' defaults.
        Optimizer::Adafactor { scale_parameter, relative_step, warmup_init } => Spec::Adafactor {
            eps: [1e-30, 1e-3],
            clip_threshold: 1.0,
            decay_rate: -0.8,
            weight_decay: 0.0,
            scale_parameter,
            relative_step,
            warmup_init,
        },
        Optimizer::Lion { betas, weight_decay } => Spec::Lion { betas, weight_decay },
        Optimizer::Lamb { bias_correction, betas, eps, weight_decay } => {
            Spec::Lamb { betas, eps, weight_decay, bias_correction }
        }
        Optimizer::Muon { momentum, nesterov, weight_decay } => {
            Spec::Muon { momentum, nesterov, weight_decay }
        }
        Optimizer::ScheduleFreeAdamw { betas, eps, weight_decay, warmup_steps } => {
            Spec::ScheduleFreeAdamw { betas, eps, weight_decay, warmup_steps: warmup_steps as u64 }
        }
        Optimizer::Adamw { betas, eps, weight_decay, amsgrad } => {
            Spec::Adamw { betas, eps, weight_decay, amsgrad }
        }
        other => unreachable!("the checks let no other optimizer through: {other:?}"),
    }
}
