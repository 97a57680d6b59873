//! Activators whose streams broke off, in case no others are left: then perhaps only the connection to this
//! autoscaler broke.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ebb_core::{ServiceKey, Tick};

/// Time after which an activator that has not reconnected is forgotten, while others are connected.
const REMEMBERED_FOR: Duration = Duration::from_secs(30);
/// Maximum number of remembered activators; the latest are kept.
const MOST: usize = 64;

/// The endpoints of activators that are no longer connected.
#[derive(Debug, Default)]
pub(super) struct Departed(VecDeque<One>);

#[derive(Debug)]
struct One {
    address: IpAddr,
    ports: HashMap<Arc<ServiceKey>, u16>,
    at: Tick,
}

impl Departed {
    /// Remembers the activator at `address`, whose stream broke off at `now`.
    pub(super) fn remember(&mut self, address: IpAddr, ports: HashMap<Arc<ServiceKey>, u16>, now: Tick) {
        self.0.retain(|one| one.address != address);
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(One { address, ports, at: now });
    }

    /// Returns the endpoints of `service` at these activators.
    pub(super) fn addresses(&self, service: &ServiceKey) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().filter_map(|one| Some(SocketAddr::new(one.address, *one.ports.get(service)?)))
    }

    /// Forgets the endpoint of `service` at `address`, or at all addresses.
    pub(super) fn forget_service(&mut self, service: &ServiceKey, address: Option<IpAddr>) {
        for one in self.0.iter_mut().filter(|one| address.is_none_or(|address| one.address == address)) {
            one.ports.remove(service);
        }
    }

    /// Forgets the activator at `address`. Returns its services.
    pub(super) fn forget_address(&mut self, address: IpAddr) -> Vec<Arc<ServiceKey>> {
        self.forget(|one| one.address == address)
    }

    /// Forgets old activators, because others are connected at `now`. Returns the services of the forgotten ones.
    pub(super) fn others_are_heard(&mut self, now: Tick) -> Vec<Arc<ServiceKey>> {
        self.forget(|one| now.since(one.at) >= REMEMBERED_FOR)
    }

    fn forget(&mut self, is_over: impl Fn(&One) -> bool) -> Vec<Arc<ServiceKey>> {
        let (over, kept) = self.0.drain(..).partition(is_over);
        self.0 = kept;
        let over: VecDeque<One> = over;
        over.into_iter().flat_map(|one| one.ports.into_keys()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn web() -> Arc<ServiceKey> {
        Arc::new(ServiceKey::new("shop", "web"))
    }

    fn departed(at: &[(u8, u64)]) -> Departed {
        let mut departed = Departed::default();
        for (n, second) in at {
            departed.remember(ip(*n), HashMap::from([(web(), 80)]), Tick::from_secs(*second));
        }
        departed
    }

    fn known(departed: &Departed) -> Vec<IpAddr> {
        departed.addresses(&web()).map(|address| address.ip()).collect()
    }

    #[test]
    fn who_broke_off_is_known_until_others_are_heard_for_long_enough_or_its_pod_is_gone() {
        let mut all = departed(&[(1, 0), (2, 10)]);
        assert_eq!(all.others_are_heard(Tick::from_secs(29)), []);
        assert_eq!(known(&all), [ip(1), ip(2)]);
        assert_eq!(all.others_are_heard(Tick::from_secs(30)), [web()]);
        assert_eq!(known(&all), [ip(2)]);
        assert_eq!(all.forget_address(ip(1)), []);
        assert_eq!(all.forget_address(ip(2)), [web()]);
        assert!(known(&all).is_empty());
    }

    #[test]
    fn one_that_broke_off_again_is_there_once_and_the_oldest_make_room() {
        assert_eq!(known(&departed(&[(1, 0), (2, 1), (1, 2)])), [ip(2), ip(1)]);
        let many: Vec<(u8, u64)> = (0..=u8::MAX).map(|n| (n, 0)).collect();
        let all = known(&departed(&many));
        assert_eq!((all.len(), all.last()), (MOST, Some(&ip(u8::MAX))));
    }

    #[test]
    fn a_service_that_is_gone_or_not_answered_for_any_more_is_forgotten() {
        let mut all = departed(&[(1, 0), (2, 0)]);
        all.forget_service(&web(), Some(ip(1)));
        assert_eq!(known(&all), [ip(2)]);
        all.forget_service(&web(), None);
        assert!(known(&all).is_empty());
    }
}
