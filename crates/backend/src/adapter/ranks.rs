//! Which rank and scale a layer's adapter has.

use regex::Regex;

use super::LoraSpec;
use crate::BackendError;

/// The ranks and alphas of a [`LoraSpec`], its patterns ready to ask.
#[derive(Debug, Clone)]
pub struct LoraRanks {
    r: usize,
    alpha: f64,
    use_rslora: bool,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
}

impl LoraRanks {
    /// Compiles the patterns of `spec`.
    ///
    /// # Errors
    /// [`BackendError::Adapter`] for a pattern that is no regular expression.
    pub fn new(spec: &LoraSpec) -> Result<Self, BackendError> {
        let ranks = spec.rank_pattern.iter().map(|(word, r)| Ok((end("rank_pattern", word)?, *r)));
        let alphas =
            spec.alpha_pattern.iter().map(|(word, a)| Ok((end("alpha_pattern", word)?, *a)));
        Ok(Self {
            r: spec.r,
            alpha: spec.lora_alpha,
            use_rslora: spec.use_rslora,
            ranks: ranks.collect::<Result<_, BackendError>>()?,
            alphas: alphas.collect::<Result<_, BackendError>>()?,
        })
    }

    /// The rank beside a layer.
    pub fn rank(&self, module: &str) -> usize {
        self.ranks.iter().find(|it| it.0.is_match(module)).map_or(self.r, |it| it.1)
    }

    /// What `B · A` is multiplied by beside a layer.
    pub fn scale(&self, module: &str) -> f64 {
        let r = self.rank(module) as f64;
        let alpha = self.alphas.iter().find(|it| it.0.is_match(module));
        let alpha = alpha.map_or(self.alpha, |it| it.1);
        if self.use_rslora { alpha / r.sqrt() } else { alpha / r }
    }

    /// The patterns with the keys that they stand under, for messages.
    pub fn patterns(&self) -> impl Iterator<Item = (&'static str, &Regex)> {
        let ranks = self.ranks.iter().map(|it| ("rank_pattern", &it.0));
        ranks.chain(self.alphas.iter().map(|it| ("alpha_pattern", &it.0)))
    }
}

/// As PEFT reads it: a layer's whole name, or what follows a dot up to its end.
fn end(key: &str, word: &str) -> Result<Regex, BackendError> {
    Regex::new(&format!(r"^(?:.*\.)?(?:{word})$")).map_err(|error| BackendError::Adapter {
        what: format!("`{key}` has `{word}`, which is no regular expression"),
        help: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_matches_holds() {
        let spec = serde_json::json!({
            "r": 8, "lora_alpha": 16.0, "target_modules": "all-linear",
            "rank_pattern": {"layers.1.q_proj": 2, "q_proj": 4},
            "alpha_pattern": {"q_proj": 4.0, "layers.1.q_proj": 64.0},
        });
        let ranks = LoraRanks::new(&serde_json::from_value(spec).unwrap()).unwrap();
        let of = |module| (ranks.rank(module), ranks.scale(module).to_string());
        assert_eq!(of("model.layers.1.q_proj"), (2, "2".into()));
        assert_eq!(of("model.layers.0.q_proj"), (4, "1".into()));
        assert_eq!(of("model.layers.0.up_proj"), (8, "2".into()));
    }
}
