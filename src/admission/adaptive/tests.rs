use super::*;

const BOUNDS: Auto = Auto { min: 2, max: 40 };

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A backend that is asked with all permits in use, a round after the other.
struct Tried {
    adaptive: Adaptive,
    now: Instant,
    target: Option<Duration>,
    in_flight: usize,
    jobs: usize,
}

impl Tried {
    fn from(limit: usize) -> Self {
        let now = crate::clock::Clock::start().now();
        Self { adaptive: Adaptive::new(limit, BOUNDS, now), now, target: None, in_flight: 99, jobs: 0 }
    }

    /// A round of which every `nth` fails (0: none), the others taking so long; the limit afterwards.
    fn round(&mut self, nth: usize, took: Duration) -> usize {
        for number in 1..=self.adaptive.limit().max(SHORTEST_ROUND) {
            let is_failure = nth > 0 && number % nth == 0;
            let verdict = if is_failure { Verdict::Failed } else { Verdict::Answered(took) };
            let sample = Sample { began: self.now, verdict, target: self.target };
            self.now += took;
            self.adaptive.learn(sample, self.in_flight, self.jobs, BOUNDS, self.now);
        }
        // The next ones begin after the change.
        self.now += millis(1);
        self.adaptive.limit()
    }
}

#[tokio::test(start_paused = true)]
async fn one_more_after_each_good_round_and_a_quarter_less_after_a_bad_one() {
    let mut tried = Tried::from(10);
    for (fails, took, limit, why) in [
        (0, 100, 11, "good"),
        (0, 100, 12, "good"),
        (11, 100, 13, "one failure in twelve is nothing"),
        (6, 100, 9, "two in thirteen are too many"),
        (0, 199, 10, "not twice as slow as it was at best"),
        (0, 201, 7, "slower than that"),
        (0, 100, 8, "good again"),
    ] {
        assert_eq!(tried.round(fails, millis(took)), limit, "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_target_it_is_the_target_that_counts() {
    let mut tried = Tried { target: Some(millis(500)), ..Tried::from(10) };
    assert_eq!(tried.round(0, millis(10)), 11);
    assert_eq!(tried.round(0, millis(499)), 12, "fifty times as slow as before, and in time");
    assert_eq!(tried.round(0, millis(501)), 9);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_not_used_up_learns_nothing_about_more() {
    let mut tried = Tried { in_flight: 9, ..Tried::from(10) };
    assert_eq!([tried.round(0, millis(10)), tried.round(0, millis(10))], [10, 10]);
    assert_eq!(tried.round(2, millis(10)), 7, "failures count all the same");
}

#[tokio::test(start_paused = true)]
async fn it_stays_within_its_bounds_and_leaves_jobs_what_they_hold() {
    let mut tried = Tried::from(39);
    assert_eq!([tried.round(0, millis(10)), tried.round(0, millis(10))], [40, 40]);
    tried.jobs = 25;
    assert_eq!([tried.round(1, millis(10)), tried.round(1, millis(10))], [30, 25]);
    tried.jobs = 0;
    for _ in 0..20 {
        tried.round(1, millis(10));
    }
    assert_eq!(tried.adaptive.limit(), 2);
    assert_eq!(Tried::from(1000).adaptive.limit(), 40);
}

#[tokio::test(start_paused = true)]
async fn one_bad_moment_is_one_cut() {
    let mut tried = Tried::from(40);
    let began = tried.now;
    tried.round(1, millis(10));
    let sample = Sample { began, verdict: Verdict::Failed, target: None };
    for _ in 0..100 {
        assert_eq!(tried.adaptive.learn(sample, 40, 0, BOUNDS, tried.now), None);
    }
    assert_eq!(tried.adaptive.limit(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_became_slower_for_good_is_no_longer_too_slow() {
    let mut tried = Tried::from(20);
    tried.round(0, millis(10));
    assert!(tried.round(0, millis(50)) < 20);
    tried.now += 2 * MEMORY;
    tried.round(0, millis(50));
    tried.now += 2 * MEMORY;
    let before = tried.round(0, millis(50));
    assert_eq!(tried.round(0, millis(50)), before + 1);
}
