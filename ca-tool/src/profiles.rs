//! Certificate profiles: the built-in ones, unless the state folder has one of the same name.
//!
//! The built-in texts are the commented files of `pki/profiles`, so that what ships is what a
//! person reads.
//!
//! **Invariant:** a profile is checked before anything is made by it.

use std::path::PathBuf;

use host::files;
use shared::cert::{Kind, Profile, ProfileText};
use shared::name::Label;

use crate::error::CaError;
use crate::layout::Layout;

const BUILT_IN: [(&str, &str); 5] = [
    ("root", include_str!("../../pki/profiles/root.yaml")),
    ("issuing", include_str!("../../pki/profiles/issuing.yaml")),
    ("node", include_str!("../../pki/profiles/node.yaml")),
    ("app", include_str!("../../pki/profiles/app.yaml")),
    ("authority", include_str!("../../pki/profiles/authority.yaml")),
];

/// Loads a profile by name.
///
/// # Errors
/// [`CaError::UnknownProfile`], or what is wrong with the file.
pub fn load(layout: &Layout, name: &Label) -> Result<Profile, CaError> {
    let path = layout.profile(name.as_str());
    if path.symlink_metadata().is_ok() {
        let bytes = files::read_bounded(&path, host::yaml::YAML_BYTES_MAX)?;
        let text = String::from_utf8(bytes).map_err(|_| CaError::Content {
            path: path.clone(),
            what: "not UTF-8 text".to_owned(),
        })?;
        return parse(name, &text, path);
    }
    built_in(name)
}

/// Loads a profile for a node.
///
/// # Errors
/// As [`load`], and [`CaError::ProfileKind`].
pub fn for_node(layout: &Layout, name: &Label) -> Result<Profile, CaError> {
    let profile = load(layout, name)?;
    if profile.kind == Kind::Node {
        Ok(profile)
    } else {
        Err(CaError::ProfileKind { name: name.clone() })
    }
}

/// Loads a profile for a node or an app.
///
/// # Errors
/// As [`load`], and [`CaError::ProfileKind`].
pub fn for_member(layout: &Layout, name: &Label) -> Result<Profile, CaError> {
    let profile = load(layout, name)?;
    match profile.kind.member() {
        Some(_) => Ok(profile),
        None => Err(CaError::ProfileKind { name: name.clone() }),
    }
}

/// A built-in profile.
///
/// # Errors
/// [`CaError::UnknownProfile`].
pub fn built_in(name: &Label) -> Result<Profile, CaError> {
    let found = BUILT_IN.iter().find(|(known, _)| *known == name.as_str());
    let (_, text) = found.ok_or_else(|| CaError::UnknownProfile { name: name.clone() })?;
    parse(name, text, PathBuf::from(format!("profiles/{name}.yaml (built in)")))
}

fn parse(name: &Label, text: &str, path: PathBuf) -> Result<Profile, CaError> {
    let text: ProfileText = host::yaml::parse(text, &path)?;
    let profile = Profile::check(&text)
        .map_err(|source| CaError::Profile { name: name.to_string(), source })?;
    if profile.name == *name {
        Ok(profile)
    } else {
        Err(CaError::Content { path, what: format!("it describes the profile {}", profile.name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_profile_is_valid() {
        for (name, _) in BUILT_IN {
            built_in(&Label::parse(name).unwrap()).unwrap();
        }
        assert!(built_in(&Label::parse("nodes").unwrap()).is_err());
    }

    #[test]
    fn a_file_of_that_name_comes_first_and_must_say_its_name() {
        let place = tempfile::tempdir().unwrap();
        let layout = Layout::new(place.path());
        std::fs::create_dir(place.path().join("profiles")).unwrap();
        let node = Label::parse("node").unwrap();
        let text = BUILT_IN[2].1.replace("life: 7d", "life: 2d");
        std::fs::write(layout.profile("node"), &text).unwrap();
        assert_eq!(load(&layout, &node).unwrap().life_s, 172_800);
        std::fs::write(layout.profile("other"), &text).unwrap();
        assert!(load(&layout, &Label::parse("other").unwrap()).is_err());
        let root = Label::parse("root").unwrap();
        assert!(matches!(for_node(&layout, &root), Err(CaError::ProfileKind { .. })));
        assert!(matches!(for_member(&layout, &root), Err(CaError::ProfileKind { .. })));
        let app = Label::parse("app").unwrap();
        assert!(matches!(for_node(&layout, &app), Err(CaError::ProfileKind { .. })));
        assert_eq!(for_member(&layout, &app).unwrap().kind, Kind::App);
    }
}
