//! Who asks: whoever holds a key, or else whoever is at an address. Clients take turns, and none may
//! have more than its share of the places.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{App, problem::Problem};
use crate::Place;

/// A client, by a number that says nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Client(pub(crate) u64);

/// The address at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl Client {
    /// Whoever holds the key of this name.
    pub(crate) fn of_key(holder: &str) -> Self {
        Self::hashed(|hash| ("key", holder).hash(hash))
    }

    fn hashed(write: impl FnOnce(&mut DefaultHasher)) -> Self {
        let mut hash = DefaultHasher::new();
        write(&mut hash);
        Self(hash.finish())
    }
}

impl FromRequestParts<Arc<App>> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        let of_key = parts.extensions.get::<Self>().copied();
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
        Ok(of_key.unwrap_or_else(|| Self::hashed(|hash| ("address", peer).hash(hash))))
    }
}

/// How many places each client has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shares(Arc<Mutex<HashMap<Client, usize>>>);

/// Some places of one client; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Shares,
    client: Client,
    places: usize,
}

/// Places for requests that belong together.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) places: Vec<Place>,
    pub(crate) share: Share,
}

impl Shares {
    /// Takes some, if the client has not more than it may then.
    pub(crate) fn take(
        &self,
        client: Client,
        places: usize,
        most: Option<usize>,
    ) -> Result<Share, Problem> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has = shares.entry(client).or_default();
        if let Some(most) = most.filter(|&most| *has + places > most) {
            if *has == 0 {
                shares.remove(&client);
            }
            return Err(Problem::too_many(most));
        }
        *has += places;
        Ok(Share { shares: self.clone(), client, places })
    }
}

impl Share {
    /// Whose it is.
    pub(crate) fn client(&self) -> u64 {
        self.client.0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(has) = shares.get_mut(&self.client) {
            *has = has.saturating_sub(self.places);
            if *has == 0 {
                shares.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_no_more_than_it_may_and_others_have_theirs() {
        let (shares, alice, bob) =
            (Shares::default(), Client::of_key("alice"), Client::of_key("bob"));
        let first = shares.take(alice, 2, Some(3)).unwrap();
        shares.take(alice, 2, Some(3)).unwrap_err();
        let second = shares.take(alice, 1, Some(3)).unwrap();
        let other = shares.take(bob, 3, Some(3)).unwrap();
        drop(first);
        drop(shares.take(alice, 2, Some(3)).unwrap());
        drop((second, other));
        assert!(shares.0.lock().unwrap().is_empty(), "nobody is remembered");
    }
}
