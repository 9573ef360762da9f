//! Roots, leaves, chains and their rotation.
