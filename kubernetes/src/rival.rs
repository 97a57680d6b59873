//! Detects another program that writes the replicas that Ebb writes: an HPA, KEDA or a GitOps tool.

/// Number of overwrites in a row that are neither an accident nor a manual change.
const A_HABIT: u32 = 2;

/// The name of a writer of whom the API server kept no record.
const SOMEBODY: &str = "another program (an autoscaler, or kubectl scale)";

/// Tracks who writes the replicas of one object.
#[derive(Debug, Default)]
pub(crate) struct Rivals {
    /// Ebb's last write, unless somebody else has written since.
    written: Option<Written>,
    /// How often in a row somebody else wrote another value.
    overruled: u32,
    told: Option<String>,
}

#[derive(Debug)]
struct Written {
    pods: u32,
    /// Whether the watch has shown it: earlier states are older than the write.
    seen: bool,
}

impl Rivals {
    /// Records that Ebb wrote `pods`.
    pub(crate) fn wrote(&mut self, pods: u32) {
        if self.written.replace(Written { pods, seen: false }).is_some() {
            self.overruled = 0;
        }
    }

    /// Records that the object has `replicas`, written by `writer`. Returns the writer who keeps overwriting Ebb,
    /// once.
    pub(crate) fn seen(&mut self, replicas: u32, writer: Option<&str>) -> Option<String> {
        let written = self.written.as_mut()?;
        if written.pods == replicas {
            written.seen = true;
            return None;
        }
        let writer = writer.unwrap_or(SOMEBODY);
        if !written.seen || writer.starts_with(super::FIELD_MANAGER) {
            return None;
        }
        self.written = None;
        self.overruled += 1;
        if self.overruled < A_HABIT || self.told.as_deref() == Some(writer) {
            return None;
        }
        self.told = Some(writer.to_owned());
        self.told.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HPA: Option<&str> = Some("kube-controller-manager (scale)");

    /// Ebb writes, and the watch shows it.
    fn wrote(rivals: &mut Rivals, pods: u32) {
        rivals.wrote(pods);
        assert_eq!(rivals.seen(pods, Some("ebb-autoscaler (scale)")), None);
    }

    #[test]
    fn who_overrules_us_again_and_again_is_a_rival_and_is_named_once() {
        let mut rivals = Rivals::default();
        wrote(&mut rivals, 3);
        assert_eq!(rivals.seen(5, HPA), None, "once may be an accident");
        assert_eq!(rivals.seen(5, HPA), None, "the same write, told again");
        wrote(&mut rivals, 3);
        assert_eq!(rivals.seen(5, HPA).as_deref(), HPA);
        wrote(&mut rivals, 3);
        assert_eq!(rivals.seen(5, HPA), None, "it was named");
        wrote(&mut rivals, 3);
        assert_eq!(rivals.seen(0, Some("argocd")).as_deref(), Some("argocd"));
    }

    #[test]
    fn a_rival_of_whom_there_is_no_record_is_told_of_as_well() {
        let mut rivals = Rivals::default();
        for told in [false, true] {
            wrote(&mut rivals, 0);
            assert_eq!(rivals.seen(4, None).is_some(), told);
        }
    }

    #[test]
    fn what_was_so_before_our_write_overrules_nobody() {
        let mut rivals = Rivals::default();
        for _ in 0..3 {
            rivals.wrote(3);
            assert_eq!(rivals.seen(1, HPA), None, "the watch is behind");
            wrote(&mut rivals, 3);
        }
    }

    #[test]
    fn a_user_who_scales_by_hand_now_and_then_is_none() {
        let mut rivals = Rivals::default();
        for _ in 0..5 {
            wrote(&mut rivals, 3);
            assert_eq!(rivals.seen(0, Some("kubectl (scale)")), None);
            wrote(&mut rivals, 3);
            wrote(&mut rivals, 4);
        }
    }
}
