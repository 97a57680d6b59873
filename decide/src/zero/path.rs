use ebb_annotations::{ScalingSpec, TargetBurstCapacity};

/// Fewest activators of one service: one may go at any time.
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
    /// Pods serve if there are to be any and a burst would not drown them (section 7, step 3).
    ///
    /// Unknown (`None`) proxies, as the reference does; activators know what to do with either.
    pub const fn of(wanted_pods: Option<u32>, excess_burst_capacity: i64) -> Self {
        match wanted_pods {
            Some(1..) if excess_burst_capacity >= 0 => Self::Serve,
            _ => Self::Proxy,
        }
    }
}

/// How many activators share a service (section 7, step 4): enough for what its `ready_pods` can take
/// and the burst on top, `⌈(ready × total + burst) ÷ activator capacity⌉`, but [`MIN_ACTIVATORS`] if it
/// wants none in the path.
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
