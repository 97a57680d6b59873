//! `config-autoscaler`: the defaults of scaling.

use std::collections::BTreeMap;

use ebb_annotations::ClusterDefaults;

use super::{Fault, Map, fault::shortened, setting::Setting};

/// The key that the reference has in `config-deployment` instead.
const ELSEWHERE: &str = "progress-deadline";

/// Returns the keys of the map.
pub(super) fn settings() -> Vec<Setting> {
    let setting = |name| {
        let setting = Setting::new(name);
        if name == ELSEWHERE { setting.idle("") } else { setting }
    };
    ClusterDefaults::KEYS.into_iter().map(setting).collect()
}

/// Reads the map.
///
/// # Errors
///
/// Returns everything that is wrong with it.
pub(super) fn read(data: &BTreeMap<String, String>) -> Result<ClusterDefaults, Vec<Fault>> {
    let keys = ClusterDefaults::KEYS.into_iter().filter(|key| *key != ELSEWHERE);
    let known = keys.filter_map(|key| Some((key.to_owned(), data.get(key)?.trim().to_owned()))).collect();
    ClusterDefaults::from_map(&known).map_err(|faults| {
        let faults = faults.into_iter().map(|mut fault| {
            fault.value = shortened(&fault.value);
            let text = fault.to_string();
            Fault { map: Map::Autoscaler, key: fault.key, value: fault.value, text }
        });
        faults.collect()
    })
}
