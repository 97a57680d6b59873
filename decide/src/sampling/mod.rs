//! Which pods to scrape, and what their answers say about all of them (`spec/autoscaler.md`, section 3).
//!
//! A few answers tell the load of many pods well enough: [`sample_size`] grows to 16 and no further.
//! [`Sample::draw`] says whom to ask, [`Sample::conclude`] what the answers mean. Asking is the caller's.

use std::time::Duration;

use ebb_core::stat::Stat;
use rand::{Rng, seq::SliceRandom};
use thiserror::Error;

/// The pod name of a stat that speaks for all pods; the reference's word.
pub const SAMPLED: &str = "service-scraper";

/// Square of the standard score of 95 % confidence, times the assumed variance, by the square of the
/// accepted error: `1.96² × 100 / 5²` requests in flight.
const SPREAD: f64 = 1.96 * 1.96 * 100.0 / 25.0;

/// Up to so many pods are all asked.
const ASK_ALL: usize = 3;

/// How many of `pods` to ask: all up to 3, else `⌈pods × X ÷ (pods + X − 1)⌉` with `X = 15.3664`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 16")]
pub fn sample_size(pods: usize) -> usize {
    if pods <= ASK_ALL {
        return pods;
    }
    let population = pods as f64;
    (population * SPREAD / (population + SPREAD - 1.0)).ceil() as usize
}

/// Whom to ask, and how many answers it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample<T> {
    /// Pods in the order to ask them. When one fails, the next one is asked, until enough answered.
    pub candidates: Vec<T>,
    /// How many answers are wanted.
    pub size: usize,
}

/// Why a pod did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As a service mesh refuses what does not go through it: status 502 or 503.
    MeshLike,
    /// In any other way.
    Other,
}

/// Why the answers of a round say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SampleError {
    /// Not enough pods answered.
    #[error("not enough pods answered")]
    PodsExhausted,
    /// No pod answered, and all refused as a service mesh does.
    #[error("no pod can be asked directly")]
    DirectScrapingNotAvailable,
}

impl<T> Sample<T> {
    /// Draws from `pods`, each with its age.
    ///
    /// A pod younger than `stable_window` has averaged over less time and reads low, so it is asked only
    /// if the older ones are too few; among equals chance decides (section 3.1).
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

    /// What the answers of a round say about all pods; `None` if there are none to ask.
    ///
    /// Answers beyond [`Self::size`] are left out, as they may come from younger pods.
    ///
    /// # Errors
    ///
    /// [`SampleError`] if fewer than [`Self::size`] pods answered.
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

/// What a round says by Ebb's own rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The load of all pods.
    pub stat: Stat,
    /// Whether enough of them answered to let one go by it.
    pub fresh: bool,
}

impl<T> Sample<T> {
    /// What the answers of a round say about all pods, if fewer answered than were asked as well: who does not
    /// answer is taken to be as busy as the busiest that does, because it may be too busy to answer. `None` if
    /// there are no pods to ask.
    ///
    /// A round in which half of the pods or more were silent is not fresh: it may have more pods started, but
    /// none stopped.
    ///
    /// # Errors
    ///
    /// [`SampleError`] if no pod answered.
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
        // Everyone was asked, or there would be more answers.
        let pods = self.candidates.len();
        let silent = pods.saturating_sub(stats.len());
        let fresh = stats.len() > silent;
        Ok(Some(Estimate { stat: with_silent(&stats, silent), fresh }))
    }
}

/// The load of the pods that answered with `stats`, and of as many `silent` ones as busy as the busiest.
fn with_silent(stats: &[Stat], silent: usize) -> Stat {
    let silent = silent as f64;
    all_of(|of| {
        let busiest = stats.iter().map(of).fold(0.0, f64::max);
        stats.iter().map(of).sum::<f64>() + silent * busiest
    })
}

/// The load of all `pods`, of which `stats` are some: every number is `sum ÷ answers × pods`.
///
/// `None` without an answer.
fn extrapolate(stats: &[Stat], pods: usize) -> Option<Stat> {
    if stats.is_empty() {
        return None;
    }
    let (answers, pods) = (stats.len() as f64, pods as f64);
    Some(all_of(|of| stats.iter().map(of).sum::<f64>() / answers * pods))
}

/// A stat about all pods, each number as `total` makes it.
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

    /// The estimate of `busy` answers and `silent` refusals of as many pods.
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
