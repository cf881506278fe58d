//! Runs a model: every state that can be reached, or the first ones of a breadth-first search.

use std::fmt;
use std::hash::Hash;

use stateright::{Checker, Model, Property};

/// A model: a first state, the steps from each state, and which states are bad.
pub trait Machine: Send + Sync + 'static {
    /// A state.
    type State: Copy + Eq + Hash + fmt::Debug + Send + Sync + 'static;

    /// Returns the first state.
    fn start(&self) -> Self::State;

    /// Appends the steps from a state.
    fn steps(&self, state: &Self::State, steps: &mut Vec<Step<Self::State>>);

    /// Returns what is wrong with a state.
    fn wrong(&self, state: &Self::State) -> Option<&'static str>;
}

/// A step, for traces, and the state after it.
#[derive(Clone, Copy, PartialEq)]
pub struct Step<S> {
    what: &'static str,
    of: [u8; 2],
    next: S,
}

impl<S> Step<S> {
    /// Creates a step with up to two numbers for traces.
    pub fn new(what: &'static str, of: [u8; 2], next: S) -> Self {
        Self { what, of, next }
    }
}

impl<S> fmt::Debug for Step<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.what, self.of)
    }
}

/// A machine as the checker wants it.
struct Checked<M>(M);

impl<M: Machine> Model for Checked<M> {
    type State = M::State;
    type Action = Step<M::State>;

    fn init_states(&self) -> Vec<M::State> {
        vec![self.0.start()]
    }

    fn actions(&self, state: &M::State, actions: &mut Vec<Self::Action>) {
        if self.0.wrong(state).is_none() {
            self.0.steps(state, actions);
        }
    }

    fn next_state(&self, _state: &M::State, action: Self::Action) -> Option<M::State> {
        Some(action.next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("right", |model: &Self, state: &M::State| model.0.wrong(state).is_none())]
    }
}

/// What a run found.
#[derive(Debug)]
pub struct Outcome {
    /// Number of different states that were visited.
    pub states: usize,
    /// What is wrong with the first bad state, and the steps to it.
    pub wrong: Option<(&'static str, Vec<String>)>,
    /// Every state that can be reached was visited.
    pub complete: bool,
}

/// Visits up to about `limit` states, breadth first, so that the first bad state is one of the shortest traces.
pub fn run<M: Machine>(machine: M, limit: usize) -> Outcome {
    let checker = Checked(machine).checker().target_state_count(limit).spawn_bfs().join();
    let wrong = checker.discovery("right").map(|path| {
        let last = *path.last_state();
        let what = checker.model().0.wrong(&last).unwrap_or("the last state is not bad");
        (what, path.into_actions().iter().map(|step| format!("{step:?}")).collect())
    });
    let states = checker.unique_state_count();
    Outcome { states, complete: wrong.is_none() && checker.state_count() < limit, wrong }
}
