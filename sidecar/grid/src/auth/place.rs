//! Where a token stands in a handshake: the header `Authorization`, a cookie, a query parameter, in this order. Pure.

use std::borrow::Cow;

use crds::Jwt;

use crate::wire::Offer;

/// The token of a handshake. A bearer token in the header counts even where it is a bad one; other schemes are somebody else's.
pub(super) fn token<'o>(offer: &'o Offer, jwt: &Jwt) -> Option<Cow<'o, str>> {
    let bearer = offer.header("authorization").and_then(bearer);
    let cookie = || if jwt.cookie.is_empty() { None } else { cookie(offer, &jwt.cookie) };
    let query = || if jwt.query.is_empty() { None } else { query(offer, &jwt.query) };
    bearer.or_else(cookie).map(Cow::Borrowed).or_else(query)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie<'o>(offer: &'o Offer, name: &str) -> Option<&'o str> {
    let all = offer.headers.iter().filter(|(header, _)| header == "cookie").flat_map(|(_, value)| value.split(';'));
    let mut of_name = all.filter_map(|pair| pair.trim().split_once('=')).filter(|(known, _)| *known == name);
    of_name.next().map(|(_, value)| value.trim_matches('"'))
}

fn query<'o>(offer: &'o Offer, name: &str) -> Option<Cow<'o, str>> {
    form_urlencoded::parse(offer.query().as_bytes()).find(|(known, _)| known == name).map(|(_, value)| value)
}
