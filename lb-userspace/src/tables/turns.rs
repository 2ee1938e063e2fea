//! The ring of a service whose backends take turns: what is read slot by slot goes round by weight, as
//! evenly as it can.
//!
//! The order is that of smooth weighted round robin, as nginx has it: in each step every member's
//! credit grows by its weight, the one with the most credit has its turn, and pays the sum of all
//! weights for it. With weights 5, 1 and 1 that is a a b a c a a, not a a a a a b c.

#[cfg(test)]
mod tests;

use lb_common::NO_BACKEND;

use super::maglev::Member;

/// Members of one weight. They have their turns in their order, so that only the next of them need
/// be compared with other weights.
struct Class {
    weight: i64,
    /// Where the members stand among all, ascending.
    members: Vec<usize>,
    /// Which of them is next.
    next: usize,
    /// That one's credit.
    credit: i64,
}

/// Fills a ring: `slots` entries, each the `backend_idx` of a member, or [`NO_BACKEND`] in all of
/// them if no member has a weight. Of members with the same credit the first in `members` is the next.
///
/// A member that deserves `s` of any number of slots from the first on has `s`, give or take 1 where
/// weights are alike, and little more where they are not. One that deserves less than a slot of the
/// whole ring may have none.
///
/// Takes time of the order `slots` times the number of different weights.
#[must_use]
pub fn build(members: &[Member], slots: u32) -> Vec<u32> {
    let sum: i64 = members.iter().map(|member| i64::from(member.weight)).sum();
    let mut classes = classes(members);
    let mut ring = Vec::with_capacity(slots as usize);
    for _ in 0..slots {
        let mut best: Option<&mut Class> = None;
        for class in &mut classes {
            class.credit += class.weight;
            let first = |class: &Class| class.members[class.next];
            let is_better = best.as_ref().is_none_or(|best| {
                class.credit > best.credit
                    || (class.credit == best.credit && first(class) < first(best))
            });
            if is_better {
                best = Some(class);
            }
        }
        ring.push(best.map_or(NO_BACKEND, |class| {
            members[class.take_turn(sum)].backend_idx
        }));
    }
    ring
}

fn classes(members: &[Member]) -> Vec<Class> {
    let mut classes: Vec<Class> = Vec::new();
    for (at, member) in members.iter().enumerate() {
        let weight = i64::from(member.weight);
        if weight == 0 {
            continue;
        }
        match classes.iter_mut().find(|class| class.weight == weight) {
            Some(class) => class.members.push(at),
            None => classes.push(Class {
                weight,
                members: vec![at],
                next: 0,
                credit: 0,
            }),
        }
    }
    classes
}

impl Class {
    /// The member whose turn it is. After the last of them the first is next, which has paid once
    /// more than those that are next within a round.
    fn take_turn(&mut self, price: i64) -> usize {
        let member = self.members[self.next];
        self.next += 1;
        if self.next == self.members.len() {
            self.next = 0;
            self.credit -= price;
        }
        member
    }
}
