//! What the grid's references to Secrets lead to (`spec.grid`).

use std::collections::BTreeMap;

use crds::{GridSecrets, MeshNodeSpec};
use mesh_pki::check_pair;

use crate::node::{Keys, Object, Problem};

/// Reads all that the grid refers to, and checks that certificates and keys fit.
pub(super) fn secrets(spec: &MeshNodeSpec, found: &BTreeMap<String, Keys>) -> Result<GridSecrets, Problem> {
    let Some(grid) = &spec.grid else { return Ok(GridSecrets::default()) };
    let secrets = GridSecrets::read(grid, |needed| {
        let (name, key) = needed.place();
        let missing = |key: Option<&str>| Problem::MissingReference {
            field: needed.field(),
            object: Object::Secret,
            name: name.to_owned(),
            key: key.map(str::to_owned),
        };
        let keys = found.get(name).ok_or_else(|| missing(None))?;
        // What is no text is no PEM, no JSON and no token.
        keys.text(key).map(|text| text.as_bytes().to_vec()).ok_or_else(|| missing(Some(key)))
    })?;
    for (listener, (chain, key)) in &secrets.certificates {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        check_pair(&text(chain), &text(key)).map_err(|e| Problem::BadPair {
            field: format!("spec.grid.listeners[{listener}].tlsSecretRef"),
            why: e.to_string(),
        })?;
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::node::sample;

    #[test]
    fn a_secret_that_is_missing_empty_or_no_pair_refuses_the_node_by_its_field() {
        let mut spec = sample::node("bank-a", "LX1").spec;
        spec.grid = serde_json::from_value(json!({
            "listeners": [{"name": "chat", "tlsSecretRef": {"name": "web"}}],
            "backend": {"users": [{"name": "shop", "secretRef": {"name": "shop"}}]},
        }))
        .unwrap();
        let secret = |pairs: &[(&str, &str)]| {
            Keys(pairs.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec())).collect())
        };
        let web = secret(&[("tls.crt", "x"), ("tls.key", "x")]);
        let problem = |found: &[(&str, Keys)]| {
            let found = found.iter().map(|(name, keys)| ((*name).to_owned(), keys.clone())).collect();
            secrets(&spec, &found).unwrap_err().to_string()
        };
        let table: [(&[(&str, Keys)], &str); 4] = [
            (&[], "spec.grid.listeners.tlsSecretRef: Secret web "),
            (&[("web", web.clone())], "spec.grid.backend.users.secretRef: Secret shop "),
            (
                &[("web", web.clone()), ("shop", secret(&[("token", " ")]))],
                "spec.grid.backend.users.secretRef: Secret shop ",
            ),
            (&[("web", web), ("shop", secret(&[("token", "t")]))], "spec.grid.listeners[chat].tlsSecretRef: "),
        ];
        for (found, expected) in table {
            let said = problem(found);
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
