//! Chooses which pods to scrape, and estimates the load of all pods from their answers (`spec/autoscaler.md`, section
//! 3).
//!
//! A few answers are enough to estimate the load of many pods: [`sample_size`] never exceeds 16. [`Sample::draw`]
//! chooses the pods to scrape, and [`Sample::conclude`] interprets their answers. The caller scrapes.

use std::time::Duration;

use ebb_core::stat::Stat;
use rand::{Rng, seq::SliceRandom};
use thiserror::Error;

/// The pod name of a stat for all pods, as in the reference.
pub const SAMPLED: &str = "service-scraper";

/// The square of the standard score of 95 % confidence, times the assumed variance, divided by the square of the
/// accepted error: `1.96² × 100 / 5²` requests in flight.
const SPREAD: f64 = 1.96 * 1.96 * 100.0 / 25.0;

/// Up to this number, all pods are scraped.
const ASK_ALL: usize = 3;

/// Returns how many of `pods` to scrape: all up to 3, otherwise `⌈pods × X ÷ (pods + X − 1)⌉` with `X = 15.3664`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 16")]
pub fn sample_size(pods: usize) -> usize {
    if pods <= ASK_ALL {
        return pods;
    }
    let population = pods as f64;
    (population * SPREAD / (population + SPREAD - 1.0)).ceil() as usize
}

/// The pods to scrape, and the number of answers required.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample<T> {
    /// Pods in the order in which to scrape them. If one fails, the next one is scraped, until enough have answered.
    pub candidates: Vec<T>,
    /// Number of answers required.
    pub size: usize,
}

/// Why a pod did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As a service mesh refuses requests that bypass it: status 502 or 503.
    MeshLike,
    /// For any other reason.
    Other,
}

/// Why the answers of a round are not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SampleError {
    /// Not enough pods answered.
    #[error("not enough pods answered")]
    PodsExhausted,
    /// No pod answered, and all of them refused as a service mesh does.
    #[error("no pod can be asked directly")]
    DirectScrapingNotAvailable,
}

impl<T> Sample<T> {
    /// Draws a sample from `pods`, which are given with their ages.
    ///
    /// A pod younger than `stable_window` has averaged over less time and reports too little. It is only scraped if
    /// there are too few older pods; pods of a group are chosen randomly (section 3.1).
    pub fn draw(
        pods: impl IntoIterator<Item = (T, Duration)>,
        stable_window: Duration,
        rng: &mut impl Rng,
    ) -> Self {
        let (old, young): (Vec<_>, Vec<_>) = pods.into_iter().partition(|(_, age)| *age >= stable_window);
        let size = sample_size(old.len() + young.len());
        let mut candidates: Vec<T> = old.into_iter().map(|(pod, _)| pod).collect();
        candidates.shuffle(rng);
        let mut young: Vec<T> = young.into_iter().map(|(pod, _)| pod).collect();
        young.shuffle(rng);
        candidates.append(&mut young);
        Self { candidates, size }
    }

    /// Returns the estimate for all pods from the answers of a round; `None` if there are no pods.
    ///
    /// Answers beyond [`Self::size`] are ignored, because they may come from younger pods.
    ///
    /// # Errors
    ///
    /// Returns [`SampleError`] if fewer than [`Self::size`] pods answered.
    pub fn conclude(
        &self,
        answers: impl IntoIterator<Item = Result<Stat, Refusal>>,
    ) -> Result<Option<Stat>, SampleError> {
        let mut stats = Vec::with_capacity(self.size);
        let mut all_mesh_like = true;
        for answer in answers {
            match answer {
                Ok(stat) if stats.len() < self.size => stats.push(stat),
                Ok(_) | Err(Refusal::MeshLike) => {}
                Err(Refusal::Other) => all_mesh_like = false,
            }
        }
        if stats.len() == self.size {
            Ok(extrapolate(&stats, self.candidates.len()))
        } else if stats.is_empty() && all_mesh_like {
            Err(SampleError::DirectScrapingNotAvailable)
        } else {
            Err(SampleError::PodsExhausted)
        }
    }
}

/// The estimate of a round by Ebb's own rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The load of all pods.
    pub stat: Stat,
    /// Whether enough pods answered to remove pods.
    pub fresh: bool,
}

impl<T> Sample<T> {
    /// Returns the estimate for all pods, even if fewer answered than were scraped: a pod that does not answer counts
    /// as being as busy as the busiest one that does, because it may be too busy to answer. Returns `None` if there
    /// are no pods.
    ///
    /// If half of the pods or more were silent, the estimate is not fresh: it can add pods, but not remove them.
    ///
    /// # Errors
    ///
    /// Returns [`SampleError`] if no pod answered.
    pub fn estimate(
        &self,
        answers: impl IntoIterator<Item = Result<Stat, Refusal>>,
    ) -> Result<Option<Estimate>, SampleError> {
        let answers: Vec<_> = answers.into_iter().collect();
        let stats: Vec<Stat> = answers.iter().flatten().cloned().collect();
        if stats.is_empty() || stats.len() >= self.size {
            let stat = self.conclude(answers)?;
            return Ok(stat.map(|stat| Estimate { stat, fresh: true }));
        }
        // All pods were scraped; otherwise there would be more answers.
        let pods = self.candidates.len();
        let silent = pods.saturating_sub(stats.len());
        let fresh = stats.len() > silent;
        Ok(Some(Estimate { stat: with_silent(&stats, silent), fresh }))
    }
}

