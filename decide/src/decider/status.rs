use ebb_annotations::{ScalingSpec, TargetBurstCapacity};

use super::{Decision, proposal::saturating};

/// The last decision as seen by others, who are told about relevant changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    desired_pods: Option<u32>,
    excess_burst_capacity: i64,
}

impl Status {
    /// Returns the status before the first decision: the number of pods is unknown, and the burst capacity is that of
    /// `initial_scale` pods without load (`spec/autoscaler.md`, section 6, "New decider").
    pub fn initial(spec: &ScalingSpec) -> Self {
        let excess_burst_capacity = match spec.target_burst_capacity {
            TargetBurstCapacity::Unlimited => -1,
            TargetBurstCapacity::Requests(0.0) => 0,
            TargetBurstCapacity::Requests(wanted) => {
                saturating((f64::from(spec.initial_scale) * spec.total - wanted).trunc())
            }
        };
        Self { desired_pods: None, excess_burst_capacity }
    }

    /// Stores `decision` and returns whether others must be told: the number of pods changed, or activators enter or
    /// leave the path (step 11).
    #[must_use = "who acts on the decision must be told"]
    pub fn update(&mut self, decision: &Decision) -> bool {
        let before = *self;
        self.desired_pods = Some(decision.desired_pods);
        self.excess_burst_capacity = decision.excess_burst_capacity;
        self.desired_pods != before.desired_pods || self.lacks_capacity() != before.lacks_capacity()
    }

    /// Returns the number of pods wanted; `None` before the first decision.
    pub const fn desired_pods(&self) -> Option<u32> {
        self.desired_pods
    }

    /// Returns the last [`Decision::excess_burst_capacity`].
    pub const fn excess_burst_capacity(&self) -> i64 {
        self.excess_burst_capacity
    }

    /// Returns whether activators must stay in the path to take a burst.
    const fn lacks_capacity(&self) -> bool {
        self.excess_burst_capacity < 0
    }
}
