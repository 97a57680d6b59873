use super::{
    duration::GoDuration,
    keys,
    reading::{Reading, Texts},
};

/// The annotations that Ebb shares with the reference, as they were found.
#[derive(Debug)]
pub(super) struct Annotations<'a> {
    pub(super) class: Option<Reading<'a, String>>,
    pub(super) metric: Option<Reading<'a, String>>,
    pub(super) target: Option<Reading<'a, f64>>,
    pub(super) target_utilization: Option<Reading<'a, f64>>,
    pub(super) target_burst_capacity: Option<Reading<'a, f64>>,
    pub(super) min_scale: Option<Reading<'a, i32>>,
    pub(super) max_scale: Option<Reading<'a, i32>>,
    /// Wider than the others: the reference accepts 64 bits, and then ignores values of more than 32.
    pub(super) initial_scale: Option<Reading<'a, i64>>,
    pub(super) activation_scale: Option<Reading<'a, i32>>,
    pub(super) window: Option<Reading<'a, GoDuration>>,
    pub(super) panic_window: Option<Reading<'a, f64>>,
    pub(super) panic_threshold: Option<Reading<'a, f64>>,
    pub(super) aggregation: Option<Reading<'a, String>>,
    pub(super) scale_down_delay: Option<Reading<'a, GoDuration>>,
    pub(super) pod_retention: Option<Reading<'a, GoDuration>>,
    pub(super) progress_deadline: Option<Reading<'a, GoDuration>>,
}

impl<'a> Annotations<'a> {
    /// Reads all annotations that are present.
    pub(super) fn read(texts: &'a Texts) -> Self {
        Self {
            class: Reading::find(texts, &keys::CLASS),
            metric: Reading::find(texts, &keys::METRIC),
            target: Reading::find(texts, &keys::TARGET),
            target_utilization: Reading::find(texts, &keys::TARGET_UTILIZATION),
            target_burst_capacity: Reading::find(texts, &keys::TARGET_BURST_CAPACITY),
            min_scale: Reading::find(texts, &keys::MIN_SCALE),
            max_scale: Reading::find(texts, &keys::MAX_SCALE),
            initial_scale: Reading::find(texts, &keys::INITIAL_SCALE),
            activation_scale: Reading::find(texts, &keys::ACTIVATION_SCALE),
            window: Reading::find(texts, &keys::WINDOW),
            panic_window: Reading::find(texts, &keys::PANIC_WINDOW),
            panic_threshold: Reading::find(texts, &keys::PANIC_THRESHOLD),
            aggregation: Reading::find(texts, &keys::AGGREGATION),
            scale_down_delay: Reading::find(texts, &keys::SCALE_DOWN_DELAY),
            pod_retention: Reading::find(texts, &keys::POD_RETENTION),
            progress_deadline: Reading::find(texts, &keys::PROGRESS_DEADLINE),
        }
    }

    /// Returns the class of the service: its annotation's, or the cluster's.
    pub(super) fn class_or<'b>(&'b self, of_cluster: &'b str) -> &'b str {
        text_of(self.class.as_ref()).unwrap_or(of_cluster)
    }
}

/// Returns the value of a setting; one that does not parse counts as absent.
pub(super) fn value_of<T: Copy>(reading: Option<&Reading<'_, T>>) -> Option<T> {
    reading.and_then(|reading| reading.value.ok())
}

/// Returns the text of a setting.
pub(super) fn text_of<'a>(reading: Option<&Reading<'a, String>>) -> Option<&'a str> {
    reading.map(|reading| reading.text)
}
