//! `/datanet/`: the directory for people. A few files that the program carries; whoever opens them asks everything else as any other
//! caller does, and verifies proofs in the browser.

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
};

use crate::Hash;

/// Where the page is.
const AT: &str = "/datanet/";

/// Each file: its name, its media type, and what is in it.
const FILES: [(&str, &str, &str); 4] = [
    ("", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("page.mjs", "text/javascript; charset=utf-8", include_str!("page/page.mjs")),
    ("verify.mjs", "text/javascript; charset=utf-8", include_str!("page/verify.mjs")),
];

/// Nothing from elsewhere, nothing written into the page, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whether a path is the page's.
#[must_use]
pub fn is_page(path: &str) -> bool {
    path == AT.trim_end_matches('/') || file(path).is_some()
}

fn file(path: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    let name = path.strip_prefix(AT)?;
    FILES.iter().find(|(own, _, _)| *own == name)
}

/// The answer for one of the page's paths; `None` for all others.
pub(super) fn answer(head: &Parts) -> Option<Response<Bytes>> {
    let path = head.uri.path();
    if !is_page(path) {
        return None;
    }
    let mut answer = Response::new(Bytes::new());
    if !matches!(head.method, Method::GET | Method::HEAD) {
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(answer);
    }
    let Some((_, media_type, text)) = file(path) else {
        *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
        answer.headers_mut().insert(LOCATION, HeaderValue::from_static(AT));
        return Some(answer);
    };
    let tag = format!("\"{}\"", Hash::of(&[text.as_bytes()]));
    if head.headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *answer.body_mut() = Bytes::from_static(text.as_bytes());
    }
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, *media_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version of the program has other files.
        (CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (ETAG, tag)));
    Some(answer)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(method: Method, path: &str, known: Option<&HeaderValue>) -> Option<Response<Bytes>> {
        let mut request = Request::builder().method(method).uri(path).body(()).unwrap();
        known.map(|known| request.headers_mut().insert(IF_NONE_MATCH, known.clone()));
        answer(&request.into_parts().0)
    }

    #[test]
    fn the_page_is_its_own_files_and_nothing_else() {
        for (path, media_type) in [
            ("/datanet/", "text/html; charset=utf-8"),
            ("/datanet/page.mjs", "text/javascript; charset=utf-8"),
            ("/datanet/verify.mjs", "text/javascript; charset=utf-8"),
            ("/datanet/page.css", "text/css; charset=utf-8"),
        ] {
            let got = asked(Method::GET, path, None).unwrap();
            assert_eq!(
                (got.status().as_u16(), &got.headers()[CONTENT_TYPE]),
                (200, &HeaderValue::from_static(media_type))
            );
            assert!(got.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none'"));
            let known = asked(Method::GET, path, Some(&got.headers()[ETAG])).unwrap();
            assert_eq!((known.status().as_u16(), known.body().len()), (304, 0));
            assert_eq!(asked(Method::POST, path, None).unwrap().status().as_u16(), 405);
        }
        assert_eq!(asked(Method::GET, "/datanet", None).unwrap().headers()[LOCATION], AT);
        for other in ["/datanet/v1", "/datanet/page.rs", "/datanet/../x", "/datanets/", "/"] {
            assert!(asked(Method::GET, other, None).is_none(), "{other}");
        }
    }

    /// The policy would stop them, and the page would not work.
    #[test]
    fn nothing_of_the_page_comes_from_elsewhere_or_stands_within_it() {
        let page = FILES[0].2;
        for foreign in ["http:", "https:", "//", "<style", " style=", " onclick", "javascript:"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script type=\"module\" src=\"page.mjs\"></script>").count()
        );
        let bytes: usize = FILES.iter().map(|(_, _, text)| text.len()).sum();
        assert!(bytes < 40 << 10, "the image has a bound: {bytes}");
    }
}
