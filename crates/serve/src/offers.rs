//! The voices that are offered at a time. A request keeps the one that it began with, whatever is
//! published meanwhile; an adapter is forgotten when the last of its requests has let go of it.

use std::{
    ops::Deref,
    sync::{Arc, PoisonError, RwLock},
};

use fidelio_backend::AdapterId;

use crate::{Voice, inference::Forgets};

/// A voice on offer.
#[derive(Debug)]
pub(crate) struct Offer {
    voice: Voice,
    _adapter: Option<Lease>,
}

/// An adapter of the session, which is forgotten with this.
#[derive(Debug)]
struct Lease {
    adapter: AdapterId,
    session: Forgets,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.forget(self.adapter);
    }
}

impl Deref for Offer {
    type Target = Voice;

    fn deref(&self) -> &Voice {
        &self.voice
    }
}

/// All voices on offer; the first one is taken where a request names none.
#[derive(Debug)]
pub(crate) struct Offers {
    offers: RwLock<Vec<Arc<Offer>>>,
    session: Forgets,
}

/// What became of a voice that was to be withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    Yes,
    /// It is the first one, which is always there.
    First,
    /// There is none of that name.
    None,
}

impl Offers {
    pub(crate) fn new(voices: Vec<Voice>, session: Forgets) -> Self {
        let it = Self { offers: RwLock::default(), session };
        for voice in voices {
            it.publish(voice);
        }
        it
    }

    /// The one of this name, or the first one where there is no name.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<Arc<Offer>> {
        let offers = self.all();
        match name {
            None => offers.into_iter().next(),
            Some(name) => offers.into_iter().find(|offer| offer.name() == name),
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Offer>> {
        self.offers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Offers a voice from now on, in the place of one of its name. Says whether there was one.
    pub(crate) fn publish(&self, voice: Voice) -> bool {
        let session = self.session.clone();
        let lease = voice.adapter().map(|adapter| Lease { adapter, session });
        let offer = Arc::new(Offer { voice, _adapter: lease });
        let mut offers = self.offers.write().unwrap_or_else(PoisonError::into_inner);
        let old = offers.iter_mut().find(|it| it.name() == offer.name());
        let replaces = old.is_some();
        if let Some(old) = old {
            *old = offer;
        } else {
            offers.push(offer);
        }
        replaces
    }

    /// Offers the voice of this name no more.
    pub(crate) fn withdraw(&self, name: &str) -> Withdrawn {
        let mut offers = self.offers.write().unwrap_or_else(PoisonError::into_inner);
        match offers.iter().position(|it| it.name() == name) {
            None => Withdrawn::None,
            Some(0) => Withdrawn::First,
            Some(at) => {
                offers.remove(at);
                Withdrawn::Yes
            }
        }
    }
}
