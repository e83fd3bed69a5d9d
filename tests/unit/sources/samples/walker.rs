//! Walks folders.

use std::path::{Path, PathBuf};

/// How a walk went.
#[derive(Debug, Default)]
pub struct Walker<'a> {
    roots: Vec<&'a Path>,
    skipped: usize,
}

impl<'a> Walker<'a> {
    /// Adds a folder to begin with.
    pub fn add(&mut self, root: &'a Path) -> &mut Self {
        self.roots.push(root);
        self
    }
}

impl Iterator for Walker<'_> {
    type Item = PathBuf;

    fn next(&mut self) -> Option<PathBuf> {
        self.roots.pop().map(Path::to_path_buf)
    }
}

pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_files_are_hidden() {
        assert!(is_hidden(Path::new(".git")));
    }
}
