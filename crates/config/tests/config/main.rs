//! Run files as a whole: good ones, wrong ones, every key, the schema, machine settings.

mod files;
mod good;
mod keys;
mod properties;
mod schema;
mod settings;
mod wrong;
