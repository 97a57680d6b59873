//! Judges pods' announcements by the state of their services, and passes them on at once.

use ebb_core::{announce::Announced, link::AnnouncedPod};

use super::Runtime;
use crate::link::{Heard, announced_entry, known_entry};
use ebb_decide::platform::{EndpointSink, ScaleTarget};
use ebb_decide::{
    service::{Admission, Cause},
    table::Service,
};

impl<P: ScaleTarget + EndpointSink> Runtime<P> {
    pub(super) fn on_announced(&mut self, heard: Heard) {
        let admission = self.judge(&heard.said);
        // The asker may be gone.
        let _ = heard.answer.send(admission);
        // If an announcement is forged for one service, it is believed for none.
        if admission != Admission::Forged {
            self.take(&heard.said);
        }
    }

    /// Judges an announcement for all services that it names.
    fn judge(&self, said: &Announced) -> Admission {
        let of = |key| self.services.get(key).map_or(Admission::Unknown, |service| service.state.judge(said));
        said.services.iter().map(of).max().unwrap_or(Admission::Unknown)
    }

    fn take(&mut self, said: &Announced) {
        let now = self.clock.now();
        for key in &said.services {
            let Some(service) = self.services.get_mut(key) else { continue };
            if service.state.announced(said, now) != Admission::Taken {
                continue;
            }
            if self.leads {
                self.tell(key);
                self.evaluate(key, Cause::Change);
            } else {
                self.activators.tell_announced(announced_entry(key, said));
            }
        }
    }

    /// Returns what pods announced that the platform may not know yet, for an activator that has just connected.
    pub(super) fn announced(&self) -> Vec<AnnouncedPod> {
        let of = |service: &Service| {
            let coming = service.state.coming().map(|pod| (pod, false));
            let draining = service.state.draining().iter().map(|pod| (pod, true));
            let entry = |(pod, draining)| known_entry(&service.key, pod, draining);
            coming.chain(draining).filter_map(entry).collect::<Vec<_>>()
        };
        self.services.iter().flat_map(of).collect()
    }
}
