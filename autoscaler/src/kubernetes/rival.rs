//! Somebody else who writes the replicas that Ebb writes: an HPA, KEDA, a GitOps tool.

/// So many times in a row is no accident, and no hand at a keyboard.
const A_HABIT: u32 = 2;

/// Follows who writes the replicas of one object.
#[derive(Debug, Default)]
pub(crate) struct Rivals {
    /// What we wrote last, as long as nobody wrote something else.
    written: Option<u32>,
    /// How often in a row somebody wrote something else.
    overruled: u32,
    told: Option<String>,
}

impl Rivals {
    /// We wrote `pods`.
    pub(crate) fn wrote(&mut self, pods: u32) {
        if self.written.replace(pods).is_some() {
            self.overruled = 0;
        }
    }

    /// The object has so many `replicas`, by the hand of `writer`. Answers who makes a habit of overruling us, once.
    pub(crate) fn seen(&mut self, replicas: u32, writer: Option<&str>) -> Option<String> {
        let writer = writer.filter(|writer| !writer.starts_with(super::FIELD_MANAGER))?;
        self.written.take_if(|written| *written != replicas)?;
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

    const OURS: Option<&str> = Some("ebb-autoscaler (scale)");

    #[test]
    fn who_overrules_us_again_and_again_is_a_rival_and_is_named_once() {
        let mut rivals = Rivals::default();
        let hpa = Some("kube-controller-manager (scale)");
        rivals.wrote(3);
        assert_eq!(rivals.seen(3, OURS), None);
        assert_eq!(rivals.seen(5, hpa), None, "once may be an accident");
        assert_eq!(rivals.seen(5, hpa), None, "the same write, told again");
        rivals.wrote(3);
        assert_eq!(rivals.seen(5, hpa).as_deref(), hpa);
        rivals.wrote(3);
        assert_eq!(rivals.seen(5, hpa), None, "it was named");
        rivals.wrote(3);
        assert_eq!(rivals.seen(0, Some("argocd")).as_deref(), Some("argocd"));
    }

    #[test]
    fn a_user_who_scales_by_hand_now_and_then_is_none() {
        let mut rivals = Rivals::default();
        for _ in 0..5 {
            rivals.wrote(3);
            assert_eq!(rivals.seen(0, Some("kubectl (scale)")), None);
            rivals.wrote(3);
            rivals.wrote(4);
        }
        assert_eq!(rivals.seen(9, None), None);
    }
}
