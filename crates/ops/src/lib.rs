//! The operations over Burn that decide a language model's speed.
