//! A model that is found and opened: its files, tokenizer and chat template, not yet on a device.

use std::path::PathBuf;

use fidelio_backend::{
    AdapterId, AdapterSpec, Encoding, OpenSpec, Precision, Quantization, RotaryScaling, Session,
};
use fidelio_config::RunConfig;
use fidelio_prompting::{
    ChatTemplate, Clock, Renderer, Rules, Source as PromptSource, SpecialTexts, Vocabulary,
};
use fidelio_weights::{
    Checkpoint, Description, Origin, Progress, Source, Specials, Tokenizer, peft::PeftAdapter,
};
use serde::Serialize;

use crate::{Device, Error, Machine, plan};

/// A checkpoint with everything around its weights.
#[derive(Debug)]
pub struct Model {
    name: String,
    origin: Origin,
    checkpoint: Checkpoint,
    vocabulary: Vocabulary,
    specials: Specials,
    tokenizer_sha256: String,
}

/// A model in a plan, a list or a log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelCard {
    /// As the user wrote it.
    pub base_model: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Where it came from.
    pub origin: Origin,
    /// Its numbers.
    pub description: Description,
    /// Of the tokenizer, in a canonical form.
    pub tokenizer_sha256: String,
    /// Of the default chat template, if there is one.
    pub chat_template_sha256: Option<String>,
}

/// How a model is put on a device, where it is not just as its files are.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Opening {
    /// Replaces the model's own rotary scaling.
    pub rotary: Option<RotaryScaling>,
    /// How weights are rounded.
    pub quantization: Option<Quantization>,
    /// The arithmetic of activations.
    pub precision: Precision,
}

impl Opening {
    /// What a run file asks for.
    pub fn of(config: &RunConfig) -> Self {
        Self {
            rotary: plan::rotary(config),
            quantization: plan::quantization(config),
            precision: plan::precision(config),
        }
    }

    /// The same in the arithmetic that everything is compared with.
    pub(crate) fn exact(self) -> Self {
        Self { precision: Precision::F32, ..self }
    }

    /// The same in arithmetic that learns.
    pub(crate) fn for_learning(self) -> Self {
        if self.precision == Precision::Int8Activations { self.exact() } else { self }
    }
}

impl Model {
    /// Finds a model (folder, GGUF file, hub id or alias), downloading it if need be, and opens
    /// its files.
    ///
    /// # Errors
    /// When it cannot be found, fetched or read.
    pub fn find(
        machine: &Machine,
        base_model: &str,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let found = Source::resolve(base_model, &machine.sources(), progress)?;
        let checkpoint = Checkpoint::open(&found.path)?;
        let tokenizer = checkpoint.tokenizer()?;
        let specials = tokenizer.specials().clone();
        let tokenizer_sha256 = tokenizer.sha256();
        let vocabulary = vocabulary(tokenizer, &specials)?;
        let name = base_model.to_owned();
        let origin = found.origin;
        Ok(Self { name, origin, checkpoint, vocabulary, specials, tokenizer_sha256 })
    }

    /// The model with the layers that an adapter stands on.
    ///
    /// # Errors
    /// When the adapter asks for layers that the model does not have.
    pub(crate) fn under(self, adapter: Option<&AdapterSpec>) -> Result<Self, Error> {
        match adapter {
            Some(AdapterSpec::Lora(lora)) if !lora.layer_replication.is_empty() => {
                let checkpoint = self.checkpoint.replicated(&lora.layer_replication)?;
                Ok(Self { checkpoint, ..self })
            }
            _ => Ok(self),
        }
    }

    /// The model in numbers.
    pub fn card(&self) -> ModelCard {
        ModelCard {
            base_model: self.name.clone(),
            path: self.checkpoint.path().to_owned(),
            origin: self.origin.clone(),
            description: self.checkpoint.describe(),
            tokenizer_sha256: self.tokenizer_sha256.clone(),
            chat_template_sha256: self
                .checkpoint
                .chat_template()
                .map(fidelio_weights::ChatTemplateSource::sha256),
        }
    }

    /// Its files.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Its tokenizer and special ids.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The ids that end its texts.
    pub fn eos(&self) -> Vec<u32> {
        self.specials.eos.iter().map(|special| special.id).collect()
    }

    /// The one renderer, for this model.
    ///
    /// # Errors
    /// When the rules do not fit the model, or its chat template is broken.
    pub fn renderer(&self, source: PromptSource, rules: Rules) -> Result<Renderer, Error> {
        let chat = match self.checkpoint.chat_template() {
            Some(template) => {
                Some(ChatTemplate::new(&template.text, self.special_texts(), Clock::Local)?)
            }
            None => None,
        };
        Ok(Renderer::new(source, rules, self.vocabulary.clone(), chat)?)
    }

