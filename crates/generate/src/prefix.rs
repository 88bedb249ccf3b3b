//! Prompts that begin alike: where their common beginning is, or soon will be, cached.

/// The place of a row in the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place<Id> {
    /// A request's own row.
    Active(Id),
    /// A beginning kept for requests that wait, by its number.
    Kept(usize),
}

/// A row that a new one may begin with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Live<'a, Id> {
    pub(crate) place: Place<Id>,
    /// What it holds, and after that what it will hold.
    pub(crate) ids: &'a [u32],
    /// How much of that is cached already.
    pub(crate) cached: usize,
}

/// What live rows have to offer to a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer<Id> {
    /// The row that shares most, and how much of it is cached.
    pub(crate) now: Option<(Place<Id>, usize)>,
    /// How much will be shared when rows that are being prefilled are done.
    pub(crate) soon: usize,
}

/// Finds the best row to begin `prompt` with. Beginnings shorter than `least` are not worth it.
pub(crate) fn offer<'a, Id: Copy + 'a>(
    prompt: &[u32],
    live: impl Iterator<Item = Live<'a, Id>>,
    least: usize,
) -> Offer<Id> {
    // The last token is always computed anew, since its logits are wanted.
    let most = prompt.len().saturating_sub(1);
    let mut best = Offer { now: None, soon: 0 };
    for row in live {
        let soon = common(prompt, row.ids).min(most);
        if soon < least.max(1) {
            continue;
        }
        let now = soon.min(row.cached);
        best.soon = best.soon.max(soon);
        if now >= least.max(1) && best.now.is_none_or(|(_, most)| now > most) {
            best.now = Some((row.place, now));
        }
    }
    best
}

/// How many tokens two rows have in common at their beginning.
pub(crate) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_cached_beginning_is_taken_and_a_longer_one_is_announced() {
        let rows = [
            Live { place: Place::Active(1), ids: &[1, 2, 3, 4, 9][..], cached: 2 },
            Live { place: Place::Active(2), ids: &[1, 2, 3, 8, 8], cached: 5 },
            Live { place: Place::Kept(0), ids: &[1, 7], cached: 2 },
        ];
        let best = offer(&[1, 2, 3, 4, 5], rows.into_iter(), 2);
        assert_eq!(best, Offer { now: Some((Place::Active(2), 3)), soon: 4 });
        let none = offer(&[1, 7, 7], rows.into_iter(), 3);
        assert_eq!(none, Offer { now: None, soon: 0 });
    }

    #[test]
    fn the_last_token_is_computed_anew() {
        let row = Live { place: Place::Kept(0), ids: &[1, 2, 3], cached: 3 };
        let same: Offer<u8> = offer(&[1, 2, 3], [row].into_iter(), 1);
        assert_eq!(same.now, Some((Place::Kept(0), 2)));
    }
}
