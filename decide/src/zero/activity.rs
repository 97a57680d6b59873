use ebb_core::Tick;

/// Whether a service serves, wakes or rests, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Enough pods take traffic.
    Active {
        /// When it became active.
        since: Tick,
    },
    /// Pods are wanted, and not enough take traffic yet.
    Activating {
        /// When it began to wake.
        since: Tick,
    },
    /// No pods are wanted.
    Inactive {
        /// When it went to rest, or the cause changed.
        since: Tick,
        /// Why it rests.
        cause: InactiveCause,
    },
}

/// Why a service rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InactiveCause {
    /// Nobody asks for it.
    NoTraffic,
    /// It was woken, and its pods did not become ready in time.
    TimedOut,
}

impl Activity {
    /// Whether this is [`Activity::Inactive`].
    pub const fn is_inactive(&self) -> bool {
        matches!(self, Self::Inactive { .. })
    }

    /// Whether this is [`Activity::Activating`].
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

/// The activity after a pass at `now` that wants `wanted` pods (`None`: unknown) and sees `ready`, of
/// which `threshold` make the service active (`spec/autoscaler.md`, section 7.1).
pub fn next_activity(
    before: Activity,
    wanted: Option<u32>,
    ready: u32,
    threshold: u32,
    now: Tick,
) -> Activity {
    let enough = ready >= threshold;
    match (wanted, before) {
        // Woken in vain, and given up.
        (Some(0), Activity::Activating { .. }) if threshold > 0 => {
            before.inactive(now, InactiveCause::TimedOut)
        }
        // Not wanted, or never to have a pod at all.
        (wanted, _) if wanted == Some(0) || threshold == 0 => before.inactive(now, InactiveCause::NoTraffic),
        // Unknown: what rests goes on resting, whoever is ready.
        (None, Activity::Inactive { .. }) if enough => before,
        (None, Activity::Inactive { .. }) => before.inactive(now, InactiveCause::NoTraffic),
        // Wanted, or unknown and awake: the pods tell.
        _ if enough => before.active(now),
        _ => before.activating(now),
    }
}
