mod addresses;
mod bundles;
mod certificates;
mod failures;
mod kinds;
mod pools;
