//! How a model on the hub is written.

/// `org/name`, with an optional `@revision` and an optional `:file.gguf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubId {
    pub(super) repo: String,
    pub(super) revision: String,
    pub(super) file: Option<String>,
}

impl HubId {
    /// Nothing when the text cannot be a hub id.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (rest, file) = match text.split_once(':') {
            Some((rest, file)) => (rest, Some(file.to_owned())),
            None => (text, None),
        };
        let (repo, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        let (org, name) = repo.split_once('/')?;
        let is_file = file.as_deref().is_none_or(|f| has_extension(f, "gguf") && is_safe_path(f));
        let is_id = is_name(org) && is_name(name) && is_safe_path(revision) && is_file;
        is_id.then(|| Self { repo: repo.to_owned(), revision: revision.to_owned(), file })
    }

    /// As the user wrote it, without defaults.
    pub(super) fn text(&self) -> String {
        match self.revision.as_str() {
            "main" => self.repo.clone(),
            revision => format!("{}@{revision}", self.repo),
        }
    }
}

/// Whether a file's name ends in `.extension`.
pub(super) fn has_extension(file: &str, extension: &str) -> bool {
    std::path::Path::new(file).extension().is_some_and(|found| found == extension)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A relative path that stays where it is put, of characters that need no escape in an address.
pub(super) fn is_safe_path(text: &str) -> bool {
    text.split('/').all(|part| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+=() ".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::HubId;

    #[test]
    fn ids_have_revisions_and_files() {
        let id = HubId::parse("org/name@v1.0:sub/model.Q4_1.gguf").unwrap();
        assert_eq!((id.repo.as_str(), id.revision.as_str()), ("org/name", "v1.0"));
        assert_eq!(id.file.as_deref(), Some("sub/model.Q4_1.gguf"));
        assert_eq!(HubId::parse("org/name").unwrap().revision, "main");
    }

    #[test]
    fn what_could_leave_the_cache_is_no_id() {
        for text in [
            "name",
            "../name",
            "org/..",
            "a/b/c",
            "org/name@../x",
            "org/name:../../x.gguf",
            "org/name:model.bin",
            "org/name?x",
            "/name",
        ] {
            assert_eq!(HubId::parse(text), None, "{text}");
        }
    }
}
