use ebb_core::Tick;

/// Whether a service is active, activating or inactive, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Enough pods take traffic.
    Active {
        /// When it became active.
        since: Tick,
    },
    /// Pods are wanted, but not enough of them take traffic yet.
    Activating {
        /// When it started to activate.
        since: Tick,
    },
    /// No pods are wanted.
    Inactive {
        /// When it became inactive, or the cause changed.
        since: Tick,
        /// Why it is inactive.
        cause: InactiveCause,
    },
}

/// Why a service is inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InactiveCause {
    /// There are no requests.
    NoTraffic,
    /// It was activated, but its pods did not become ready in time.
    TimedOut,
}

impl Activity {
    /// Returns whether this is [`Activity::Inactive`].
    pub const fn is_inactive(&self) -> bool {
        matches!(self, Self::Inactive { .. })
    }

    /// Returns whether this is [`Activity::Activating`].
    pub const fn is_activating(&self) -> bool {
        matches!(self, Self::Activating { .. })
    }

    fn active(self, now: Tick) -> Self {
        if matches!(self, Self::Active { .. }) { self } else { Self::Active { since: now } }
    }

    fn activating(self, now: Tick) -> Self {
        if self.is_activating() { self } else { Self::Activating { since: now } }
    }

    fn inactive(self, now: Tick, cause: InactiveCause) -> Self {
        match self {
            Self::Inactive { cause: before, .. } if before == cause => self,
            _ => Self::Inactive { since: now, cause },
        }
    }
}

/// Returns the activity after a pass at `now` with `wanted` pods (`None`: unknown) and `ready` pods, of which
/// `threshold` make the service active (`spec/autoscaler.md`, section 7.1).
pub fn next_activity(
    before: Activity,
    wanted: Option<u32>,
    ready: u32,
    threshold: u32,
    now: Tick,
) -> Activity {
    let enough = ready >= threshold;
    match (wanted, before) {
        // Activation failed, and no pods are wanted any more.
        (Some(0), Activity::Activating { .. }) if threshold > 0 => {
            before.inactive(now, InactiveCause::TimedOut)
        }
        // No pods are wanted, or the service may never have a pod.
        (wanted, _) if wanted == Some(0) || threshold == 0 => before.inactive(now, InactiveCause::NoTraffic),
        // Unknown: an inactive service stays inactive, even with ready pods.
        (None, Activity::Inactive { .. }) if enough => before,
        (None, Activity::Inactive { .. }) => before.inactive(now, InactiveCause::NoTraffic),
        // Pods are wanted, or it is unknown and the service is not inactive: the ready pods decide.
        _ if enough => before.active(now),
        _ => before.activating(now),
    }
}