/// Returns the load of the pods that answered with `stats`, and of `silent` ones that count as the busiest.
fn with_silent(stats: &[Stat], silent: usize) -> Stat {
    let silent = silent as f64;
    all_of(|of| {
        let busiest = stats.iter().map(of).fold(0.0, f64::max);
        stats.iter().map(of).sum::<f64>() + silent * busiest
    })
}

/// Returns the load of `pods`, of which `stats` are a sample: every number is `sum ÷ answers × pods`.
///
/// Returns `None` without an answer.
fn extrapolate(stats: &[Stat], pods: usize) -> Option<Stat> {
    if stats.is_empty() {
        return None;
    }
    let (answers, pods) = (stats.len() as f64, pods as f64);
    Some(all_of(|of| stats.iter().map(of).sum::<f64>() / answers * pods))
}

/// Returns a stat for all pods, with each number computed by `total`.
fn all_of(total: impl Fn(fn(&Stat) -> f64) -> f64) -> Stat {
    Stat {
        pod_name: SAMPLED.to_owned(),
        average_concurrent_requests: total(|stat| stat.average_concurrent_requests),
        average_proxied_concurrent_requests: total(|stat| stat.average_proxied_concurrent_requests),
        request_count: total(|stat| stat.request_count),
        proxied_request_count: total(|stat| stat.proxied_request_count),
        ..Stat::default()
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn in_flight(requests: f64) -> Stat {
        Stat { average_concurrent_requests: requests, ..Stat::default() }
    }

    fn draw(old: usize, young: usize) -> Sample<usize> {
        let ages = (0..old).map(|_| WINDOW).chain((0..young).map(|_| Duration::ZERO));
        Sample::draw(ages.enumerate(), WINDOW, &mut StdRng::seed_from_u64(7))
    }

    #[test]
    fn the_sample_grows_to_sixteen_pods() {
        let sizes = [0, 1, 3, 4, 5, 6, 7, 8, 10, 15, 20, 30, 50, 100, 200, 1000, 1_000_000].map(sample_size);
        assert_eq!(sizes, [0, 1, 3, 4, 4, 5, 6, 6, 7, 8, 9, 11, 12, 14, 15, 16, 16]);
    }

    #[test]
    fn every_old_pod_is_asked_before_any_young_one() {
        let sample = draw(5, 15);
        assert_eq!(sample.size, 9);
        let mut old = sample.candidates[..5].to_vec();
        old.sort_unstable();
        assert_eq!(old, [0, 1, 2, 3, 4]);
        assert_eq!(sample.candidates.len(), 20);
    }

    #[test]
    fn chance_decides_among_pods_of_an_age() {
        let sample = draw(20, 0);
        assert_ne!(sample.candidates, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn seven_of_ten_pods_speak_for_all() {
        let answers = [5.0, 5.0, 6.0, 4.0, 5.0, 5.0, 5.0].map(|requests| Ok(in_flight(requests)));
        let all = draw(10, 0).conclude(answers).unwrap().unwrap();
        assert_eq!((all.average_concurrent_requests, all.pod_name.as_str()), (50.0, SAMPLED));
    }

    #[test]
    fn no_pods_say_nothing_and_are_no_fault() {
        assert_eq!(draw(0, 0).conclude([]), Ok(None));
    }

    #[test]
    fn one_refusal_unlike_a_mesh_rules_a_mesh_out() {
        let sample = draw(2, 0);
        let mesh = sample.conclude([Err(Refusal::MeshLike), Err(Refusal::MeshLike)]);
        assert_eq!(mesh, Err(SampleError::DirectScrapingNotAvailable));
        let mixed = sample.conclude([Err(Refusal::MeshLike), Err(Refusal::Other)]);
        assert_eq!(mixed, Err(SampleError::PodsExhausted));
        let some = sample.conclude([Ok(in_flight(1.0)), Err(Refusal::MeshLike)]);
        assert_eq!(some, Err(SampleError::PodsExhausted));
    }

    /// Returns the estimate for `busy` answers and `silent` refusals.
    fn estimate(busy: &[f64], silent: usize) -> Option<(f64, bool)> {
        let answers = busy.iter().map(|requests| Ok(in_flight(*requests)));
        let refusals = std::iter::repeat_n(Err(Refusal::Other), silent);
        let estimate = draw(busy.len() + silent, 0).estimate(answers.chain(refusals)).ok()??;
        Some((estimate.stat.average_concurrent_requests, estimate.fresh))
    }

    #[test]
    fn who_is_silent_may_be_the_busiest() {
        assert_eq!(estimate(&[4.0, 2.0, 3.0], 0), Some((9.0, true)));
        assert_eq!(
            estimate(&[4.0, 2.0], 1),
            Some((10.0, true)),
            "one silent of three is as busy as the busiest"
        );
        assert_eq!(estimate(&[4.0], 1), Some((8.0, false)), "half is not enough to let a pod go by");
        assert_eq!(estimate(&[4.0], 2), Some((12.0, false)));
        assert_eq!(estimate(&[], 2), None);
    }

    #[test]
    fn a_whole_sample_speaks_for_all_by_either_rule() {
        let answers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0].map(|requests| Ok(in_flight(requests)));
        let sample = draw(10, 0);
        let estimate = sample.estimate(answers.clone()).unwrap().unwrap();
        assert_eq!((Some(estimate.stat), estimate.fresh), (sample.conclude(answers).unwrap(), true));
    }
}
