//! A hash of what a tokenizer does, independent of how its file spells it.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::Tokenizer;

/// Texts on which tokenizers differ: digits, runs of white space, contractions, code, scripts.
pub(super) const PROBES: &[&str] = &[
    "Hello, world! It's 2024-01-31, they'LL pay $1,234.50.",
    "  leading,   inner    and trailing   \n\n\t mixed \r\n white space ",
    "1 12 123 1234 12345 123456 ٠١٢ ½ ²",
    "fn main() { let x_1 = foo::bar(&[0u8; 16])?; } // TODO: <tag attr='v'/>",
    "naïve café Ångström e\u{301} STRASSE straße İstanbul",
    "我想在 apple 工作 1314151 天。日本語のテキスト 한국어 문장",
    "нещо на Български Ελληνικά עברית العربية हिन्दी ไทย",
    "🚀 (normal) 😶\u{200d}🌫\u{fe0f} 👩\u{200d}👩\u{200d}👧 \u{a0}nbsp \u{200b}zero",
    "https://example.com/a?b=c&d=%20 user@example.com C++ C# .NET '' \"\" `` …",
    "supercalifragilisticexpialidocious antidisestablishmentarianism aaaaaaaaaaaaaaaa",
];

pub(super) fn sha256(tokenizer: &Tokenizer) -> String {
    let encoder = tokenizer.encoder();
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    let mut vocabulary: Vec<(u32, String)> =
        encoder.get_vocab(true).into_iter().map(|(text, id)| (id, text)).collect();
    vocabulary.sort_unstable();
    for (id, text) in &vocabulary {
        add(&id.to_string());
        add(text);
    }
    let specials = tokenizer.specials();
    let one = |special: &Option<super::Special>| special.as_ref().map(|s| s.id);
    add(&format!(
        "{:?} {:?} {:?} {} {}",
        one(&specials.bos),
        specials.eos.first().map(|s| s.id),
        one(&specials.unk),
        specials.add_bos,
        specials.add_eos
    ));
    for probe in PROBES {
        match encoder.encode_fast(*probe, false) {
            Ok(encoding) => add(&format!("{:?}", encoding.get_ids())),
            Err(error) => add(&error.to_string()),
        }
    }
    hex(&hash.finalize())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}
