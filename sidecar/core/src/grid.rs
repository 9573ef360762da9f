//! The grid as the configuration says it, with what its Secrets hold (Grid sections 5 and 8). What it means is that room's
//! business.

use std::{collections::HashMap, sync::Arc};

use crds::{Grid, GridSecrets, Listener};

use crate::{ConfigProblem, Leaf, Network, snapshot::networks};

/// The grid, checked.
#[derive(Debug)]
pub struct GridSetup {
    /// What it is.
    pub config: Grid,
    /// Where end users connect: at least one.
    pub listeners: Vec<Listener>,
    /// What they see, by listener.
    pub certificates: HashMap<String, Arc<Leaf>>,
    /// The key sets of their tokens, by listener, and the tokens of backends, by user.
    pub secrets: GridSecrets,
    /// Who may call in plain text without credentials, beside this machine.
    pub plaintext_from: Vec<Network>,
}

impl GridSetup {
    /// Checks what belongs together.
    pub(crate) fn assemble(config: Grid, secrets: GridSecrets) -> Result<Self, ConfigProblem> {
        let leaf = |(listener, pair): (&String, &(Vec<u8>, Vec<u8>))| {
            let place = format!("tlsSecretRef of grid listener {listener}");
            let (Ok(chain), Ok(key)) = (std::str::from_utf8(&pair.0), std::str::from_utf8(&pair.1)) else {
                return Err(ConfigProblem::invalid(place, "holds no PEM"));
            };
            let leaf = Leaf::from_pem(chain, key).map_err(|source| ConfigProblem::Certificate { place, source })?;
            Ok((listener.clone(), Arc::new(leaf)))
        };
        if let Some((user, _)) = secrets.tokens.iter().find(|(_, token)| token.is_empty()) {
            let place = format!("grid.backend.users[{user}].secretRef");
            return Err(ConfigProblem::invalid(place, "holds an empty token, which everybody could guess"));
        }
        Ok(Self {
            listeners: config.effective_listeners(),
            certificates: secrets.certificates.iter().map(leaf).collect::<Result<_, _>>()?,
            plaintext_from: networks("grid.backend.plaintextFrom", &config.backend.plaintext_from)?,
            config,
            secrets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(secrets: GridSecrets) -> String {
        GridSetup::assemble(Grid::default(), secrets).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_token_and_a_pair_that_is_none_are_refused_by_place() {
        let tokens = HashMap::from([("shop".to_owned(), Vec::new())]);
        let empty = problem(GridSecrets { tokens, ..GridSecrets::default() });
        assert!(empty.starts_with("grid.backend.users[shop].secretRef: "), "{empty}");
        for bytes in [b"x".to_vec(), vec![0xff]] {
            let certificates = HashMap::from([("chat".to_owned(), (bytes.clone(), bytes))]);
            let unfit = problem(GridSecrets { certificates, ..GridSecrets::default() });
            assert!(unfit.starts_with("tlsSecretRef of grid listener chat: "), "{unfit}");
        }
    }

    #[test]
    fn a_grid_without_listeners_has_the_one_of_the_original() {
        let setup = GridSetup::assemble(Grid::default(), GridSecrets::default()).unwrap();
        let listener = &setup.listeners[0];
        assert_eq!((listener.port, listener.path.as_str(), listener.text_ping), (6790, "/", true));
    }
}