    /// Puts the model on a device.
    ///
    /// # Errors
    /// [`Error::Quantized`], and when the engine cannot run it.
    pub fn open(&self, device: &Device, how: &Opening) -> Result<Box<dyn Session>, Error> {
        self.check(how)?;
        let mut spec = OpenSpec::new(self.checkpoint.config().clone());
        spec.rotary = how.rotary;
        spec.quantization = how.quantization;
        spec.precision = how.precision;
        Ok(device.backend.open(device.id, &spec, self.checkpoint.weights())?)
    }

    /// As [`Self::open`], with the adapter of a folder in PEFT's format.
    ///
    /// # Errors
    /// As there, and when the adapter cannot be read or does not fit the model.
    pub fn open_adapted(
        &self,
        device: &Device,
        how: &Opening,
        adapter: &PeftAdapter,
    ) -> Result<(Box<dyn Session>, AdapterId), Error> {
        let mut session = self.open(device, how)?;
        let id = session.add_adapter(&adapter.spec, Some(&adapter.weights))?;
        Ok((session, id))
    }

    /// Bytes that the weights take once they are rounded.
    pub(crate) fn weight_bytes(&self, quantization: Option<Quantization>) -> u64 {
        let bytes = |(name, encoding, shape): (&str, Encoding, &[usize])| {
            let rounded = quantization.filter(|_| Quantization::covers(name, shape));
            match (rounded, shape) {
                (Some(to), &[rows, cols]) => to.bytes(rows, cols),
                _ => encoding.bytes_of(shape.iter().product()).map(|bytes| bytes as u64),
            }
        };
        self.checkpoint.weights().iter().filter_map(bytes).sum()
    }

    /// Refuses a way to open it that its weights do not allow.
    pub(crate) fn check(&self, how: &Opening) -> Result<(), Error> {
        self.check_roundable(how.quantization)?;
        self.check_integers(how)
    }

    /// Refuses arithmetic of integers over weights of which none are.
    fn check_integers(&self, how: &Opening) -> Result<(), Error> {
        let integers = |(name, encoding, shape): (&str, Encoding, &[usize])| match how.quantization
        {
            Some(to) if Quantization::covers(name, shape) => to == Quantization::Int8,
            _ => encoding.is_quantised(),
        };
        let asked = how.precision == Precision::Int8Activations;
        if asked && !self.checkpoint.weights().iter().any(integers) {
            return Err(Error::NoIntegers { base_model: self.name.clone() });
        }
        Ok(())
    }

    /// Refuses to round weights that are rounded already.
    fn check_roundable(&self, quantization: Option<Quantization>) -> Result<(), Error> {
        let rounded = |(name, encoding, shape): &(&str, Encoding, &[usize])| {
            Quantization::covers(name, shape) && encoding.is_quantised()
        };
        let found = quantization.and_then(|_| self.checkpoint.weights().iter().find(rounded));
        match found {
            Some((_, encoding, _)) => Err(Error::Quantized {
                base_model: self.name.clone(),
                encoding: format!("{encoding:?}"),
            }),
            None => Ok(()),
        }
    }

    fn special_texts(&self) -> SpecialTexts {
        let text = |special: Option<&fidelio_weights::Special>| special.map(|s| s.text.clone());
        SpecialTexts {
            bos: text(self.specials.bos.as_ref()),
            eos: text(self.specials.eos.first()),
            unk: text(self.specials.unk.as_ref()),
            pad: text(self.specials.pad.as_ref()),
        }
    }
}

fn vocabulary(tokenizer: Tokenizer, specials: &Specials) -> Result<Vocabulary, Error> {
    let id = |special: Option<&fidelio_weights::Special>| special.map(|special| special.id);
    let eos = specials.eos.iter().map(|special| special.id).collect();
    let vocabulary = Vocabulary::new(tokenizer.into_encoder(), id(specials.bos.as_ref()), eos)?
        .with_add_bos(specials.add_bos)
        .with_pad_and_unk(id(specials.pad.as_ref()), id(specials.unk.as_ref()));
    Ok(vocabulary)
}

#[cfg(test)]
mod tests {
    use fidelio_config::Override;

    use super::*;
    use crate::RunFile;

    const RUN: &str = "model_type: llm\nbase_model: x\nquantization: {bits: 4}\n\
        input_features: [{name: text, type: text}]\ntrainer: {type: none}\n";

    /// Elsewhere the key is read for one kind of output and ignored for another.
    #[test]
    fn weights_are_rounded_whatever_is_answered() {
        let nf4 = Some(Quantization::Nf4 { double_quant: true });
        for output in
            ["{name: a, type: text}", "{name: a, type: category, preprocessing: {vocab: [b, c]}}"]
        {
            let text = format!("{RUN}output_features: [{output}]\n");
            let run = RunFile::parse("run.yaml", &text, &[]).unwrap();
            assert_eq!(Opening::of(run.config()).quantization, nf4, "{output}");
            let tuned = ["trainer={type: finetune}", "adapter={type: lora}"].map(Override::new);
            let run = RunFile::parse("run.yaml", &text, &tuned).unwrap();
            assert_eq!(Opening::of(run.config()).quantization, nf4, "{output}");
        }
    }
}
