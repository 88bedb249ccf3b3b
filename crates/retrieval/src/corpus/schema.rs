//! The columns of the index.

use tantivy::TantivyError;
use tantivy::schema::{
    FAST, Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};

pub(super) const LENGTH: &str = "length";
pub(super) const TIE: &str = "tie";

/// The columns.
pub(super) struct Fields {
    /// The document's name.
    pub(super) source: Field,
    /// The passage's number in it.
    pub(super) number: Field,
    /// The text, only stored.
    pub(super) text: Field,
    /// What else is known, as JSON, only stored.
    pub(super) fields: Field,
    /// The words of the text, only indexed.
    pub(super) words: Field,
    /// How many these are.
    pub(super) length: Field,
    /// What decides between passages of one score.
    pub(super) tie: Field,
}

pub(super) fn schema() -> Schema {
    let stored = TextOptions::default().set_stored();
    // Words come as `words` finds them; lengths are kept exactly beside, and not rounded to a byte.
    let words = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::WithFreqs);
    let mut schema = Schema::builder();
    schema.add_text_field("source", STRING | STORED);
    schema.add_u64_field("number", STORED);
    schema.add_text_field("text", stored.clone());
    schema.add_text_field("fields", stored);
    schema.add_text_field("words", TextOptions::default().set_indexing_options(words));
    schema.add_u64_field(LENGTH, FAST);
    schema.add_u64_field(TIE, FAST);
    schema.build()
}

impl Fields {
    pub(super) fn of(schema: &Schema) -> Result<Self, TantivyError> {
        Ok(Self {
            source: schema.get_field("source")?,
            number: schema.get_field("number")?,
            text: schema.get_field("text")?,
            fields: schema.get_field("fields")?,
            words: schema.get_field("words")?,
            length: schema.get_field(LENGTH)?,
            tie: schema.get_field(TIE)?,
        })
    }
}
