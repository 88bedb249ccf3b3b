//! Short names for models.

/// A short name for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Alias {
    /// What a user writes.
    pub name: &'static str,
    /// `org/name` on the hub.
    pub hub_id: &'static str,
    /// Parameters, as the model's makers round them.
    pub parameters: &'static str,
    /// The licence, by its SPDX id where it has one.
    pub license: &'static str,
    /// The longest context in tokens.
    pub context: u32,
    /// A file or folder in the `models` folder of Fidelio's cache, used instead of the hub.
    pub cached_file: Option<&'static str>,
}

/// All short names: the two that `cargo xtask fetch` brings, then others, small ones first; at the
/// end those that Ludwig knows.
pub fn aliases() -> &'static [Alias] {
    ALIASES
}

/// The alias that looks most like a text.
pub(super) fn closest(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    ALIASES
        .iter()
        .map(|alias| (strsim::jaro_winkler(&text, &alias.name.to_ascii_lowercase()), alias.name))
        .filter(|(score, _)| *score > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

const fn hub(
    name: &'static str,
    hub_id: &'static str,
    parameters: &'static str,
    license: &'static str,
    context: u32,
) -> Alias {
    Alias { name, hub_id, parameters, license, context, cached_file: None }
}

const APACHE: &str = "Apache-2.0";
const MIT: &str = "MIT";
const GEMMA: &str = "Gemma";
const LLAMA_2: &str = "Llama 2 Community";
const OPT: &str = "OPT (non-commercial)";
const BLOOM: &str = "BigScience BLOOM RAIL 1.0";

#[rustfmt::skip]
const ALIASES: &[Alias] = &[
    Alias {
        name: "smollm2-135m",
        hub_id: "HuggingFaceTB/SmolLM2-135M-Instruct",
        parameters: "135M",
        license: APACHE,
        context: 8192,
        cached_file: Some("SmolLM2-135M-Instruct.Q4_1.gguf"),
    },
    Alias {
        name: "minilm",
        hub_id: "sentence-transformers/all-MiniLM-L6-v2",
        parameters: "23M",
        license: APACHE,
        context: 256,
        cached_file: Some("all-MiniLM-L6-v2"),
    },
    hub("smollm2-360m", "HuggingFaceTB/SmolLM2-360M-Instruct", "362M", APACHE, 8192),
    hub("smollm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B-Instruct", "1.7B", APACHE, 8192),
    hub("smollm3-3b", "HuggingFaceTB/SmolLM3-3B", "3.1B", APACHE, 65536),
    hub("tinyllama-1.1b", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "1.1B", APACHE, 2048),
    hub("llama-3.2-1b", "meta-llama/Llama-3.2-1B", "1.2B", "Llama 3.2 Community", 131_072),
    hub("llama-3.2-1b-instruct", "meta-llama/Llama-3.2-1B-Instruct", "1.2B", "Llama 3.2 Community", 131_072),
    hub("llama-3.2-3b-instruct", "meta-llama/Llama-3.2-3B-Instruct", "3.2B", "Llama 3.2 Community", 131_072),
    hub("llama-3.1-8b-instruct", "meta-llama/Llama-3.1-8B-Instruct", "8.0B", "Llama 3.1 Community", 131_072),
    hub("qwen2.5-0.5b-instruct", "Qwen/Qwen2.5-0.5B-Instruct", "494M", APACHE, 32768),
    hub("qwen2.5-1.5b-instruct", "Qwen/Qwen2.5-1.5B-Instruct", "1.5B", APACHE, 32768),
    hub("qwen2.5-7b-instruct", "Qwen/Qwen2.5-7B-Instruct", "7.6B", APACHE, 32768),
    hub("qwen3-0.6b", "Qwen/Qwen3-0.6B", "596M", APACHE, 40960),
    hub("qwen3-1.7b", "Qwen/Qwen3-1.7B", "1.7B", APACHE, 40960),
    hub("qwen3-4b", "Qwen/Qwen3-4B", "4.0B", APACHE, 40960),
    hub("qwen3-8b", "Qwen/Qwen3-8B", "8.2B", APACHE, 40960),
    hub("gemma-3-270m-it", "google/gemma-3-270m-it", "268M", GEMMA, 32768),
    hub("gemma-3-1b-it", "google/gemma-3-1b-it", "1.0B", GEMMA, 32768),
    hub("gemma-2-2b-it", "google/gemma-2-2b-it", "2.6B", GEMMA, 8192),
    hub("olmo-2-1b-instruct", "allenai/OLMo-2-0425-1B-Instruct", "1.5B", APACHE, 4096),
    hub("phi-3-mini-4k-instruct", "microsoft/Phi-3-mini-4k-instruct", "3.8B", MIT, 4096),
    hub("phi-3.5-mini-instruct", "microsoft/Phi-3.5-mini-instruct", "3.8B", MIT, 4096),
    hub("phi-4-mini-instruct", "microsoft/Phi-4-mini-instruct", "3.8B", MIT, 4096),
    hub("phi-4", "microsoft/phi-4", "14.7B", MIT, 16384),
    hub("mistral-7b-instruct-v0.3", "mistralai/Mistral-7B-Instruct-v0.3", "7.2B", APACHE, 32768),
    hub("bloomz-3b", "bigscience/bloomz-3b", "3.0B", BLOOM, 2048),
    hub("bloomz-7b1", "bigscience/bloomz-7b1", "7.1B", BLOOM, 2048),
    hub("codellama-7b", "codellama/CodeLlama-7b-hf", "6.7B", LLAMA_2, 16384),
    hub("codellama-13b", "codellama/CodeLlama-13b-hf", "13.0B", LLAMA_2, 16384),
    hub("codellama-34b", "codellama/CodeLlama-34b-hf", "33.7B", LLAMA_2, 16384),
    hub("codellama-7b-instruct", "codellama/CodeLlama-7b-Instruct-hf", "6.7B", LLAMA_2, 16384),
    hub("codellama-13b-instruct", "codellama/CodeLlama-13b-Instruct-hf", "13.0B", LLAMA_2, 16384),
    hub("codellama-34b-instruct", "codellama/CodeLlama-34b-Instruct-hf", "33.7B", LLAMA_2, 16384),
    hub("gpt-neo-2.7B", "EleutherAI/gpt-neo-2.7B", "2.7B", MIT, 2048),
    hub("gpt-j-6b", "EleutherAI/gpt-j-6b", "6.1B", APACHE, 2048),
    hub("pythia-2.8b", "EleutherAI/pythia-2.8b", "2.8B", APACHE, 2048),
    hub("pythia-12b", "EleutherAI/pythia-12b", "11.8B", APACHE, 2048),
    hub("llama-2-7b", "meta-llama/Llama-2-7b-hf", "6.7B", LLAMA_2, 4096),
    hub("llama-2-13b", "meta-llama/Llama-2-13b-hf", "13.0B", LLAMA_2, 4096),
    hub("llama-2-70b", "meta-llama/Llama-2-70b-hf", "69.0B", LLAMA_2, 4096),
    hub("llama-2-7b-chat", "meta-llama/Llama-2-7b-chat-hf", "6.7B", LLAMA_2, 4096),
    hub("llama-2-13b-chat", "meta-llama/Llama-2-13b-chat-hf", "13.0B", LLAMA_2, 4096),
    hub("llama-2-70b-chat", "meta-llama/Llama-2-70b-chat-hf", "69.0B", LLAMA_2, 4096),
    hub("mistral-7b", "mistralai/Mistral-7B-v0.1", "7.2B", APACHE, 32768),
    hub("mistral-7b-instruct", "mistralai/Mistral-7B-Instruct-v0.1", "7.2B", APACHE, 32768),
    hub("mixtral-8x7b", "mistralai/Mixtral-8x7B-v0.1", "46.7B", APACHE, 32768),
    hub("mixtral-8x7b-instruct", "mistralai/Mixtral-8x7B-Instruct-v0.1", "46.7B", APACHE, 32768),
    hub("opt-350m", "facebook/opt-350m", "331M", OPT, 2048),
    hub("opt-1.3b", "facebook/opt-1.3b", "1.3B", OPT, 2048),
    hub("opt-6.7b", "facebook/opt-6.7b", "6.7B", OPT, 2048),
    hub("phi-1", "microsoft/phi-1", "1.4B", MIT, 2048),
    hub("phi-1_5", "microsoft/phi-1_5", "1.4B", MIT, 2048),
    hub("phi-2", "microsoft/phi-2", "2.8B", MIT, 2048),
    hub("vicuna-7b", "lmsys/vicuna-7b-v1.3", "6.7B", "LLaMA (non-commercial)", 2048),
    hub("vicuna-13b", "lmsys/vicuna-13b-v1.3", "13.0B", "LLaMA (non-commercial)", 2048),
    hub("zephyr-7b-alpha", "HuggingFaceH4/zephyr-7b-alpha", "7.2B", MIT, 32768),
    hub("zephyr-7b-beta", "HuggingFaceH4/zephyr-7b-beta", "7.2B", MIT, 32768),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::source::hub_id::HubId;

    #[test]
    fn each_name_is_new_and_leads_to_a_hub_id() {
        let mut names = HashSet::new();
        for alias in aliases() {
            assert!(names.insert(alias.name.to_ascii_lowercase()), "{}", alias.name);
            assert!(HubId::parse(alias.hub_id).is_some(), "{}", alias.hub_id);
            assert!(!alias.name.contains('/'));
        }
    }

    #[test]
    fn slips_of_the_keyboard_find_the_alias() {
        assert_eq!(closest("mistral7b"), Some("mistral-7b"));
        assert_eq!(closest("SmolLM2-135M"), Some("smollm2-135m"));
        assert_eq!(closest("zebra"), None);
    }
}
