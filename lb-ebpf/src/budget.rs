//! What a CPU may do only so often: token buckets.

use lb_common::Budgeted;

use crate::{clock::now_ns, maps};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Takes one token from this CPU's bucket; false when it is empty.
#[inline(always)]
pub fn spend(what: Budgeted) -> bool {
    let Some(budget) = maps::BUDGETS.get_ptr_mut(what as u32) else {
        return false;
    };
    // SAFETY: a per-CPU value, and the program is not preempted by another run of itself.
    let budget = unsafe { &mut *budget };
    let now = now_ns();
    // Less than nothing where the clock was set back.
    let elapsed = now.saturating_sub(budget.refilled_ns).min(NS_PER_SECOND);
    let earned = elapsed * what.per_second() / NS_PER_SECOND;
    if earned > 0 {
        budget.tokens = (budget.tokens + earned).min(what.per_second());
        budget.refilled_ns = now;
    }
    if budget.tokens == 0 {
        return false;
    }
    budget.tokens -= 1;
    true
}
