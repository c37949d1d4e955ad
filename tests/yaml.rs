//! Every YAML file that is shipped or written is read by the code that reads it for people.

use host::yaml;
use shared::cert::{Profile, ProfileText};
use tests::{Network, tree};

#[test]
fn every_shipped_profile_is_sound() {
    let mut files = tree::files("yaml");
    files.retain(|file| *file != tree::root().join("pki/policy.yaml"));
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        assert!(file.starts_with(tree::root().join("pki/profiles")), "who reads {file:?}?");
        let text = std::fs::read_to_string(&file).unwrap();
        let written: ProfileText = yaml::parse(&text, &file).unwrap();
        let profile = Profile::check(&written).unwrap();
        assert_eq!(profile.name.as_str(), file.file_stem().unwrap().to_str().unwrap());
    }
}

#[test]
fn the_shipped_policy_is_sound_and_says_what_is_built_in() {
    let file = ca_tool::PolicyFile::read(&tree::root().join("pki/policy.yaml")).unwrap();
    assert!(file.passed().unwrap() > 0);
    let built_in = shared::policy::Policy::built_in();
    assert_eq!((file.policy.rules, file.policy.quotas), (built_in.rules, built_in.quotas));
}

#[test]
fn a_typo_is_shown_with_its_place_and_the_known_keys() {
    let file = tree::root().join("pki/profiles/node.yaml");
    let text = std::fs::read_to_string(&file).unwrap().replace("life-min", "live-min");
    let error = yaml::parse::<ProfileText>(&text, &file).unwrap_err();
    let said = format!("{error} {}", error.hint().unwrap_or_default());
    assert!(said.contains("node.yaml:") && said.contains("life-min"), "{said}");
}

#[test]
fn what_the_authority_writes_it_reads_again() {
    let network = Network::with(&["alice"]);
    network.ca("list");
    let settings = network.path().join("pki/state/authority.yaml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{text}\nfrobnicate: 1\n")).unwrap();
    let said = network.try_ca("publish");
    assert!(said.code != 0 && said.err.contains("authority.yaml"), "{said:?}");
}
