//! Faults of requests and watches: drawn from the seed, or given one by one. Those that were made
//! are written down, so that a run can be made again, and made smaller, without drawing any.

use std::collections::BTreeMap;

use super::random::Random;
use super::script::Swarm;

/// Where a fault strikes: the so-manieth of its kind, from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// A write of a controller, in the order in which they are sent.
    Write(u64),
    Read(u64),
    /// News that a watch is to bring.
    News(u64),
}

/// What a request is to faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Read,
    Write,
    /// A write that changes the spec of a Pod that is there.
    InPlace,
}

/// A policy of the cluster that no dry run shows. Only writes that change Pods in place meet it: whatever else is refused
/// so was wrong.
pub const NOT_IN_PLACE: Fault = Fault::Refuse(422);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and this is the answer.
    Refuse(u16),
    /// It never arrives: nothing is done, and the connection breaks.
    Drop,
    /// It is done, and no answer ever comes.
    Lose,
    /// It is done, and the connection breaks.
    Cut,
    /// It arrives so many milliseconds later.
    Slow(i64),
    /// Its controller crashes before it is done; it is not done.
    CrashBefore,
    /// Its controller crashes before the answer comes.
    CrashAfter,
    /// News that come much later.
    Late,
    /// The watch ends, and begins again where it was.
    Break,
    /// The watch has expired: everything is listed anew.
    Expire,
    /// The watch brings its last events again, before what is new.
    Repeat,
}

pub struct Chaos {
    random: Random,
    given: Option<BTreeMap<Point, Fault>>,
    writes: u64,
    reads: u64,
    news: u64,
    pub made: Vec<(Point, Fault)>,
    /// Which of the writes that could meet a fault change Pods in place.
    pub in_place: Vec<u64>,
}

impl Chaos {
    /// `given`: these, and no others.
    pub fn new(seed: u64, given: Option<&[(Point, Fault)]>) -> Chaos {
        Chaos {
            random: Random::new(seed ^ 0x6368_616f_7300),
            given: given.map(|given| given.iter().copied().collect()),
            writes: 0,
            reads: 0,
            news: 0,
            made: Vec::new(),
            in_place: Vec::new(),
        }
    }

    /// How many writes were sent.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// How many requests were sent.
    pub fn requests(&self) -> u64 {
        self.writes + self.reads
    }

    /// What happens to the next request.
    pub fn of_request(&mut self, swarm: &Swarm, sort: Sort, trouble: bool) -> Option<Fault> {
        let point = self.next_point(sort, trouble);
        let possible = |fault: Fault| fault != NOT_IN_PLACE || sort == Sort::InPlace;
        self.happens(point, trouble, possible, |random| {
            let drawn = u32::try_from(random.next() % 1000).unwrap_or(0);
            let (slow, error, lost) =
                (swarm.slow_request_per_mille, swarm.error_per_mille, swarm.lost_answer_per_mille);
            let denied = if sort == Sort::InPlace { swarm.denied_in_place_per_mille } else { 0 };
            if drawn < slow {
                Some(Fault::Slow(random.range(1000, 25_000)))
            } else if drawn < slow + error {
                Some(Fault::Refuse(random.pick(&[500, 429, 409, 503])))
            } else if drawn < slow + error + lost {
                Some(random.pick(&[Fault::Lose, Fault::Lose, Fault::Cut, Fault::Drop]))
            } else if drawn < slow + error + lost + denied {
                Some(NOT_IN_PLACE)
            } else {
                None
            }
        })
    }

    fn next_point(&mut self, sort: Sort, trouble: bool) -> Point {
        if sort == Sort::Read {
            self.reads += 1;
            return Point::Read(self.reads - 1);
        }
        if trouble && sort == Sort::InPlace {
            self.in_place.push(self.writes);
        }
        self.writes += 1;
        Point::Write(self.writes - 1)
    }

    /// What happens to the next news of a watch.
    pub fn of_news(&mut self, swarm: &Swarm, trouble: bool) -> Option<Fault> {
        let point = Point::News(self.news);
        self.news += 1;
        self.happens(
            point,
            trouble,
            |_| true,
            |random| {
                let drawn = u32::try_from(random.next() % 1000).unwrap_or(0);
                if drawn < swarm.slow_watch_per_mille {
                    Some(Fault::Late)
                } else if drawn < swarm.slow_watch_per_mille + swarm.broken_watch_per_mille {
                    Some(random.pick(&[Fault::Break, Fault::Expire]))
                } else if drawn < swarm.slow_watch_per_mille + 2 * swarm.broken_watch_per_mille {
                    Some(Fault::Repeat)
                } else {
                    None
                }
            },
        )
    }

    fn happens(
        &mut self,
        point: Point,
        trouble: bool,
        possible: impl Fn(Fault) -> bool,
        draw: impl FnOnce(&mut Random) -> Option<Fault>,
    ) -> Option<Fault> {
        if !trouble {
            return None;
        }
        let fault = match &self.given {
            Some(given) => given.get(&point).copied().filter(|fault| possible(*fault)),
            None => draw(&mut self.random),
        };
        self.made.extend(fault.map(|fault| (point, fault)));
        fault
    }
}
