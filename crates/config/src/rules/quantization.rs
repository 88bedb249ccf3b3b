//! Rules of `quantization`.

use serde_json::Value;

use super::Rules;
use crate::problem::Kind;

impl Rules<'_> {
    pub(super) fn quantization(&mut self) {
        let bits = self.view.written("quantization.bits").and_then(Value::as_i64);
        if let Some(bits) = bits.filter(|bits| ![4, 8].contains(bits)) {
            let problem = self
                .at(Kind::NotAllowed, "quantization.bits", format!("`quantization.bits` is {bits}"))
                .hint("write 4 or 8");
            self.found.push(problem);
        }
        self.rounded_weights_stay();
    }

    /// Rounded weights do not learn; an adapter beside them does.
    fn rounded_weights_stay(&mut self) {
        let learns = self.view.text("trainer.type").is_some_and(|kind| kind != "none");
        if !learns || self.view.may_have_adapter() || self.view.written("quantization").is_none() {
            return;
        }
        let problem = self
            .at_key(Kind::Contradiction, "quantization", "rounded weights cannot learn".to_owned())
            .because("without `adapter`, the model's own weights would have to")
            .hint("add `adapter: lora`, or remove `quantization`");
        let problem = self.also(problem, "trainer.type", "asked to learn here");
        self.found.push(problem);
    }
}
