//! What is wanted for a service and what is in progress: one operation of each kind at a time. A later wish
//! replaces the one before.

use crate::endpoints::Endpoints;

/// The pending operations of one service.
#[derive(Debug, Default)]
pub struct Pending {
    scale: Option<u32>,
    scaling: Option<u32>,
    /// Which pods go first in a scale-down; asked for before the first goes.
    order: Order,
    /// The endpoints to publish.
    pub publishing: Publishing,
    /// Whether a scrape is in progress.
    pub scraping: bool,
}

/// A value to publish or to write: the latest that is not written, and whether a write is in progress.
#[derive(Debug)]
pub struct Publishing<T = Endpoints> {
    wanted: Option<T>,
    under_way: bool,
}

impl<T> Default for Publishing<T> {
    fn default() -> Self {
        Self { wanted: None, under_way: false }
    }
}

impl<T> Publishing<T> {
    /// Sets the latest value.
    pub fn want(&mut self, last: T) {
        self.wanted = Some(last);
    }

    /// Returns what to publish now; `None` while a publication is in progress.
    pub fn next_publish(&mut self) -> Option<T> {
        let next = if self.under_way { None } else { self.wanted.take() };
        self.under_way |= next.is_some();
        next
    }

    /// Returns whether nothing is wanted or in progress.
    pub fn is_idle(&self) -> bool {
        self.wanted.is_none() && !self.under_way
    }

    /// Records that the publication ended, successfully or not.
    pub fn published(&mut self) {
        self.under_way = false;
    }
}

/// Whether the idle pods are known.
#[derive(Debug, Default)]
enum Order {
    #[default]
    Unknown,
    Asked,
    Known(Vec<String>),
}

/// The next step of scaling.
#[derive(Debug, PartialEq, Eq)]
pub enum NextScale {
    /// Find out which pods are idle.
    Ask,
    /// Scale to this many pods, removing the named ones first.
    Scale(u32, Vec<String>),
}

impl Pending {
    /// Sets the decision: `pods`, or the current number. It replaces earlier decisions that are not in
    /// progress.
    pub fn want_scale(&mut self, pods: Option<u32>) {
        self.scale = pods.filter(|pods| self.scaling != Some(*pods));
        if self.scale.is_none() && matches!(self.order, Order::Known(_)) {
            self.order = Order::Unknown;
        }
    }

    /// Returns what to do now to get the wanted pods, where there are `replicas`. With `idle_first`, a
    /// scale-down first asks which pods are idle; a scale-up never waits.
    pub fn next_scale(&mut self, replicas: u32, idle_first: bool) -> Option<NextScale> {
        let pods = self.scale.filter(|_| self.scaling.is_none())?;
        let order = match &mut self.order {
            _ if !idle_first || pods >= replicas => Vec::new(),
            // All pods go.
            _ if pods == 0 => Vec::new(),
            Order::Known(order) => std::mem::take(order),
            Order::Asked => return None,
            Order::Unknown => {
                self.order = Order::Asked;
                return Some(NextScale::Ask);
            }
        };
        if !matches!(self.order, Order::Asked) {
            self.order = Order::Unknown;
        }
        self.scaling = self.scale.take();
        Some(NextScale::Scale(pods, order))
    }

    /// Records which pods are idle.
    pub fn order_known(&mut self, first_to_go: Vec<String>) {
        // An order that nobody waits for any more would be out of date next time.
        self.order = if self.scale.is_some() { Order::Known(first_to_go) } else { Order::Unknown };
    }

    /// Records that scaling ended, successfully or not: the next may be tried.
    pub fn scaled(&mut self) {
        self.scaling = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(pods: u32, first: &[&str]) -> NextScale {
        NextScale::Scale(pods, first.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn pods_that_go_are_named_and_nobody_waits_for_more() {
        let mut pending = Pending::default();
        pending.want_scale(Some(2));
        assert_eq!(pending.next_scale(5, true), Some(NextScale::Ask));
        assert_eq!(pending.next_scale(5, true), None, "asked already");
        pending.order_known(vec!["idle".into()]);
        assert_eq!(pending.next_scale(5, true), Some(scale(2, &["idle"])));
        assert_eq!(pending.next_scale(5, true), None, "under way");
        pending.scaled();

        pending.want_scale(Some(9));
        assert_eq!(pending.next_scale(2, true), Some(scale(9, &[])));
        pending.scaled();
        pending.want_scale(Some(1));
        assert_eq!(pending.next_scale(9, false), Some(scale(1, &[])), "whoever");
        pending.scaled();
        pending.want_scale(Some(0));
        assert_eq!(pending.next_scale(1, true), Some(scale(0, &[])), "all of them");
    }

    #[test]
    fn who_was_idle_is_out_of_date_when_more_pods_were_wanted_meanwhile() {
        let mut pending = Pending::default();
        pending.want_scale(Some(2));
        assert_eq!(pending.next_scale(5, true), Some(NextScale::Ask));
        pending.want_scale(Some(8));
        assert_eq!(pending.next_scale(5, true), Some(scale(8, &[])));
        pending.order_known(vec!["idle".into()]);
        pending.scaled();
        pending.want_scale(Some(3));
        assert_eq!(pending.next_scale(8, true), Some(NextScale::Ask));
    }

    #[test]
    fn a_decrease_that_was_taken_back_is_not_carried_out() {
        let mut pending = Pending::default();
        pending.want_scale(Some(2));
        assert_eq!(pending.next_scale(5, true), Some(NextScale::Ask));
        pending.want_scale(None);
        pending.order_known(vec!["idle".into()]);
        assert_eq!(pending.next_scale(5, true), None);
        pending.want_scale(Some(3));
        assert_eq!(pending.next_scale(5, true), Some(NextScale::Ask), "who was idle then may be busy now");
    }

    #[test]
    fn what_is_wanted_last_is_done_next() {
        let mut pending = Pending::default();
        pending.want_scale(Some(3));
        assert_eq!(pending.next_scale(0, true), Some(scale(3, &[])));
        pending.want_scale(Some(5));
        pending.want_scale(Some(3));
        pending.scaled();
        assert_eq!(pending.next_scale(3, true), None, "that was done");
    }
}
