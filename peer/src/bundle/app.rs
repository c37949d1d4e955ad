//! The bundle of an app: files for a program that speaks MQTT, and no peer.

use std::path::Path;

use super::Paths;

/// What to type next with the bundle of an app.
#[must_use]
pub fn usage_of_app(folder: &Path) -> String {
    let paths = Paths::of(folder);
    format!(
        "mosquitto_pub -h PEER -p 8883 --cafile {} --cert {} --key {} -t TOPIC -m TEXT",
        paths.trust().display(),
        paths.cert().display(),
        paths.key().display()
    )
}
