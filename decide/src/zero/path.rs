use ebb_annotations::{ScalingSpec, TargetBurstCapacity};

/// Minimum number of activators of one service, because one may go at any time.
pub const MIN_ACTIVATORS: u32 = 2;

/// Where a service's traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// To its pods directly.
    Serve,
    /// To the activators, which pass it on.
    Proxy,
}

impl Path {
    /// Returns the path: pods serve if any are wanted and a burst would not overload them (section 7, step 3).
    ///
    /// If the number is unknown (`None`), the path is proxy, as in the reference: activators can handle both cases.
    pub const fn of(wanted_pods: Option<u32>, excess_burst_capacity: i64) -> Self {
        match wanted_pods {
            Some(1..) if excess_burst_capacity >= 0 => Self::Serve,
            _ => Self::Proxy,
        }
    }
}

/// Returns how many activators share a service (section 7, step 4): enough for what its `ready_pods` can take plus
/// the burst, `⌈(ready × total + burst) ÷ activator capacity⌉`, but [`MIN_ACTIVATORS`] if it wants none in the path.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
pub fn num_activators(spec: &ScalingSpec, ready_pods: u32) -> u32 {
    let burst = match spec.target_burst_capacity {
        TargetBurstCapacity::Requests(0.0) => return MIN_ACTIVATORS,
        TargetBurstCapacity::Requests(requests) => requests,
        TargetBurstCapacity::Unlimited => 0.0,
    };
    let requests = f64::from(ready_pods) * spec.total + burst;
    ((requests / spec.activator_capacity).ceil() as u32).max(MIN_ACTIVATORS)
}
